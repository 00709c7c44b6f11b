"""A run that is killed goes on as if nothing had happened."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import cli
from experiments.benchmarks import killed_runs

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_as_the_whole_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights, optimiser state and every point of every series in MLflow, to the last bit."""
    monkeypatch.chdir(ROOT)
    shapes = tmp_path / "shapes"
    cli.main(["shapes", "--to", str(shapes), "--scenes", "4", "--val-scenes", "4", "--workers", "1"])
    files = {"root": str(shapes), "val_scenes": 4, "test_scenes": 4, "workers": 1}
    sources = {split: {"shapes": {"init_args": files}} for split in ("val", "test")}
    fragment = tmp_path / "files.yaml"
    base = {"tokenizer": f"{shapes}/tokenizer"}
    fragment.write_text(yaml.safe_dump({"model": {"init_args": {"base": base}}, "data": {"init_args": sources}}))
    line = killed_runs.compare(tmp_path, kills=3, seed=1, options=[f"--config={fragment}"])
    assert "weights and optimiser state equal" in line
    assert "series equal" in line
