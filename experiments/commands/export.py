"""`python cli.py export`: a checkpoint as a folder that transformers opens too, with its card, here or on the hub."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from datamodules.errors import DataError
from experiments.config.parsers import CommandParser


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    arguments = CommandParser(prog="python cli.py export", description=__doc__)
    arguments.add_argument("--ckpt_path", type=Path, required=True, help="a checkpoint, also a sharded one")
    arguments.add_argument("--to", type=Path, required=True, metavar="DIR", help="a new or empty folder")
    kind = arguments.add_mutually_exclusive_group()
    kind.add_argument("--base_only", action="store_true", help="without what was put on the base, to start from")
    kind.add_argument(
        "--framework_only", action="store_true", help="of any base and region encoder, not for transformers alone"
    )
    arguments.add_argument("--dtype", help="of the base: float32, bfloat16 or float16; as it is if left out")
    arguments.add_argument("--license", metavar="ID", help="the hub's name of the model's licence, for the card")
    arguments.add_argument("--push", metavar="USER/NAME", help="upload the folder to the Hugging Face hub, not public")
    arguments.add_argument("--public", action="store_true", help="make a new repository of the hub public")
    return arguments


def main(arguments: Sequence[str]) -> None:
    """Exports, and says what was written."""
    options = parser().parse_args(arguments)
    if options.public and not options.push:
        raise DataError("--public is of a repository: --push USER/NAME is needed")
    if options.license and options.base_only:
        raise DataError("--license is written on the card, which a base alone does not have")
    from experiments.model_card import write_card
    from lightning_modules.checkpoints.export import export
    from lightning_modules.checkpoints.hub import check_repository, push

    if options.push:
        check_repository(options.push)
    folder = export(options.ckpt_path, options.to, options.base_only, options.dtype, options.framework_only)
    if not options.base_only:
        write_card(folder, options.ckpt_path, options.push, options.license)
    for file in sorted(folder.iterdir()):
        sys.stdout.write(f"{file.stat().st_size / 2**20:10.1f} MiB  {file}\n")
    if options.push:
        sys.stdout.write(f"uploaded: {push(folder, options.push, options.public)}\n")
