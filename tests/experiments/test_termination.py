"""SIGTERM ends a run with exit code 143, a training after it is saved."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import cli
from experiments.benchmarks.killed_runs import same, state
from experiments.termination import EXIT_CODE
from small_run import write_small
from terminated import terminated

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_small(tmp_path_factory.mktemp("small")))


@pytest.fixture(autouse=True)
def _in_the_project(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(ROOT)
    before = signal.getsignal(signal.SIGTERM)
    yield
    assert signal.getsignal(signal.SIGTERM) is before


def line(small: str, root: Path, *more: str) -> list[str]:
    files = ["--config=experiments/quickstart.yaml", f"--config={small}"]
    run = [f"--run.root={root}", "--run.experiment=killed", "--run.name=run", "--trainer.logger=false"]
    return [*files, *run, "--trainer.limit_val_batches=0", *more]


def test_a_training_is_saved_first_and_goes_on_exactly(
    small: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ended with exit code 0 and an older checkpoint, so that a test of it looked like any other."""
    long = ["--trainer.max_steps=6", "--trainer.max_epochs=-1"]
    cli.main(["fit", *line(small, tmp_path / "whole", *long)])
    assert EXIT_CODE == 143
    terminated(["fit", *line(small, tmp_path / "ended", *long)], step=3)
    assert "ended by SIGTERM after step 3; --ckpt_path last goes on" in capsys.readouterr().err
    assert state(tmp_path / "ended")["global_step"] == 3
    cli.main(["fit", *line(small, tmp_path / "ended", *long, "--ckpt_path=last")])
    whole, ended = state(tmp_path / "whole"), state(tmp_path / "ended")
    assert whole["global_step"] == ended["global_step"] == 6
    assert same(whole, ended)


def test_an_evaluation_ends_at_once(small: str, tmp_path: Path) -> None:
    """It ended with exit code 0 and no result."""
    terminated(["test", *line(small, tmp_path)])
    assert not (tmp_path / "killed" / "run" / "results.json").exists()


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_real_process_ends_by_a_signal_to_its_group(small: str, tmp_path: Path, processes: int) -> None:
    """Loader workers and ranks get the signal too, as from a scheduler: none of them may take the run down by dying."""
    ddp = ["--trainer.strategy=ddp", f"--trainer.devices={processes}"] if processes > 1 else ["--data.num_workers=1"]
    forever = ["--trainer.max_steps=100000", "--trainer.max_epochs=-1", "--run.save_every=1"]
    command = [sys.executable, "cli.py", "fit", *line(small, tmp_path, *forever, *ddp)]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    last = tmp_path / "killed" / "run" / "checkpoints" / "last.ckpt"
    try:
        while not last.exists() and process.poll() is None:
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(60) == EXIT_CODE, (tmp_path / "log").read_text()[-3000:]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert torch.load(last, weights_only=True)["global_step"] > 0
