"""A run that is killed goes on as if nothing had happened."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

import cli
from experiments.benchmarks import dying as dying_run
from experiments.benchmarks import killed_runs
from processes import start

ROOT = Path(__file__).parent.parent.parent


def dying(arguments: Sequence[str], log: Path) -> None:
    """Runs `dying` in a forked process."""
    with log.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    dying_run.main(arguments)


def exit_code(arguments: Sequence[str], log: Path) -> int:
    """As of a process that has to import everything first."""
    process = start(dying, arguments, log)
    process.join()
    assert process.exitcode is not None
    return process.exitcode


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_run_killed_at_named_places_ends_as_the_whole_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights, optimiser state and every point of every series in MLflow, to the last bit.

    By the clock most kills met a process that was importing, and steps that were one too high afterwards were not seen.
    """
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(killed_runs, "exit_code", exit_code)
    shapes = tmp_path / "shapes"
    cli.main(["shapes", "--to", str(shapes), "--scenes", "4", "--val-scenes", "4", "--workers", "1"])
    files = {"root": str(shapes), "val_scenes": 4, "test_scenes": 4, "workers": 1}
    sources = {split: {"shapes": {"init_args": files}} for split in ("val", "test")}
    fragment = tmp_path / "files.yaml"
    base = {"tokenizer": f"{shapes}/tokenizer"}
    fragment.write_text(yaml.safe_dump({"model": {"init_args": {"base": base}}, "data": {"init_args": sources}}))
    kills = [("writing", 2), ("moved", 4), ("validation", 5), ("worker", 7), ("moved", 10), ("step", 19)]
    line = killed_runs.compare(tmp_path, kills, options=[f"--config={fragment}"])
    assert line.count("equal") == 3, line
