"""`cli.py sweep` as it is typed."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run
from stub_sweep import study_of, write_sweep

import cli
from experiments.sweeps.fingerprint import difference, fingerprints, tracking_uri
from experiments.sweeps.specification import read_sweep

ROOT = Path(__file__).parents[3]
REAL: dict[str, Any] = {"base": ["experiments/quickstart.yaml"], "factors": {"model.max_new_tokens": [1, 2]}}
"""Points whose command lines are ones of `fit` and `test`."""


@pytest.fixture(autouse=True)
def _in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_a_dry_run_lists_every_command_and_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_sweep(tmp_path, seeds=[5], **REAL)
    cli.main(["sweep", str(path), "--root", str(tmp_path / "runs"), "--dry-run", "--trainer.max_steps", "7"])
    lines = [shlex.split(line) for line in capsys.readouterr().out.splitlines()]
    assert [line[:3] for line in lines] == [["python", "cli.py", command] for command in ("fit", "test")] * 2
    name = "max_new_tokens=2,seed=5"
    tags = {"sweep": "sizes", "point": name, "seed": "5", "factor/max_new_tokens": "2"}
    fit = [
        "python",
        "cli.py",
        "fit",
        "--config=experiments/quickstart.yaml",
        "--trainer.max_steps",
        "7",
        "--model.max_new_tokens=2",
        "--seed_everything=5",
        f"--run.root={tmp_path}/runs",
        "--run.experiment=sizes",
        f"--run.name={name}",
        f"--run.tags={json.dumps(tags)}",
        "--ckpt_path=last",
    ]
    assert lines[2] == fit
    assert lines[3] == [*fit[:2], "test", *fit[3:], "--run.join=true"]
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--workers", "0"], "--workers: 0 is less than 1"),
        (["--patience", "3"], "--patience 3: at least 15 seconds"),
        (["--run.name=x"], "--run.name is given by the sweep itself"),
        (["--config", "absent.yaml"], "absent.yaml: No such file or directory"),
        (["--storage", "nonsense"], "storage: Could not parse"),
        (
            ["--model.learning_rat=1"],
            "max_new_tokens=1,seed=0: model.learning_rat: ImageRegionModule has no such option",
        ),
    ],
)
def test_what_cannot_be_run_is_one_line(
    tmp_path: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["sweep", str(write_sweep(tmp_path, **REAL)), "--root", str(tmp_path), *options])
    error = capsys.readouterr().err
    assert caught.value.code == 2
    assert error.startswith("error: ") and error.count("\n") == 1 and message in error


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        (
            {"model.learning_rat": [1, 2]},
            "learning_rat=1,seed=0: model.learning_rat: ImageRegionModule has no such option",
        ),
        (
            {"model.prompt": ["plain", "plan"]},
            "prompt=plan,seed=0: model.prompt: expected chat, vicuna, plain, got plan",
        ),
    ],
)
def test_every_point_is_read_before_the_first_is_run(
    tmp_path: Path, factors: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A misspelt factor was listed by the dry run with exit code 0, and failed when its turn came."""
    with pytest.raises(SystemExit) as caught:
        cli.main(["sweep", str(write_sweep(tmp_path, base=REAL["base"], factors=factors)), "--dry-run"])
    captured = capsys.readouterr()
    assert caught.value.code == 2 and message in captured.err and not captured.out


def test_a_fingerprint_tells_what_has_changed(tmp_path: Path) -> None:
    path = write_sweep(tmp_path, factors={}, seeds=[0])

    def taken(*further: str) -> dict[str, Any]:
        return fingerprints(read_sweep(path).points(further))["seed=0"]

    before = taken("--a=1", "--b=2")
    assert json.loads(json.dumps(before)) == before  # as it comes back from the storage
    assert difference(before, taken("--a=1", "--b=2")) == ""
    assert difference(before, taken("--a=3", "--b=2")) == "--a=1 where there is --a=3 now"
    assert difference(before, taken("--b=2")) == "--a=1 where there is nothing now"
    assert difference(before, taken("--b=2", "--a=1")) == "its options in another order"
    (tmp_path / "base.yaml").write_text("model:   tiny  # spoken of\n")
    assert difference(before, taken("--a=1", "--b=2")) == ""
    (tmp_path / "base.yaml").write_text("model: larger\n")
    assert difference(before, taken("--a=1", "--b=2")) == f"another {tmp_path}/base.yaml"


