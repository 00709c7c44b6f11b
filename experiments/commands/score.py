"""`python cli.py score`: a table of numbers from saved predictions, without a model."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from datamodules.errors import DataError
from experiments.config.parsers import CommandParser
from metrics.benchmarks import BENCHMARKS

if TYPE_CHECKING:
    from metrics.predictions import PredictionMetric, Score


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
    arguments.add_argument(
        "--metric",
        action="append",
        default=[],
        metavar="TASK=CLASS",
        help="score a task by a metric of your own: its class path, or {class_path: ..., init_args: ...}",
    )
    arguments.add_argument("--predictions", type=Path, nargs="+", required=True, metavar="FILE", help="what was said")
    arguments.add_argument("--references", type=Path, nargs="+", default=(), metavar="FILE", help="what is right")
    arguments.add_argument(
        "--fields",
        type=_field,
        nargs="+",
        default=(),
        metavar="NAME=THEIRS",
        help="what the fields of a benchmark's format are called in these files: pred=model_output",
    )
    arguments.add_argument("--output", type=Path, metavar="JSON", help="save the numbers too")
    return arguments


def main(arguments: Sequence[str]) -> None:
    """Scores, saves and prints."""
    asked = parser().parse_args(arguments)
    # not before: --help has to answer at once
    from experiments.terminal import console
    from metrics.saved import score_files
    from metrics.table import score_table

    tasks = dict(map(_metric, asked.metric))
    scores = score_files(asked.benchmark, asked.predictions, asked.references, tasks, dict(asked.fields))
    if asked.output:
        save(scores, asked.output)
    console().print(score_table(asked.benchmark or "saved predictions", scores))


def _field(given: str) -> tuple[str, str]:
    name, equals, theirs = given.partition("=")
    if not (name and equals and theirs):
        raise argparse.ArgumentTypeError(f"{given!r}: a name, '=' and what the file calls it are needed")
    return name, theirs


def _metric(given: str) -> tuple[str, PredictionMetric]:
    import yaml

    from lightning_modules.class_spec import make_described
    from metrics.predictions import PredictionMetric

    where = f"--metric {given}"
    task, _, text = given.partition("=")
    try:
        described = yaml.safe_load(text)
    except yaml.YAMLError:
        raise DataError(f"{where}: not YAML behind the task") from None
    if not task or not described:
        raise DataError(f"{where}: a task, '=' and a class path are needed")
    if not isinstance(described, Mapping):
        described = {"class_path": described}
    parent: type[PredictionMetric] = PredictionMetric  # type: ignore[type-abstract]  # any class of it
    return task, make_described({"init_args": {}, **described}, parent, where)


def save(scores: Mapping[str, Score], path: Path) -> None:
    """Writes `results.json`, as `test` does; `DataError` if it cannot be written there."""
    from datamodules.files import write_text
    from metrics.table import results

    text = json.dumps(results(None, scores, None), indent=2)
    try:
        write_text(path, f"{text}\n")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
