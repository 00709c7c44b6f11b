"""What a checkpoint says of its model beside the weights, and how a model is built again from it alone."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from datamodules.types import DataError
from lightning_modules.weights import (
    BaseModel,
    architecture_json,
    build,
    tokenizer_files,
    tokenizer_from_files,
)

if TYPE_CHECKING:
    from lightning_modules.region_module import RegionModule

DESCRIPTION = "region_model"


def describe(module: RegionModule, folder: Path) -> dict[str, Any]:
    """Class, options, architecture and tokenizer of a model as plain data; `folder` is scratch space."""
    return {
        "class": type(module).__name__,
        "options": module.options,
        "image": [list(module.base.image_mean), list(module.base.image_std)],
        "architecture": architecture_json(module.backbone.llava.config),
        "tokenizer": tokenizer_files(module.renderer.tokenizer, folder),
    }


def load(path: Path | str) -> RegionModule:
    """The model of a checkpoint, on the CPU and ready to answer; nothing but the file is needed.

    Raises:
        DataError: Not a checkpoint of this framework, or one whose weights do not fit what it says of itself.
    """
    import lightning_modules

    checkpoint = _read(path)
    description = checkpoint[DESCRIPTION]
    architecture = json.loads(description["architecture"])
    mean, std = (tuple(values) for values in description["image"])
    base = BaseModel(
        architecture=architecture,
        dtype=architecture.get("dtype") or "float32",
        image_mean=mean,
        image_std=std,
    )
    module: RegionModule = getattr(lightning_modules, description["class"])(base=base, **description["options"])
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = tokenizer_from_files(description["tokenizer"], Path(folder))
    module.assemble(build(architecture, dtype=base.dtype), tokenizer)
    _fill(module, checkpoint["state_dict"], path)
    return module.eval()


def load_weights(module: RegionModule, path: Path | str) -> None:
    """Starts a stage from the weights of an earlier one, every single one of them.

    Raises:
        DataError: The checkpoint is another model's; the message lists what is missing, unexpected or misfits.
    """
    _fill(module, _read(path)["state_dict"], path)


def check(module: RegionModule, checkpoint: dict[str, Any]) -> None:
    """Refuses the checkpoint of another model by the names and shapes of its weights."""
    _compare(module, checkpoint["state_dict"], "the checkpoint")


def _read(path: Path | str) -> dict[str, Any]:
    if not Path(path).is_file():
        raise DataError(f"no checkpoint at {path}")
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged archive raises whatever its first bad byte leads to
        raise DataError(f"{path} is not a readable checkpoint: {str(error).splitlines()[0]}") from error
    if not isinstance(checkpoint, dict) or DESCRIPTION not in checkpoint or "state_dict" not in checkpoint:
        raise DataError(f"{path} is not a checkpoint of this framework: it has no {DESCRIPTION!r}")
    return checkpoint


def _fill(module: RegionModule, weights: dict[str, torch.Tensor], path: Path | str) -> None:
    _compare(module, weights, str(path))
    module.load_state_dict(weights)


def _compare(module: RegionModule, weights: dict[str, torch.Tensor], name: str) -> None:
    ours = module.state_dict()
    missing, unexpected = sorted(set(ours) - set(weights)), sorted(set(weights) - set(ours))
    misfit = sorted(key for key in set(ours) & set(weights) if ours[key].shape != weights[key].shape)
    if missing or unexpected:
        raise DataError(
            f"{name} is of another model: {len(missing)} weights missing {missing[:3]}, "
            f"{len(unexpected)} unexpected {unexpected[:3]}"
        )
    if misfit:
        key = misfit[0]
        theirs, shape = tuple(weights[key].shape), tuple(ours[key].shape)
        raise DataError(f"{name} is of another model: {len(misfit)} weights misfit, {key} is {theirs}, not {shape}")
