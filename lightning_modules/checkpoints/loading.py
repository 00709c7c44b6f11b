"""A model built again from its checkpoint alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from lightning_modules.bases import family_of
from lightning_modules.bases.loading import BaseModel, build, load_visual_processor, tokenizer_from_files
from lightning_modules.checkpoints.description import DESCRIPTION, lora_options, plain_weights
from lightning_modules.checkpoints.exported import MODEL, read_exported
from lightning_modules.checkpoints.files import is_exported
from lightning_modules.checkpoints.hub import fetched
from lightning_modules.checkpoints.reading import fill, read
from lightning_modules.checkpoints.weights import compare
from lightning_modules.class_spec import class_at, make, make_described
from lightning_modules.generation.steps import GenerationOptions
from lightning_modules.region_encoders import RegionEncoder
from lightning_modules.region_module import RegionModule

PLAIN = {"quantise": None, "lora": None}


def load(
    path: Path | str,
    generation: GenerationOptions = GenerationOptions(),  # noqa: B008  # it is frozen
) -> RegionModule:
    """The model of a checkpoint, on the CPU and ready to answer.

    Nothing but it is needed, and its base where the language model has not learnt: see `checkpoints.base_weights`. The
    base's weights are of the base's data type, also those that have learnt in float32, as `export` writes them.

    Args:
        path: A checkpoint file, the folder of a sharded checkpoint, a folder that `export` has written, or `user/name`,
            the repository of the Hugging Face hub that one was pushed to.
        generation: How it generates answers, which no checkpoint says.

    Raises:
        DataError: Not a checkpoint of this framework, one whose weights do not fit what it says of itself, or one whose
            base is not here, or another; or its base cannot generate so.
    """
    generation.check()
    place = fetched(path)
    module = _load_exported(place) if is_exported(place) else _load_checkpoint(path)
    generation.check(module.backbone.base, module.quantise is not None)
    module.generation = generation
    return module.eval()


def _load_checkpoint(path: Path | str) -> RegionModule:
    checkpoint = read(path)
    module = _build(checkpoint[DESCRIPTION], str(path))
    module.adapt()
    fill(module, checkpoint["state_dict"], path)
    return module


def load_plain(path: Path | str) -> RegionModule:
    """The same with its adapters merged and nothing quantised, in the data type of its base model.

    Raises:
        DataError: As `load`.
    """
    checkpoint = read(path)
    description = checkpoint[DESCRIPTION]
    module = _build({**description, "options": {**description["options"], **PLAIN}}, str(path))
    fill(module, plain_weights(checkpoint), path)
    return module.eval()


def _build(description: dict[str, Any], where: str) -> RegionModule:
    """A model as `describe` has written it down, with random weights, neither quantised nor with adapters yet."""
    architecture = json.loads(description["architecture"])
    base = BaseModel(
        architecture=architecture, dtype=architecture.get("dtype") or "float32", vision=description["vision"]
    )
    module = _made(description, base, where)
    tokenizer = tokenizer_from_files(description["tokenizer"])
    model = build(architecture, dtype=base.dtype)
    family = family_of(model.config.model_type)
    module.assemble(family(model), tokenizer, family.visual_processor(model.config, base.vision), learns=False)
    return module


def _made(description: dict[str, Any], base: BaseModel, where: str) -> RegionModule:
    """The module of a description without a backbone; `DataError` if a class is not there or takes other options."""
    options = description["options"]
    parent: type[RegionEncoder] = RegionEncoder  # type: ignore[type-abstract]  # any class of it
    encoder = make_described(options.get("region_encoder"), parent, where)
    kind = class_at(description["class"], RegionModule, where)
    given = {"base": base, "region_encoder": encoder, "lora": lora_options(description)}
    return make(kind, {**options, **given}, where)


def _load_exported(folder: Path) -> RegionModule:
    """The model of a folder that `export` has written, built around the base that transformers loads."""
    exported = read_exported(folder)
    described, base = exported.description, exported.base
    module = _made(described, exported.origin, str(folder))
    vision = load_visual_processor(exported.origin, base.model.config)
    module.assemble(base, exported.tokenizer, vision, learns=False)
    compare(region_weights(module), exported.weights, str(folder))
    module.backbone.load_state_dict(exported.weights, strict=False)  # the base's own were compared by its loading
    return module


def region_weights(module: RegionModule) -> dict[str, torch.Tensor]:
    """What the backbone has beside its base, by name."""
    weights = module.backbone.state_dict()
    return {name: weight for name, weight in weights.items() if not name.startswith(MODEL)}
