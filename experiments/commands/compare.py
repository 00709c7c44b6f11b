"""The command `compare`: what runs scored, side by side, with its uncertainty."""

from __future__ import annotations

import argparse
import os
import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from datamodules.installation import COMMAND
from experiments.config.parsers import CommandParser, count, positive

if TYPE_CHECKING:
    from rich.console import Console

    from experiments.comparison.comparison import Comparison
    from experiments.comparison.runs import Gathered


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    arguments = CommandParser(
        prog="python cli.py compare",
        description="Mean and 95 % interval over seeds of each setting, and its difference to a base setting.",
        epilog="A run's setting and seed are a sweep's tags, else its name tells them: video-control-seed2.",
    )
    which = arguments.add_mutually_exclusive_group(required=True)
    which.add_argument("--sweep", metavar="NAME", help="the points of a sweep; the table is logged to its MLflow run")
    which.add_argument("--experiment", metavar="NAME", help="the scored runs of an MLflow experiment")
    which.add_argument("--runs", nargs="+", metavar="ID_OR_FOLDER", help="runs, by MLflow id or by folder")
    arguments.add_argument("--metric", nargs="+", default=[], metavar="M", help="as in results.json; else the sweep's")
    arguments.add_argument(
        "--split", choices=("test", "val"), default="test", help="numbers of `test`, or of `validate`"
    )
    arguments.add_argument("--base", metavar="SETTING", help="compare with this one; else the first")
    arguments.add_argument("--root", type=Path, default=Path("runs"), help="folder of all runs")
    arguments.add_argument("--tracking-uri", metavar="U", help="MLflow server or store; else as for the runs")
    arguments.add_argument(
        "--to", type=Path, metavar="DIR", help="folder of the files; else ROOT/NAME/comparison, none for --runs"
    )
    arguments.add_argument(
        "--resamples", type=positive, default=10_000, metavar="N", help="of the bootstrap over clusters"
    )
    arguments.add_argument("--seed", type=count, default=0, help="of the bootstrap")
    return arguments


def main(arguments: Sequence[str]) -> None:
    """Gathers, compares, prints, writes and logs."""
    asked = parser().parse_args(arguments)
    # every file of every run would have a bar of its own
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # not before: --help has to answer at once
    from experiments.comparison.comparison import compare
    from experiments.terminal import console

    with tempfile.TemporaryDirectory() as scratch:
        gathered = _gather(asked, Path(scratch))
        comparisons = compare(gathered, asked.metric, asked.base, asked.resamples, asked.seed)
    printed = console()
    _print(printed, gathered.title, comparisons)
    name = asked.sweep or asked.experiment
    folder = asked.to or (asked.root / name / "comparison" if name else None)
    if folder is None:
        return
    command = f"{COMMAND} {shlex.join(['compare', *arguments])}"
    files = _write(folder, gathered.title, command, comparisons)
    printed.print(f"written: {folder}", soft_wrap=True)
    if gathered.parent is not None:
        from experiments.comparison.tracked import tracking_client

        client = tracking_client(asked.root, asked.tracking_uri)
        for file in files:
            client.log_artifact(gathered.parent, str(file), "comparison")


def _gather(asked: argparse.Namespace, scratch: Path) -> Gathered:
    from experiments.comparison.tracked import TrackedRuns, gather_listed, tracking_client

    if asked.runs:
        return gather_listed(asked.runs, asked.root, asked.tracking_uri, scratch, asked.split)
    store = TrackedRuns(tracking_client(asked.root, asked.tracking_uri), scratch, asked.split)
    return store.sweep(asked.sweep) if asked.sweep else store.experiment(asked.experiment)


def _print(console: Console, title: str, comparisons: Sequence[Comparison]) -> None:
    from experiments.comparison.table import facts, notes, terminal_table

    for comparison in comparisons:
        known = "; ".join(f"{name}: {text}" for name, text in facts(comparison).items())
        console.print(f"{title}; {known}", soft_wrap=True)
        console.print(terminal_table(comparison))
        for note in notes(comparison):
            console.print(note, soft_wrap=True)


def _write(folder: Path, title: str, command: str, comparisons: Sequence[Comparison]) -> list[Path]:
    from datamodules.errors import DataError
    from datamodules.files import write_text
    from experiments.comparison.plot import draw
    from experiments.comparison.table import as_csv, as_markdown
    from experiments.visualize.pictures import save

    try:
        return [
            write_text(folder / "table.md", as_markdown(title, command, comparisons)),
            write_text(folder / "table.csv", as_csv(comparisons)),
            save(draw(comparisons), folder / "plot.png"),
        ]
    except OSError as error:
        raise DataError(f"{folder}: {error.strerror}") from error
