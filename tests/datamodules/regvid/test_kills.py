"""The command killed at any moment and started again ends in the files of a run that nobody disturbed."""

from __future__ import annotations

import random
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

import cli
from experiments.rehearsal.server import RehearsalServer
from processes import start
from rehearsals import journalled, made, models, options_of, run, sent, shapes_folder

LIES = 0.3
CONCURRENCY = 4


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shapes_folder(tmp_path_factory.mktemp("kills") / "shapes")


@pytest.mark.long
@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_a_killed_run_ends_in_the_same_files(kills: int, shapes: Path, tmp_path: Path) -> None:
    """SIGKILL after a random number of calls: at most those in flight are made again, and nothing received is lost."""
    with RehearsalServer(models(shapes, lies=LIES)) as server:
        calm = run(server, tmp_path / "calm", shapes)
        calls = len(server.exchanges)
    dice = random.Random(kills)
    folder = tmp_path / "killed"
    with RehearsalServer(models(shapes, lies=LIES), delay=0.02) as server:
        options = options_of(server.base_url, folder, shapes, f"--regvid.concurrency={CONCURRENCY}")
        for kill in range(kills):
            # the last one comes before the last call, as far as calls that are made again allow to tell
            process = start(cli.main, options)
            wait_for(server, process, len(server.exchanges) + dice.randint(0, calls // kills - 1))
            time.sleep(dice.uniform(0, 0.04))
            assert process.is_alive(), f"ended before kill {kill}"
            process.kill()
            process.join()
        process = start(cli.main, options)
        process.join()
        assert process.exitcode == 0
    assert made(folder) == calm
    assert names(folder) == names(tmp_path / "calm"), "nothing of the killed runs is left"
    assert not journalled(folder) - sent(server), "nothing in the journal that was not sent"
    lost = sent(server) - journalled(folder)
    assert lost.total() <= kills * CONCURRENCY, "what was sent but had not arrived"
    requests = [exchange.request for exchange in server.exchanges]
    assert len(set(requests)) == calls
    assert len(requests) - calls <= kills * CONCURRENCY
    assert server.exchanges.most_at_once <= 2 * CONCURRENCY


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def wait_for(server: RehearsalServer, process: BaseProcess, calls: int) -> None:
    """Until the server has had so many."""
    deadline = time.monotonic() + 120
    while len(server.exchanges) < calls and process.is_alive():
        assert time.monotonic() < deadline, f"{len(server.exchanges)} of {calls} calls"
        time.sleep(0.002)
