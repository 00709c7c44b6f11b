"""`python cli.py shapes`: writes the built-in data set, moving shapes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from datamodules.shapes.files import FOLDERS
from datamodules.shapes.scene import Kind, set_of
from datamodules.shapes.writer import TEST_SCENES, VAL_SCENES, write_shapes
from experiments.config.parsers import CommandParser, count, positive


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the data set as the command line says; `DataError` if it cannot be written there."""
    parser = CommandParser(prog="python cli.py shapes", description=__doc__)
    parser.add_argument("--hard", action="store_true", help="the hard set: twins that cross, hide, leave and come back")
    parser.add_argument("--to", type=Path, help=f"folder ({FOLDERS['video']}, or {FOLDERS['hard']})")
    parser.add_argument("--seed", type=count, default=0, help="other seeds, other scenes (%(default)s)")
    parser.add_argument("--scenes", type=positive, default=TEST_SCENES, help="test scenes of each kind (%(default)s)")
    parser.add_argument(
        "--val-scenes", type=positive, default=VAL_SCENES, help="validation scenes of each (%(default)s)"
    )
    parser.add_argument("--workers", type=positive, help="processes that write (up to one per CPU)")
    asked = parser.parse_args(arguments)
    kind: Kind = "hard" if asked.hard else "video"
    root = asked.to or FOLDERS[kind]
    written = write_shapes(root, asked.seed, asked.val_scenes, asked.scenes, asked.workers, set_of(kind))
    sys.stdout.write(f"{root}: {'written' if written else 'is there already'}\n")
