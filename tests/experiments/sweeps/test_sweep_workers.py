"""Points are run by real processes, whose program here only counts."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stub_sweep import Untracked, journal, starts, study_of, sweep_elsewhere, sweep_here, write_sweep

from datamodules.errors import DataError
from experiments.sweeps.grid import Grid
from experiments.sweeps.point import last_lines
from experiments.sweeps.specification import read_sweep
from experiments.sweeps.study import State

NAMES = ["size=1,seed=0", "size=1,seed=1", "size=2,seed=0", "size=2,seed=1"]
SLOW = {"stub.steps": 20, "stub.seconds": 0.05}
ONCE = {(command, name): 1 for command in ("fit", "test") for name in NAMES}


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def exists(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def training_of(root: Path, name: str) -> int:
    """The process that trains a point, which has left a checkpoint by then."""
    folder = root / "sizes" / name
    wait_for((folder / "checkpoints" / "last.ckpt").exists)
    return int((folder / "process").read_text())


def test_every_point_is_trained_and_tested_once(tmp_path: Path) -> None:
    path, tracked = write_sweep(tmp_path), Untracked()
    attempts = sweep_here(path, tmp_path, workers=3, tracked=tracked)
    # a test scores 10 times the seed and the 3 steps of the training
    assert {name: attempt.value for name, attempt in attempts.items()} == dict(zip(NAMES, (3, 13, 3, 13), strict=True))
    assert starts(tmp_path) == ONCE
    assert sorted(tracked.told) == [("done", name) for name in NAMES]
    sweep_here(path, tmp_path)
    assert starts(tmp_path) == ONCE


def test_more_seeds_and_values_add_only_what_is_new(tmp_path: Path) -> None:
    sweep_here(write_sweep(tmp_path), tmp_path)
    sweep_here(write_sweep(tmp_path, seeds=[0, 1, 2], factors={"model.size": [1, 2, 3]}), tmp_path, workers=2)
    more = ("size=1,seed=2", "size=2,seed=2", "size=3,seed=0", "size=3,seed=1", "size=3,seed=2")
    assert starts(tmp_path) == ONCE | {(command, name): 1 for command in ("fit", "test") for name in more}


def test_a_failed_point_stops_no_other_and_is_retried_only_on_request(tmp_path: Path) -> None:
    settings: dict[str, dict[str, Any]] = {"well": {"stub.steps": 1}, "badly": {"stub.broken": True}}
    path, tracked = write_sweep(tmp_path, factors={"goes": settings}, seeds=[0]), Untracked()
    attempts = sweep_here(path, tmp_path, tracked=tracked)
    failed = attempts["goes=badly,seed=0"]
    assert attempts["goes=well,seed=0"].state is State.DONE
    assert failed.state is State.FAILED
    assert failed.error == "fit ended with exit code 1\nerror: broken as asked"
    assert ("failed", "goes=badly,seed=0", failed.error) in tracked.told
    sweep_here(path, tmp_path)
    assert starts(tmp_path)["fit", "goes=badly,seed=0"] == 1
    # it never trained, so that it may begin anew with what was wrong put right
    settings["badly"]["stub.broken"] = False
    write_sweep(tmp_path, factors={"goes": settings}, seeds=[0])
    again = Untracked()
    attempts = sweep_here(path, tmp_path, retry=True, tracked=again)
    assert attempts["goes=badly,seed=0"].state is State.DONE
    assert again.told == [("discard", "goes=badly,seed=0"), ("done", "goes=badly,seed=0")]
    assert starts(tmp_path)["fit", "goes=well,seed=0"] == 1


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("accuracy", "no metric accuracy in {}, which has score, nothing"),
        ("nothing", "nothing in {} is not a number"),
    ],
)
def test_a_point_without_its_number_has_failed(tmp_path: Path, metric: str, message: str) -> None:
    (attempt,) = sweep_here(write_sweep(tmp_path, metric=metric, factors={}, seeds=[0]), tmp_path).values()
    assert attempt.state is State.FAILED
    assert attempt.error == message.format(tmp_path / "sizes" / "seed=0" / "results.json")


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_sweep_killed_in_the_middle_of_a_point_goes_on_there(tmp_path: Path, workers: int) -> None:
    path, name = write_sweep(tmp_path, options=SLOW), NAMES[workers]
    sweep = sweep_elsewhere(path, tmp_path, workers)
    training = training_of(tmp_path, name)
    sweep.kill()
    sweep.join()
    # its training ends with it, rather than to write on where the next begins
    wait_for(lambda: not exists(training), 10)
    left = study_of(tmp_path).attempts()
    done = {point for point in NAMES if left[point].state is State.DONE}
    assert left[name].state is State.RUNNING and NAMES[0] in done

    attempts = sweep_here(path, tmp_path, workers)
    assert {attempt.state for attempt in attempts.values()} == {State.DONE}
    assert [attempts[point].value for point in NAMES] == [20, 30, 20, 30]
    for point in done:
        assert journal(tmp_path, point) == [("fit", 0), ("test", 20)]
    (_, first), (command, second), test = journal(tmp_path, name)
    assert (first, command, test) == (0, "fit", ("test", 20)) and 0 < second < 20


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_what_an_interrupted_sweep_runs_is_given_back_at_once(tmp_path: Path, end: signal.Signals) -> None:
    path = write_sweep(tmp_path, options=SLOW)
    sweep = sweep_elsewhere(path, tmp_path)
    training = training_of(tmp_path, NAMES[0])
    os.kill(sweep.pid or 0, end)
    sweep.join(30)
    assert sweep.exitcode not in (0, None)
    assert not exists(training)
    assert study_of(tmp_path).attempts()[NAMES[0]].state is State.BROKEN_OFF


def test_two_machines_share_a_sweep(tmp_path: Path) -> None:
    """Two processes that know nothing of each other but the storage; both end when all is done."""
    path = write_sweep(tmp_path)
    both = [sweep_elsewhere(path, tmp_path) for _ in range(2)]
    for process in both:
        process.join(120)
    assert [process.exitcode for process in both] == [0, 0]
    assert starts(tmp_path) == ONCE


def test_a_changed_configuration_is_refused_where_a_point_has_run(tmp_path: Path) -> None:
    path = write_sweep(tmp_path)
    sweep_here(path, tmp_path)
    base = tmp_path / "base.yaml"
    base.write_text("# of another day\nmodel: tiny\n")
    sweep_here(path, tmp_path)
    base.write_text("model: huge\n")
    with pytest.raises(DataError, match=rf"size=1,seed=0 was run with another {base}; undo the change"):
        sweep_here(path, tmp_path)
    base.write_text("model: tiny\n")
    with pytest.raises(DataError, match=r"run with nothing where there is --stub.steps=5 now; undo"):
        sweep_here(write_sweep(tmp_path, options={"stub.steps": 5}), tmp_path)
    assert starts(tmp_path) == ONCE


def test_a_configuration_that_changes_while_the_sweep_runs_ends_it(tmp_path: Path) -> None:
    """Its point can be run once the change is undone."""
    path = write_sweep(tmp_path)
    grid = Grid.of(read_sweep(path), tmp_path)
    (tmp_path / "base.yaml").write_text("model: huge\n")
    with pytest.raises(DataError, match=r"would be run with another .*changed while the sweep ran"):
        grid.check_files(next(iter(grid.points.values())))


def test_the_end_of_a_log_is_kept(tmp_path: Path) -> None:
    """Progress bars return to the beginning of their line; what was there is not the error."""
    log = tmp_path / "fit.log"
    log.write_bytes(b"1%\r2%\r\n\n" + b"".join(b"line %d\n" % number for number in range(30)) + b"\xff\n")
    assert last_lines(log).splitlines() == [*(f"line {number}" for number in range(11, 30)), "�"]