def test_the_parent_is_tracked_where_its_points_are(tmp_path: Path) -> None:
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("run: {tracking_uri: http://first}\n")
    second.write_text("run: {tracking_uri: http://second}\n")
    silent = tmp_path / "silent.yaml"
    silent.write_text("run: {}\ntrainer:\n")
    files = [f"--config={first}", "--config", str(second), f"--config={silent}"]
    assert tracking_uri([f"--config={silent}"]) is None
    assert tracking_uri(files) == "http://second"
    assert tracking_uri([*files, "--run.tracking_uri", "http://option"]) == "http://option"


# --- with models --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two steps on four scenes."""
    folder = tmp_path_factory.mktemp("data")
    cli.main(["shapes", "--to", str(folder), "--scenes", "4", "--val-scenes", "4", "--workers", "1"])
    files = {"root": str(folder), "val_scenes": 4, "test_scenes": 4, "workers": 1}
    data = {"epoch_size": 4, "batch_size": 2, "num_workers": 0}
    sources = {split: {"shapes": {"init_args": files}} for split in ("val", "test")}
    fragment = {
        "trainer": {"max_steps": 2, "enable_progress_bar": False},
        "run": {"pictures": 0, "system_metrics": False},
        "model": {"init_args": {"base": {"tokenizer": f"{folder}/tokenizer"}, "max_new_tokens": 3}},
        "data": {"init_args": {**data, **sources}},
    }
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(fragment))
    return ["experiments/quickstart.yaml", str(path)]


def runs(root: Path) -> tuple[Run, dict[str, Run]]:
    """The parent, and the runs of the points by their names."""
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("sizes")
    assert experiment is not None
    found = list(client.search_runs([experiment.experiment_id]))
    (parent,) = [run for run in found if "sweep.parent" in run.data.tags]
    points = {run.info.run_name: run for run in found if run is not parent}
    assert len(points) == len(found) - 1
    return parent, points


@pytest.mark.slow
def test_a_sweep_of_real_runs(tmp_path: Path, base: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Two settings of a tiny model side by side; then a seed that cannot be run, and both are left alone."""
    factors = {"model.region_encoder": ["TokenMark", "NoRegionEncoder"]}
    path = write_sweep(tmp_path, base=base, factors=factors, seeds=[0], metric="answer/what/accuracy")
    command = ["sweep", str(path), "--root", str(tmp_path), "--workers", "2"]
    cli.main(command)
    assert "sizes: 2 done" in capsys.readouterr().out
    parent, points = runs(tmp_path)
    assert parent.info.status == "FINISHED"
    assert set(points) == {"region_encoder=TokenMark,seed=0", "region_encoder=NoRegionEncoder,seed=0"}
    for name, run in points.items():
        tags = {"mlflow.parentRunId": parent.info.run_id, "sweep": "sizes", "seed": "0", "point": name}
        assert run.data.tags.items() >= tags.items()
        assert run.info.status == "FINISHED"
        value = study_of(tmp_path).attempts()[name].value
        scores = json.loads((tmp_path / "sizes" / name / "results.json").read_text())["results"]
        assert value == {score["metric"]: score["value"] for score in scores}["answer/what/accuracy"]
        assert run.data.metrics["test/answer/what/accuracy"] == pytest.approx(value)
        assert "cost/fit_seconds" in run.data.metrics  # of the training, in the same run

    write_sweep(tmp_path, base=base, factors=factors, seeds=[0, -1], metric="answer/what/accuracy")
    with pytest.raises(SystemExit) as caught:
        cli.main(command)
    assert caught.value.code == 1
    printed = capsys.readouterr().out
    assert "2 done, 2 waiting" in printed and "seed=-1: failed" in printed
    after, again = runs(tmp_path)
    assert after.info.run_id == parent.info.run_id and after.info.status == "FAILED"
    assert {name: run.info.end_time for name, run in again.items()} == {
        name: run.info.end_time for name, run in points.items()
    }
