"""A point is claimed once, whoever else claims at the same moment, and again only when its worker is dead."""

from __future__ import annotations

import time
from collections import Counter
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from stub_sweep import FORK, study_of, write_sweep

from datamodules.errors import DataError
from experiments.sweeps.specification import Point, read_sweep
from experiments.sweeps.storage import SweepStorage
from experiments.sweeps.study import Attempt, ClaimLostError, State, SweepStudy

PRINT = {"options": ["--a=1"], "files": {}}


def points_of(folder: Path, seeds: int = 2) -> dict[str, Point]:
    sweep = read_sweep(write_sweep(folder, seeds=list(range(seeds))))
    return {point.name: point for point in sweep.points()}


def claimed(study: SweepStudy, points: dict[str, Point]) -> tuple[Point, Attempt]:
    claim = study.claim(points)
    assert claim is not None
    return claim


def claim_all(folder: Path, barrier: Barrier, names: Queue[list[str]]) -> None:
    """What one of several workers does: adds the points, then claims until nothing is left."""
    study, points = study_of(folder, patience=60), points_of(folder, seeds=15)
    barrier.wait()
    study.add(points.values())
    mine = []
    while claim := study.claim(points):
        point, attempt = claim
        mine.append(point.name)
        study.finish(attempt, float(point.seed), 0.0)
    names.put(mine)


def test_thirty_points_are_claimed_once_each_by_five_processes(tmp_path: Path) -> None:
    """Optuna's own `ask` hands out several of 30 points twice on sqlite, and makes new trials when none is left."""
    points = points_of(tmp_path, seeds=15)
    barrier, names = FORK.Barrier(5), FORK.Queue()
    workers = [FORK.Process(target=claim_all, args=(tmp_path, barrier, names)) for _ in range(5)]
    for worker in workers:
        worker.start()
    claims = [names.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join()
    assert Counter(name for mine in claims for name in mine) == dict.fromkeys(points, 1)
    study = study_of(tmp_path)
    assert {name: attempt.value for name, attempt in study.attempts().items()} == {
        name: float(point.seed) for name, point in points.items()
    }
    assert {attempt.state for attempt in study.attempts().values()} == {State.DONE}


def test_points_are_claimed_in_the_order_of_the_file_and_only_those_of_the_file(tmp_path: Path) -> None:
    study, points = study_of(tmp_path), points_of(tmp_path)
    study.add(reversed(points.values()))
    first, *_ = points
    asked = {name: point for name, point in points.items() if name != first}
    names = [claim[0].name for _ in asked if (claim := study.claim(asked))]
    assert names == [*asked]
    assert study.claim(asked) is None
    assert study.attempts()[first].state is State.WAITING


def test_a_point_that_is_there_is_not_added_again(tmp_path: Path) -> None:
    study, points = study_of(tmp_path), points_of(tmp_path)
    study.add(points.values())
    point, attempt = claimed(study, points)
    study.finish(attempt, 0.5, 3.0)
    before = study.attempts()
    study.add(points.values(), again=True)
    assert study.attempts() == before
    assert (before[point.name].value, before[point.name].seconds) == (0.5, 3.0)


def test_an_attempt_that_two_machines_have_added_counts_once(tmp_path: Path) -> None:
    """Both looked before either had added it."""
    study, points = study_of(tmp_path), points_of(tmp_path, seeds=1)
    for point in [*points.values(), *points.values()]:
        study._study.enqueue_trial({}, {"point": point.name, "attempt": 0})
    assert [study.claim(points) is not None for _ in range(4)] == [True, True, False, False]


def test_a_failed_point_waits_for_someone_to_ask_for_it(tmp_path: Path) -> None:
    study, points = study_of(tmp_path), points_of(tmp_path, seeds=1)
    study.add(points.values())
    point, attempt = claimed(study, points)
    study.begin(attempt, PRINT)
    study.fail(attempt, "out of memory", 12.0)
    failed = study.attempts()[point.name]
    assert (failed.state, failed.error, failed.seconds) == (State.FAILED, "out of memory", 12.0)
    study.add(points.values())
    assert study.attempts()[point.name] == failed
    study.add(points.values(), again=True)
    again = study.attempts()[point.name]
    assert (again.state, again.error, again.number) == (State.WAITING, None, 1)
    assert again.fingerprint == PRINT


def test_a_point_without_a_sign_of_life_is_taken_over(tmp_path: Path) -> None:
    """Whoever wakes up late finds that it is another's now, and changes nothing."""
    study, points = study_of(tmp_path, patience=2), points_of(tmp_path, seeds=1)
    study.add(points.values())
    (_, asleep), (point, awake) = claimed(study, points), claimed(study, points)
    deadline = time.monotonic() + 4
    while time.monotonic() < deadline:
        study.alive(awake)
        study.take_over(points.values())
        time.sleep(0.5)
    taken, other = claimed(study, points)
    assert taken.name != point.name and other.number == 1
    assert study.claim(points) is None
    for late in (study.alive, study.break_off):
        with pytest.raises(ClaimLostError):
            late(asleep)
    with pytest.raises(ClaimLostError):
        study.finish(asleep, 1.0, 1.0)
    study.finish(awake, 0.25, 1.0)
    assert study.attempts()[taken.name].state is State.RUNNING
    assert study.attempts()[point.name].value == 0.25


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "storage: Could not parse"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("oracle://someone:secret@host/db", r"storage oracle://someone:\*\*\*@host/db: "),
    ],
)
def test_a_storage_that_cannot_be_had_is_one_line(url: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        SweepStudy(SweepStorage(url, 60), "name")
    assert "\n" not in str(caught.value) and "secret" not in str(caught.value)
