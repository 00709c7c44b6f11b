"""The model of a checkpoint as a part of a run's configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from datamodules.errors import DataError
from lightning_modules.bases.loading import write_tokenizer
from lightning_modules.checkpoints.description import DESCRIPTION
from lightning_modules.checkpoints.exported import dtype_of, read_description
from lightning_modules.checkpoints.files import is_exported, read_file
from lightning_modules.checkpoints.sharded import read_rest

TOKENIZER = "tokenizer"
OF_THE_TASK = ("max_new_tokens",)
"""Options of a checkpoint's model that whoever asks it decides."""
USUAL = ("lightning_modules.ImageRegionModule", "lightning_modules.VideoRegionModule")
"""Classes that the data decide between; a class of a user's own belongs to its weights."""


def model_configuration(path: Path, folder: Path) -> dict[str, Any]:
    """What a configuration has to say below `model` for the weights of a checkpoint to fit.

    Args:
        path: A checkpoint file, the folder of a sharded one, or one that `export` has written.
        folder: Where its tokenizer is put, unless it lies beside the weights already.

    Raises:
        DataError: Not a checkpoint of this framework, or one that cannot be read.
    """
    if is_exported(path):
        description = read_description(path)
        base: dict[str, Any] = {"checkpoint": str(path), "dtype": dtype_of(path)}
    else:
        description = _described(path)
        architecture = json.loads(description["architecture"])
        base = {"checkpoint": None, "architecture": architecture, "dtype": architecture.get("dtype") or "float32"}
        base["tokenizer"] = str(folder / TOKENIZER)
        write_tokenizer(description["tokenizer"], folder / TOKENIZER)
    options = {name: value for name, value in description["options"].items() if name not in OF_THE_TASK}
    own = {} if description["class"] in USUAL else {"class_path": description["class"]}
    return {**own, "init_args": {**options, "base": {**base, "vision": description["vision"]}}}


def _described(path: Path) -> dict[str, Any]:
    found = read_rest(path) if path.is_dir() else read_file(path, mapped=True)
    if not isinstance(found, dict) or DESCRIPTION not in found:
        raise DataError(f"{path} is not a checkpoint of this framework: it has no {DESCRIPTION!r}")
    description: dict[str, Any] = found[DESCRIPTION]
    return description
