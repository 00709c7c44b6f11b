"""A checkpoint as a folder that transformers opens too.

The base model and the tokenizer are transformers' own files. `regions.safetensors` holds marks, projection and guide
head, `regions.json` the kind of module and its options. Adapters are merged, nothing is quantised.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file

from datamodules.errors import DataError
from lightning_modules.bases.loading import check_dtype
from lightning_modules.checkpoints.exported import WEIGHTS
from lightning_modules.checkpoints.files import EXPORTED, beside_place, move_into_place
from lightning_modules.checkpoints.loading import load_plain, region_weights

if TYPE_CHECKING:
    from lightning_modules.region_module import RegionModule


def export(path: Path | str, to: Path | str, base_only: bool = False, dtype: str | None = None) -> Path:
    """Writes the model of a checkpoint, a file or the folder of a sharded one, into the folder `to`.

    Args:
        path: The checkpoint.
        to: A new or empty folder.
        base_only: Leave out what was put on the base: the folder is a base like any other, to start from.
        dtype: Data type of the base's weights; that of the base if left out.

    Raises:
        DataError: The checkpoint cannot be used, the folder has files already, or there is no such data type.
    """
    target = Path(to)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DataError(f"{target} is there already: an export needs a new or empty folder")
    if dtype is not None:
        check_dtype("dtype", dtype)
    module = load_plain(path)
    if dtype is not None:
        module.backbone.model.to(getattr(torch, dtype))
    beside = beside_place(target)
    beside.mkdir()
    _write(module, beside, base_only)
    move_into_place(target)
    return target


def _write(module: RegionModule, folder: Path, base_only: bool = False) -> None:
    module.backbone.model.save_pretrained(folder)
    module.renderer.tokenizer.save_pretrained(folder)
    if not base_only:
        save_file({name: weight.contiguous() for name, weight in region_weights(module).items()}, folder / WEIGHTS)
        described = module.describe()
        kept = {name: described[name] for name in ("class", "options", "vision")}
        (folder / EXPORTED).write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    for file in folder.iterdir():  # safetensors makes files that only their owner reads
        file.chmod(0o666 & ~_umask())


def _umask() -> int:
    """What the process takes from the rights of a new file; it can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
