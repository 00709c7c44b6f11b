"""What a checkpoint says of its model beside the weights, and how a model is built again from it alone."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from datamodules.types import DataError
from lightning_modules.adapters import LoraOptions, merged
from lightning_modules.bases import family_of
from lightning_modules.bases.loading import (
    BaseModel,
    architecture_json,
    build,
    tokenizer_files,
    tokenizer_from_files,
    vision_settings,
)
from lightning_modules.quantisation import dequantised
from lightning_modules.sharded_files import read_sharded

if TYPE_CHECKING:
    from lightning_modules.region_module import RegionModule

DESCRIPTION = "region_model"
PLAIN = {"quantise": None, "lora": None}


def describe(module: RegionModule, folder: Path) -> dict[str, Any]:
    """Class, options, architecture and tokenizer of a model as plain data; `folder` is scratch space."""
    return {
        "class": type(module).__name__,
        "options": module.options,
        "vision": vision_settings(module.vision),
        "architecture": architecture_json(module.backbone.model.config),
        "tokenizer": tokenizer_files(module.renderer.tokenizer, folder),
    }


def load(path: Path | str) -> RegionModule:
    """The model of a checkpoint, on the CPU and ready to answer; nothing but the file is needed.

    The base's weights are of the base's data type, also those that have learnt in float32, as `export` writes them.

    Args:
        path: A checkpoint file, the folder of a sharded checkpoint, or a folder that `export` has written.

    Raises:
        DataError: Not a checkpoint of this framework, or one whose weights do not fit what it says of itself.
    """
    from lightning_modules.export import is_exported, load_exported

    if is_exported(Path(path)):
        return load_exported(Path(path))
    checkpoint = read(path)
    module = build_described(checkpoint[DESCRIPTION])
    module.adapt()
    _fill(module, checkpoint["state_dict"], path)
    return module.eval()


def load_plain(path: Path | str) -> RegionModule:
    """The same with its adapters merged and nothing quantised, in the data type of its base model.

    Raises:
        DataError: As `load`.
    """
    checkpoint = read(path)
    description = checkpoint[DESCRIPTION]
    module = build_described({**description, "options": {**description["options"], **PLAIN}})
    _fill(module, plain_weights(checkpoint), path)
    return module.eval()


def build_described(description: dict[str, Any]) -> RegionModule:
    """A model as `describe` has written it down, with random weights, neither quantised nor with adapters yet."""
    import lightning_modules

    architecture = json.loads(description["architecture"])
    base = BaseModel(
        architecture=architecture, dtype=architecture.get("dtype") or "float32", vision=description["vision"]
    )
    options = {**description["options"], "lora": lora_options(description)}
    module: RegionModule = getattr(lightning_modules, description["class"])(base=base, **options)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = tokenizer_from_files(description["tokenizer"], Path(folder))
    model = build(architecture, dtype=base.dtype)
    family = family_of(model.config.model_type)
    module.assemble(family(model), tokenizer, family.visual_processor(model.config, base.vision), learns=False)
    return module


def lora_options(description: dict[str, Any]) -> LoraOptions | None:
    """The adapters of a described model."""
    options = description["options"].get("lora")
    return None if options is None else LoraOptions(**{**options, "targets": tuple(options["targets"])})


def start_from(module: RegionModule, path: Path | str) -> None:
    """Adapts a model that starts from the weights of an earlier stage, every single one of them.

    Where both stages have the same adapters and quantisation, these go on learning. Else those of the earlier stage
    become part of the weights before this one's are made.

    Raises:
        DataError: The checkpoint is another model's; the message lists what is missing, unexpected or misfits.
    """
    checkpoint = read(path)
    description = checkpoint[DESCRIPTION]
    _check_reference(module, description, str(path))
    if (description["options"].get("quantise"), lora_options(description)) == (module.quantise, module.lora):
        module.adapt()
        _fill(module, checkpoint["state_dict"], path)
    else:
        _fill(module, plain_weights(checkpoint), path)
        module.adapt()


def plain_weights(checkpoint: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The weights of a checkpoint without quantisation and adapters, by the names of a model that has neither."""
    description, weights = checkpoint[DESCRIPTION], checkpoint["state_dict"]
    lora = lora_options(description)
    if description["options"].get("quantise"):
        weights = dequantised(weights, getattr(torch, json.loads(description["architecture"])["dtype"]))
    return merged(weights, lora) if lora else weights


def check(module: RegionModule, checkpoint: dict[str, Any]) -> None:
    """Refuses the checkpoint of another model by the names and shapes of its weights.

    Of a sharded checkpoint only the strategy sees the weights, and compares them.
    """
    _check_reference(module, checkpoint[DESCRIPTION], "the checkpoint")
    if "state_dict" in checkpoint:
        compare(module.state_dict(), checkpoint["state_dict"], "the checkpoint")


def _check_reference(module: RegionModule, description: dict[str, Any], name: str) -> None:
    """Refuses a model that was told of regions in another way: some ways differ in no weight."""
    ours, theirs = module.region_reference, description["options"]["region_reference"]
    if ours != theirs:
        raise DataError(f"{name} is of another model: its region_reference is {theirs!r}, not {ours!r}")


def compare_names(ours: Iterable[str], theirs: Iterable[str], name: str) -> None:
    """Refuses a checkpoint that lacks weights or has others; the message counts and lists them.

    Raises:
        DataError: They are not the same.
    """
    missing, unexpected = sorted(set(ours) - set(theirs)), sorted(set(theirs) - set(ours))
    if missing or unexpected:
        raise DataError(
            f"{name} is of another model: {len(missing)} weights missing {missing[:3]}, "
            f"{len(unexpected)} unexpected {unexpected[:3]}"
        )


def read(path: Path | str) -> dict[str, Any]:
    """What a checkpoint holds, on the CPU: a file, the folder of a sharded one, or one that `export` has written.

    Raises:
        DataError: Nothing is there, it is damaged, or not of this framework.
    """
    from lightning_modules.export import is_exported, load_exported

    if is_exported(Path(path)):
        module = load_exported(Path(path))
        return {DESCRIPTION: module.describe(), "state_dict": module.state_dict()}
    checkpoint = read_sharded(Path(path)) if Path(path).is_dir() else _read_file(path)
    if not isinstance(checkpoint, dict) or DESCRIPTION not in checkpoint or "state_dict" not in checkpoint:
        raise DataError(f"{path} is not a checkpoint of this framework: it has no {DESCRIPTION!r}")
    return checkpoint


def _read_file(path: Path | str) -> Any:
    if not Path(path).is_file():
        raise DataError(f"no checkpoint at {path}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged archive raises whatever its first bad byte leads to
        raise DataError(f"{path} is not a readable checkpoint: {str(error).splitlines()[0]}") from error


def compare(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor], name: str) -> None:
    """Refuses a checkpoint by the names and shapes of its weights.

    Raises:
        DataError: They are not the same.
    """
    compare_names(ours, theirs, name)
    misfit = sorted(key for key in ours if ours[key].shape != theirs[key].shape)
    if misfit:
        key = misfit[0]
        their, shape = tuple(theirs[key].shape), tuple(ours[key].shape)
        raise DataError(f"{name} is of another model: {len(misfit)} weights misfit, {key} is {their}, not {shape}")


def _fill(module: RegionModule, weights: dict[str, torch.Tensor], path: Path | str) -> None:
    compare(module.state_dict(), weights, str(path))
    module.load_state_dict(weights)
