"""The points of a sweep in the place where they are run, and the check that all of them are run with the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datamodules.errors import DataError
from experiments.sweeps.fingerprint import difference, fingerprints
from experiments.sweeps.point import command_lines
from experiments.sweeps.specification import Point, Sweep
from experiments.sweeps.study import Attempt, State


@dataclass(frozen=True)
class Grid:
    """What a process has to know of a sweep to run its points.

    Attributes:
        sweep: The sweep.
        root: Folder of all runs.
        points: By their names, in the order of the file.
        fingerprints: What each is run with, as it was when this process began.
    """

    sweep: Sweep
    root: Path
    points: Mapping[str, Point]
    fingerprints: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, sweep: Sweep, root: Path, further: Sequence[str] = ()) -> Grid:
        """Reads the configuration files.

        Args:
            sweep: The sweep.
            root: Folder of all runs.
            further: Command-line options for every point.

        Raises:
            DataError: A file cannot be read, or the options do not make a grid.
        """
        points = sweep.points(further)
        return cls(sweep, root, {point.name: point for point in points}, fingerprints(points))

    def folder(self, point: Point) -> Path:
        """Where a point leaves checkpoints, results and what it prints; a run's folder as any other."""
        return self.root / self.sweep.name / point.name

    def begun(self, point: Point) -> bool:
        """Whether there is a checkpoint, from which a training would go on."""
        return any((self.folder(point) / "checkpoints").glob("*"))

    def lines(self, point: Point, parent: str | None) -> dict[str, list[str]]:
        """The point's command lines, as a child of `parent` if there is one."""
        return command_lines(self.sweep.name, point, self.root, parent)

    def check_unchanged(self, attempts: Mapping[str, Attempt]) -> None:
        """A point that has no number and no checkpoint may begin anew with other options; else that would mix them.

        Raises:
            DataError: A point that is done, runs, or has a checkpoint was begun with other options or files.
        """
        for name, attempt in attempts.items():
            if name not in self.points or attempt.fingerprint is None:
                continue
            changed = difference(attempt.fingerprint, self.fingerprints[name])
            if changed and (attempt.state in (State.DONE, State.RUNNING) or self.begun(self.points[name])):
                raise DataError(
                    f"{self.sweep.path}: {name} was run with {changed}; undo the change, or give the sweep another name"
                )

    def check_files(self, point: Point) -> None:
        """A point is run with what its files say now, which has to be what they said when this process began.

        Raises:
            DataError: They say something else.
        """
        changed = difference(self.fingerprints[point.name], fingerprints([point])[point.name])
        if changed:
            raise DataError(f"{self.sweep.path}: {point.name} would be run with {changed}, changed while the sweep ran")
