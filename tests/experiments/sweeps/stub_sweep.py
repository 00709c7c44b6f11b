"""A sweep without models and without MLflow."""

from __future__ import annotations

import multiprocessing
import sys
from collections import Counter
from multiprocessing.process import BaseProcess
from pathlib import Path

import yaml

from experiments.commands.sweep import termination_as_interrupt
from experiments.sweeps.grid import Grid
from experiments.sweeps.specification import read_sweep
from experiments.sweeps.storage import SweepStorage
from experiments.sweeps.study import Attempt, SweepStudy
from experiments.sweeps.workers import Workers

PATIENCE = 4  # seconds
FORK = multiprocessing.get_context("fork")  # new interpreters would only add seconds


class Untracked:
    """Remembers what it is told."""

    run_id = None

    def __init__(self) -> None:
        self.told: list[tuple[str, ...]] = []

    def failed(self, point: str, error: str) -> None:
        self.told.append(("failed", point, error))

    def done(self, point: str) -> None:
        self.told.append(("done", point))

    def discard(self, point: str) -> None:
        self.told.append(("discard", point))


def write_sweep(folder: Path, **changes: object) -> Path:
    """Two settings with two seeds each, unless `changes` say otherwise."""
    base = folder / "base.yaml"
    if not base.exists():
        base.write_text("model: tiny\n")
    content = {"base": [str(base)], "factors": {"model.size": [1, 2]}, "seeds": [0, 1], "metric": "score"}
    path = folder / "sizes.yaml"
    path.write_text(yaml.safe_dump({**content, **changes}, sort_keys=False))
    return path


def study_of(root: Path, patience: int = PATIENCE) -> SweepStudy:
    return SweepStudy(SweepStorage(f"sqlite:///{root / 'sizes' / 'sweep.db'}", patience), "sizes")


def sweep_here(
    path: Path, root: Path, workers: int = 1, retry: bool = False, tracked: Untracked | None = None
) -> dict[str, Attempt]:
    """Runs the sweep as the command does; every point's last attempt."""
    grid, study = Grid.of(read_sweep(path), root), study_of(root)
    grid.check_unchanged(study.attempts())
    study.add(grid.points.values(), again=retry)
    program = (sys.executable, str(Path(__file__).with_name("stub_cli.py")))
    Workers(grid, study, tracked or Untracked(), lambda line: None, program).run(workers)
    return study.attempts()


def sweep_elsewhere(path: Path, root: Path, workers: int = 1) -> BaseProcess:
    """The same in a process of its own, which ends on a signal as the command does."""

    def run() -> None:
        with termination_as_interrupt():
            sweep_here(path, root, workers)

    process = FORK.Process(target=run)
    process.start()
    return process


def journal(root: Path, point: str) -> list[tuple[str, int]]:
    """Command and the count from which it began, of every start of a point so far."""
    lines = map(str.split, (root / "journal").read_text().splitlines())
    return [(command, int(count)) for command, name, count in lines if name == point]


def starts(root: Path) -> Counter[tuple[str, str]]:
    """How often each command of each point was started."""
    lines = map(str.split, (root / "journal").read_text().splitlines())
    return Counter((command, name) for command, name, _ in lines)
