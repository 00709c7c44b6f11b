"""Parts of a run's configuration, read without the rest of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jsonargparse import ActionConfigFile

from datamodules.installation import COMMAND
from experiments.config.run_parser import RunParser

PARTS = ("model", "data", "trainer", "run", "mark", "regvid", "judge", "seed_everything", "ckpt_path", "benchmark")


def part_parser(command: str, parts: Sequence[str]) -> RunParser:
    """A parser of a run's configuration that ignores all but `parts`, which the caller adds."""
    parser = RunParser(prog=f"{COMMAND} {command}", description="Options of the configuration.")
    parser.add_argument("--config", action=ActionConfigFile, help="File of a run; later ones override.")
    parser.add_argument("--vars", type=dict[str, Any], default={}, help="Values that the configuration uses.")
    for name in PARTS:
        if name not in parts:
            parser.add_argument(f"--{name}", type=Any, help="Not looked at.")
    return parser
