"""`python cli.py sweep FILE`: runs every point of a sweep that has not been run, here and wherever it is started."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from datamodules.errors import DataError
from datamodules.installation import COMMAND
from experiments.config.parsers import CommandParser, positive
from experiments.config.shipped import configuration
from experiments.sweeps.specification import read_sweep

if TYPE_CHECKING:
    from experiments.sweeps.grid import Grid
    from experiments.sweeps.specification import Point

LEAST_PATIENCE = 15  # seconds; an abandoned training has to have ended before another begins in its folder
INTERRUPTED = 130  # exit code


def main(arguments: Sequence[str]) -> None:
    """Runs a sweep; options it does not know go to every point. Exits with 1 if a point has failed."""
    asked, further = parser().parse_known_args(arguments)
    _check_patience(asked)
    # not before: --help has to answer at once
    from experiments.sweeps.grid import Grid

    grid = Grid.of(read_sweep(configuration(asked.file)), asked.root, further)
    _check_points(grid)
    if asked.dry_run:
        sys.stdout.writelines(_lines(grid))
        return
    try:
        with termination_as_interrupt():
            failed = _run(grid, asked)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command goes on\n")
        sys.exit(INTERRUPTED)
    if failed:
        sys.exit(1)


def _run(grid: Grid, asked: argparse.Namespace) -> bool:
    """Whether a point has failed."""
    from rich.console import Console

    from experiments.sweeps.fingerprint import tracking_uri
    from experiments.sweeps.parent import ParentRun
    from experiments.sweeps.storage import SweepStorage
    from experiments.sweeps.study import State, SweepStudy
    from experiments.sweeps.summary import counts, summary
    from experiments.sweeps.workers import Workers
    from experiments.tracking.mlflow_store import Store, store_address

    console = Console(markup=False, highlight=False)  # brackets are text here
    url = asked.storage or f"sqlite:///{asked.root / grid.sweep.name / 'sweep.db'}"
    study = SweepStudy(SweepStorage(url, asked.patience), grid.sweep.name)
    grid.check_unchanged(study.attempts())
    study.add(grid.points.values(), again=asked.retry_failed)
    attempts = study.attempts()
    console.print(f"{grid.sweep.name}: {counts(attempts[name] for name in grid.points)}", soft_wrap=True)
    address = store_address(asked.root, tracking_uri(next(iter(grid.points.values())).options))
    parent = ParentRun(grid.sweep, Store(address))
    Workers(grid, study, parent, lambda line: console.print(line, soft_wrap=True)).run(asked.workers)
    attempts = study.attempts()
    failed = any(attempts[name].state is State.FAILED for name in grid.points)
    parent.close(failed)
    console.print(summary(grid, attempts))
    return failed


def _check_points(grid: Grid) -> None:
    """Reads a command line of each combination of settings; else the last would be found out after all the others.

    Raises:
        DataError: One could not be run.
    """
    from experiments.lightning_cli import check

    combinations: dict[tuple[str, ...], Point] = {}
    for point in grid.points.values():
        combinations.setdefault(tuple(point.settings.values()), point)
    for point in combinations.values():
        try:
            check(grid.lines(point, None)["fit"])
        except DataError as error:
            raise DataError(f"{grid.sweep.path}: {point.name}: {error}") from error


def _lines(grid: Grid) -> Iterator[str]:
    """The command lines of all points as they can be typed; typed, they are nobody's children."""
    for point in grid.points.values():
        for line in grid.lines(point, None).values():
            yield f"{COMMAND} {shlex.join(line)}\n"


@contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """A scheduler that ends the sweep by SIGTERM gets what the keyboard's interrupt gets: points are given back."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _check_patience(asked: argparse.Namespace) -> None:
    if asked.patience < LEAST_PATIENCE:
        raise DataError(f"--patience {asked.patience}: at least {LEAST_PATIENCE} seconds")


def parser() -> argparse.ArgumentParser:
    """The options, but for those of the configurations."""
    arguments = CommandParser(
        prog="python cli.py sweep",
        usage="%(prog)s FILE [OPTIONS] [options of fit and test for every point]",
        description=__doc__,
        epilog="Started again, it goes on where it was; started on another machine too, both share the points. Every "
        "point is a fit and a test in processes of their own: --dry-run lists them.",
    )
    arguments.add_argument("file", type=Path, metavar="FILE", help="base configuration, factors, seeds and metric")
    arguments.add_argument("--workers", type=positive, default=1, help="points that run here at a time (%(default)s)")
    arguments.add_argument("--root", type=Path, default=Path("runs"), help="folder of all runs (%(default)s)")
    arguments.add_argument(
        "--storage", metavar="URL", help="database that machines share (sqlite:///ROOT/NAME/sweep.db, with a lock file)"
    )
    arguments.add_argument("--retry-failed", action="store_true", help="run points again that have failed")
    arguments.add_argument("--dry-run", action="store_true", help="list the command lines of all points, run none")
    arguments.add_argument(
        "--patience",
        type=int,
        default=60,
        metavar="SECONDS",
        help="without a sign of life, before a point is taken over from a dead worker (%(default)s)",
    )
    return arguments
