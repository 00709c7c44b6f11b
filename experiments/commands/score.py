"""`python cli.py score`: a table of numbers from saved predictions, without a model."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.config.parsers import CommandParser
from metrics.benchmarks import BENCHMARKS

if TYPE_CHECKING:
    from metrics.predictions import Score


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    files = "\n".join(f"  {name:23}{benchmark.files}" for name, benchmark in BENCHMARKS.items())
    arguments = CommandParser(
        prog="python cli.py score",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Score saved predictions without a model.",
        epilog=f"Each benchmark takes the predictions.jsonl that `test` leaves, and\n{files}",
    )
    arguments.add_argument(
        "--benchmark", choices=BENCHMARKS, metavar="NAME", help="one of those below; else tasks say how they are scored"
    )
    arguments.add_argument("--predictions", type=Path, nargs="+", required=True, metavar="FILE", help="what was said")
    arguments.add_argument("--references", type=Path, nargs="+", default=(), metavar="FILE", help="what is right")
    arguments.add_argument("--output", type=Path, metavar="JSON", help="save the numbers too")
    return arguments


def main(arguments: Sequence[str]) -> None:
    """Scores, saves and prints."""
    asked = parser().parse_args(arguments)
    # not before: --help has to answer at once
    from experiments.terminal import console
    from metrics.saved import score_files
    from metrics.table import score_table

    scores = score_files(asked.benchmark, asked.predictions, asked.references)
    if asked.output:
        save(scores, asked.output)
    console().print(score_table(asked.benchmark or "saved predictions", scores))


def save(scores: Mapping[str, Score], path: Path) -> None:
    """Writes `results.json`, as `test` does; `DataError` if it cannot be written there."""
    from datamodules.errors import DataError
    from datamodules.files import write_text
    from metrics.table import results

    text = json.dumps(results(None, scores, None), indent=2)
    try:
        write_text(path, f"{text}\n")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
