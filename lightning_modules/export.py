"""A checkpoint as a folder that transformers opens too: `python cli.py export`.

The base model and the tokenizer are transformers' own files. `regions.safetensors` holds marks, projection and guide
head, `regions.json` the kind of module and its options. Adapters are merged, nothing is quantised.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from datamodules.types import DataError

if TYPE_CHECKING:
    from lightning_modules.region_module import RegionModule

WEIGHTS, DESCRIPTION = "regions.safetensors", "regions.json"
MODEL = "model."


def export(path: Path | str, to: Path | str) -> Path:
    """Writes the model of a checkpoint, a file or the folder of a sharded one, into the folder `to`.

    Raises:
        DataError: The checkpoint cannot be used, or the folder has files already.
    """
    from lightning_modules.checkpoint_files import beside_place, move_into_place
    from lightning_modules.checkpoints import load_plain

    target = Path(to)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DataError(f"{target} is there already: an export needs a new or empty folder")
    module = load_plain(path)
    beside = beside_place(target)
    beside.mkdir()
    _write(module, beside)
    move_into_place(target)
    return target


def _write(module: RegionModule, folder: Path) -> None:
    from safetensors.torch import save_file

    module.backbone.model.save_pretrained(folder)
    module.renderer.tokenizer.save_pretrained(folder)
    save_file({name: weight.contiguous() for name, weight in _region_weights(module).items()}, folder / WEIGHTS)
    described = module.describe()
    kept = {name: described[name] for name in ("class", "options", "vision")}
    (folder / DESCRIPTION).write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


def is_exported(path: Path) -> bool:
    """Whether `export` has written this folder."""
    return (path / DESCRIPTION).is_file()


def load_exported(folder: Path) -> RegionModule:
    """The model of such a folder, on the CPU and ready to answer.

    Raises:
        DataError: Files are damaged, or weights are missing, unexpected or of another shape; the message lists them.
    """
    import lightning_modules
    from lightning_modules.bases.loading import BaseModel, load_base, load_tokenizer, load_visual_processor

    description = _read_description(folder)
    options = BaseModel(checkpoint=str(folder), dtype=_dtype(folder), vision=description["vision"])
    module: RegionModule = getattr(lightning_modules, description["class"])(base=options, **description["options"])
    tokenizer = load_tokenizer(options)
    base = load_base(options, tokenizer)
    module.assemble(base, tokenizer, load_visual_processor(options, base.model.config), learns=False)
    _fill(module, folder)
    return module.eval()


def _read_description(folder: Path) -> dict[str, Any]:
    try:
        description: dict[str, Any] = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{folder / DESCRIPTION} cannot be read: {error}") from None
    missing = sorted({"class", "options", "vision"} - set(description))
    if missing:
        raise DataError(f"{folder / DESCRIPTION} lacks {missing}")
    return description


def _dtype(folder: Path) -> str:
    from transformers import AutoConfig

    return str(AutoConfig.from_pretrained(folder).dtype or torch.float32).removeprefix("torch.")


def _region_weights(module: RegionModule) -> dict[str, torch.Tensor]:
    """What the module has beside LLaVA, by name."""
    weights = module.backbone.state_dict()
    return {name: weight for name, weight in weights.items() if not name.startswith(MODEL)}


def _fill(module: RegionModule, folder: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from lightning_modules.checkpoints import compare

    try:
        weights = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{folder / WEIGHTS} cannot be read: {error}") from None
    compare(_region_weights(module), weights, str(folder / WEIGHTS))
    module.backbone.load_state_dict(weights, strict=False)  # LLaVA's own have been compared where they were loaded


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    arguments = argparse.ArgumentParser(prog="python cli.py export", description=__doc__)
    arguments.add_argument("--ckpt_path", type=Path, required=True, help="a checkpoint, also a sharded one")
    arguments.add_argument("--to", type=Path, required=True, metavar="DIR", help="a new or empty folder")
    return arguments


def main(arguments: Sequence[str]) -> None:
    """Exports, and says what was written."""
    options = parser().parse_args(arguments)
    folder = export(options.ckpt_path, options.to)
    for file in sorted(folder.iterdir()):
        sys.stdout.write(f"{file.stat().st_size / 2**20:10.1f} MiB  {file}\n")
