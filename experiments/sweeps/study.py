"""The points of a sweep as trials of an Optuna study: each is run once, by whoever claims it first.

A trial is one attempt at a point, and the two together are its key. If two machines add an attempt at the same time,
the trial of the lower number counts and nobody claims the other. An attempt that ends without an error and without a
value was broken off: the point is attempted again. One that ends with an error is not, unless somebody asks for it.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import fail_stale_trials
from optuna.trial import FrozenTrial, TrialState

from experiments.sweeps.storage import SweepStorage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from experiments.sweeps.specification import Point


class State(StrEnum):
    """Where a point is, by its last attempt."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    BROKEN_OFF = "broken off"


_STATES = {
    TrialState.WAITING: State.WAITING,
    TrialState.RUNNING: State.RUNNING,
    TrialState.COMPLETE: State.DONE,
}


@dataclass(frozen=True, slots=True)
class Attempt:
    """The last attempt at a point.

    Attributes:
        trial: Number of the trial in the study.
        number: Which of the point's attempts, from 0.
        state: How far it has come.
        value: The metric, if it is done.
        seconds: How long it took, if it is done or failed.
        error: Why it failed.
        host: The machine that runs or ran it.
        fingerprint: What the point was last run with, in this attempt or an earlier one; None if it never was.
    """

    trial: int
    number: int
    state: State
    value: float | None
    seconds: float | None
    error: str | None
    host: str | None
    fingerprint: dict[str, Any] | None


class ClaimLostError(RuntimeError):
    """Another worker has taken the point over, since this one gave no sign of life for too long."""


class SweepStudy:
    """All attempts of a sweep, shared through its storage.

    Args:
        storage: Where they are kept.
        name: Of the sweep.
    """

    def __init__(self, storage: SweepStorage, name: str) -> None:
        self.storage = storage
        with storage.alone():
            self._study = optuna.create_study(
                storage=storage.optuna, study_name=name, direction="maximize", load_if_exists=True
            )
        self._id = storage.optuna.get_study_id_from_name(name)

    def attempts(self) -> dict[str, Attempt]:
        """Point -> its last attempt."""
        last: dict[str, Attempt] = {}
        for trial in self._study.get_trials(deepcopy=False):
            point, number = trial.user_attrs["point"], trial.user_attrs["attempt"]
            before = last.get(point)
            if before is None or number > before.number:
                last[point] = _attempt(trial, before)
        return last

    def add(self, points: Iterable[Point], again: bool = False) -> None:
        """A first attempt for each point that has none, another for those that were broken off.

        Args:
            points: Of the sweep.
            again: Whether failed ones are attempted again, too.
        """
        wanted = (State.BROKEN_OFF, State.FAILED) if again else (State.BROKEN_OFF,)
        with self.storage.alone():
            attempts = self.attempts()
            for point in points:
                before = attempts.get(point.name)
                if before is None or before.state in wanted:
                    self._study.enqueue_trial(
                        {**point.settings, "seed": point.seed},
                        {"point": point.name, "attempt": 0 if before is None else before.number + 1},
                    )

    def take_over(self, points: Iterable[Point]) -> None:
        """Lets those be attempted again whose worker gives no sign of life any more."""
        with self.storage.alone():
            fail_stale_trials(self._study)
        self.add(points)

    def claim(self, points: Mapping[str, Point]) -> tuple[Point, Attempt] | None:
        """The first waiting point, which is then the caller's alone; None if none waits."""
        with self.storage.alone():
            attempts = self.attempts()
            for name, point in points.items():
                attempt = attempts.get(name)
                if attempt is not None and attempt.state is State.WAITING and self._claim(attempt):
                    return point, attempt
        return None

    def _claim(self, attempt: Attempt) -> bool:
        """Not by `ask`, which makes a trial of its own where none waits, and does not say so."""
        trial = self._trial(attempt)
        # before the state: a trial that runs without a sign of life would never count as abandoned
        self.storage.optuna.record_heartbeat(trial)
        try:
            claimed = self.storage.optuna.set_trial_state_values(trial, TrialState.RUNNING)
        except UpdateFinishedTrialError:
            return False
        if claimed:
            self.storage.optuna.set_trial_user_attr(trial, "host", socket.gethostname())
        return claimed

    def begin(self, attempt: Attempt, fingerprint: Mapping[str, Any]) -> None:
        """Says what a claimed point is run with."""
        with _own():
            self.storage.optuna.set_trial_user_attr(self._trial(attempt), "fingerprint", dict(fingerprint))

    def alive(self, attempt: Attempt) -> None:
        """A sign of life of a claimed point, to be given more often than the storage's patience.

        Raises:
            ClaimLostError: The point is no longer the caller's.
        """
        trial = self._trial(attempt)
        if self.storage.optuna.get_trial(trial).state is not TrialState.RUNNING:
            raise ClaimLostError
        self.storage.optuna.record_heartbeat(trial)

    def finish(self, attempt: Attempt, value: float, seconds: float) -> None:
        """The point is done; raises as `alive`."""
        self._end(attempt, TrialState.COMPLETE, value, seconds=seconds)

    def fail(self, attempt: Attempt, error: str, seconds: float) -> None:
        """The point has failed; raises as `alive`."""
        self._end(attempt, TrialState.FAIL, error=error, seconds=seconds)

    def break_off(self, attempt: Attempt) -> None:
        """The point is given back; raises as `alive`."""
        self._end(attempt, TrialState.FAIL)

    def _end(self, attempt: Attempt, state: TrialState, value: float | None = None, **attributes: Any) -> None:
        trial = self._trial(attempt)
        with _own(), self.storage.alone():
            for name, content in attributes.items():
                self.storage.optuna.set_trial_user_attr(trial, name, content)
            self.storage.optuna.set_trial_state_values(trial, state, None if value is None else [value])

    def _trial(self, attempt: Attempt) -> int:
        return self.storage.optuna.get_trial_id_from_study_id_trial_number(self._id, attempt.trial)


@contextmanager
def _own() -> Iterator[None]:
    """Optuna does not let a trial that has ended be changed."""
    try:
        yield
    except UpdateFinishedTrialError as error:
        raise ClaimLostError from error


def _attempt(trial: FrozenTrial, before: Attempt | None) -> Attempt:
    attributes = trial.user_attrs
    error = attributes.get("error")
    ended = State.BROKEN_OFF if error is None else State.FAILED
    return Attempt(
        trial=trial.number,
        number=attributes["attempt"],
        state=_STATES.get(trial.state, ended),
        value=trial.value,
        seconds=attributes.get("seconds"),
        error=error,
        host=attributes.get("host"),
        fingerprint=attributes.get("fingerprint", before.fingerprint if before else None),
    )
