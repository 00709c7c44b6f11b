"""A checkpoint as a folder that transformers opens too.

The base model and the tokenizer are transformers' own files; marks, projection and guide head are weights beside the
base's. `regions.json` holds the kind of module and its options. Two files of code let transformers alone be told of
regions: `checkpoints.standalone`. Adapters are merged, nothing is quantised.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from datamodules.errors import DataError
from lightning_modules.bases.loading import check_dtype, vision_settings
from lightning_modules.checkpoints.files import EXPORTED, beside_place, move_into_place
from lightning_modules.checkpoints.loading import load_plain, region_weights
from lightning_modules.checkpoints.standalone import SETTINGS, check_standalone, settings, write_standalone

if TYPE_CHECKING:
    from lightning_modules.region_module import RegionModule

PICTURES = "preprocessor_config.json"
"""transformers' name of what is made of pictures."""


def export(
    path: Path | str,
    to: Path | str,
    base_only: bool = False,
    dtype: str | None = None,
    framework_only: bool = False,
) -> Path:
    """Writes the model of a checkpoint, a file or the folder of a sharded one, into the folder `to`.

    Args:
        path: The checkpoint.
        to: A new or empty folder.
        base_only: Leave out what was put on the base: the folder is a base like any other, to start from.
        dtype: Data type of the base's weights; that of the base if left out.
        framework_only: Leave out the code by which transformers alone is told of regions: the folder may be of any
            base, region encoder and module.

    Raises:
        DataError: The checkpoint cannot be used, the folder has files already, there is no such data type, or
            transformers alone cannot be told of regions as this model is.
    """
    target = Path(to)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DataError(f"{target} is there already: an export needs a new or empty folder")
    if dtype is not None:
        check_dtype("dtype", dtype)
    module = load_plain(path)
    alone = not (base_only or framework_only)
    if alone:
        check_standalone(module)
    if dtype is not None:
        module.backbone.model.to(getattr(torch, dtype))
    beside = beside_place(target)
    beside.mkdir()
    _write(module, beside, base_only, alone)
    move_into_place(target)
    return target


def _write(module: RegionModule, folder: Path, base_only: bool = False, alone: bool = True) -> None:
    model = module.backbone.model
    for name in SETTINGS:  # of a base that was exported itself
        vars(model.config).pop(name, None)
    for name, value in (settings(module) if alone else {}).items():
        setattr(model.config, name, value)
    weights = {} if base_only else region_weights(module)
    model.save_pretrained(folder, state_dict={**model.state_dict(), **weights})
    module.renderer.tokenizer.save_pretrained(folder)
    pictures = json.dumps(vision_settings(module.vision), indent=2)
    (folder / PICTURES).write_text(f"{pictures}\n", encoding="utf-8")
    if alone:
        write_standalone(module, folder)
    if not base_only:
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
