"""The workers of one process: each claims a point, runs it, claims the next, until all points of the sweep are done."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Protocol

from datamodules.errors import DataError
from datamodules.installation import PROGRAM
from experiments.sweeps.grid import Grid
from experiments.sweeps.point import PointFailedError, brief, run_point
from experiments.sweeps.specification import Point
from experiments.sweeps.study import Attempt, ClaimLostError, State, SweepStudy

POLL = 2.0  # seconds between two looks at what other workers have come to


class Tracked(Protocol):
    """What the workers tell of the points; `ParentRun` tells it to MLflow."""

    @property
    def run_id(self) -> str | None:
        """Of the run whose children the points are."""

    def failed(self, point: str, error: str) -> None:
        """It has."""

    def done(self, point: str) -> None:
        """It is."""

    def discard(self, point: str) -> None:
        """What there is of it no longer counts."""


class _StoppedError(RuntimeError):
    """The workers shall end."""


@dataclass
class Workers:
    """Run the points of a sweep that nobody else runs, and wait for those that others run.

    Attributes:
        grid: The points.
        study: Where they are claimed.
        tracked: Where runs are tracked.
        say: Prints a line.
        program: What command lines are given to.
    """

    grid: Grid
    study: SweepStudy
    tracked: Tracked
    say: Callable[[str], None]
    program: Sequence[str] = PROGRAM
    _stop: threading.Event = field(default_factory=threading.Event)
    _told: set[str] = field(default_factory=set)

    def run(self, workers: int) -> None:
        """Returns when every point is done or has failed; an interrupt ends what runs and gives it back.

        Args:
            workers: Points that run at a time.

        Raises:
            DataError: A configuration file has changed meanwhile.
        """
        with ThreadPoolExecutor(workers) as pool:
            futures = [pool.submit(self._work) for _ in range(workers)]
            try:
                for future in as_completed(futures):
                    future.result()
            finally:
                self._stop.set()

    def _work(self) -> None:
        while not self._stop.is_set():
            self.study.take_over(self.grid.points.values())
            claimed = self.study.claim(self.grid.points)
            if claimed is not None:
                self._run(*claimed)
            elif unfinished := self._unfinished():
                self._tell_what_is_waited_for(unfinished)
                self._stop.wait(POLL)
            else:
                return

    def _unfinished(self) -> dict[str, Attempt]:
        attempts = self.study.attempts()
        ended = (State.DONE, State.FAILED)
        return {name: attempts[name] for name in self.grid.points if attempts[name].state not in ended}

    def _tell_what_is_waited_for(self, unfinished: Mapping[str, Attempt]) -> None:
        for name in unfinished.keys() - self._told:
            self._told.add(name)
            self.say(f"{name}: waited for, {unfinished[name].host or 'another worker'} runs it")

    def _run(self, point: Point, attempt: Attempt) -> None:
        self._told.add(point.name)
        start = time.monotonic()
        try:
            value = self._value(point, attempt)
            self._done(point, attempt, value, time.monotonic() - start)
        except PointFailedError as error:
            self._failed(point, attempt, str(error), time.monotonic() - start)
        except ClaimLostError:
            self.say(f"{point.name}: taken over by another worker, since this one gave no sign of life")
        except _StoppedError:
            self._break_off(attempt)
            self.say(f"{point.name}: broken off")
        except DataError:
            self._break_off(attempt)
            raise

    def _value(self, point: Point, attempt: Attempt) -> float:
        self.grid.check_files(point)
        fingerprint, begun = self.grid.fingerprints[point.name], self.grid.begun(point)
        if attempt.fingerprint not in (None, fingerprint) and not begun:
            self._discard(point)
        self.study.begin(attempt, fingerprint)
        self.say(f"{point.name}: {'goes on' if begun else 'begins'}")
        return run_point(
            self.grid.lines(point, self.tracked.run_id),
            self.grid.folder(point),
            self.grid.sweep.metric,
            lambda: self._alive(attempt),
            self.program,
        )

    def _alive(self, attempt: Attempt) -> None:
        if self._stop.is_set():
            raise _StoppedError
        self.study.alive(attempt)

    def _done(self, point: Point, attempt: Attempt, value: float, seconds: float) -> None:
        self.study.finish(attempt, value, seconds)
        self.tracked.done(point.name)
        self.say(f"{point.name}: {self.grid.sweep.metric} {value:.4f}, {seconds:.0f} s")

    def _failed(self, point: Point, attempt: Attempt, error: str, seconds: float) -> None:
        self.tracked.failed(point.name, error)
        try:
            self.study.fail(attempt, error, seconds)
        except ClaimLostError:
            return  # whoever has taken it over will say what came of it
        self.say(f"{point.name}: failed: {brief(error)}")

    def _break_off(self, attempt: Attempt) -> None:
        try:
            self.study.break_off(attempt)
        except ClaimLostError:
            return  # it is another's already

    def _discard(self, point: Point) -> None:
        """Else the training would go on in the MLflow run that has the parameters of before."""
        from experiments.tracking.mlflow_runs import RUN_ID

        self.tracked.discard(point.name)
        (self.grid.folder(point) / RUN_ID).unlink(missing_ok=True)
