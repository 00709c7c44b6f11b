"""`python cli.py export`: a checkpoint as a folder that transformers opens too."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.config.parsers import CommandParser


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    arguments = CommandParser(prog="python cli.py export", description=__doc__)
    arguments.add_argument("--ckpt_path", type=Path, required=True, help="a checkpoint, also a sharded one")
    arguments.add_argument("--to", type=Path, required=True, metavar="DIR", help="a new or empty folder")
    arguments.add_argument("--base_only", action="store_true", help="without what was put on the base, to start from")
    arguments.add_argument("--dtype", help="of the base: float32, bfloat16 or float16; as it is if left out")
    return arguments


def main(arguments: Sequence[str]) -> None:
    """Exports, and says what was written."""
    options = parser().parse_args(arguments)
    from lightning_modules.checkpoints.export import export

    folder = export(options.ckpt_path, options.to, options.base_only, options.dtype)
    for file in sorted(folder.iterdir()):
        sys.stdout.write(f"{file.stat().st_size / 2**20:10.1f} MiB  {file}\n")
