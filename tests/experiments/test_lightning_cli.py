"""What the command line leaves in MLflow: one run for a training and its tests, found again and well described."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

import cli
from small_run import write_small
from terminated import terminated

ROOT = Path(__file__).parents[2]
COSTS = {"fit_seconds", "parameters", "trainable_parameters"}
TOKENS = {"text_tokens_per_region", "tokens_per_sample"}


@pytest.fixture(autouse=True)
def _in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The configuration."""
    return str(write_small(tmp_path_factory.mktemp("small")))


def options(small: str, root: Path, name: str, *more: str) -> list[str]:
    files = ["--config=experiments/quickstart.yaml", f"--config={small}"]
    return [*files, f"--run.root={root}", f"--run.name={name}", "--run.experiment=tracked", *more]


def client(root: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{root / 'mlflow.db'}")


def runs(root: Path) -> list[Run]:
    found = client(root).get_experiment_by_name("tracked")
    assert found is not None
    return list(client(root).search_runs([found.experiment_id], order_by=["start_time ASC"]))


def refused(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        cli.main(list(arguments))
    assert stop.value.code == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


def artifact(root: Path, run: Run, name: str, to: Path) -> Any:
    return json.loads(Path(client(root).download_artifacts(run.info.run_id, name, str(to))).read_text())


def test_a_training_and_its_tests_are_one_run_that_tells_all(
    small: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They were two of the same name, of which one had no scores, without a dataset.

    Tags, costs, files; a repeated test counts anew, a resumed training goes on, also where its file was lost. With
    other options, or without the checkpoint it had saved, it went on as well, and nothing told.
    """
    line = options(small, tmp_path, "x,seed=0")
    tags = {"seed": "0", "factor/model.region_encoder": "none, both", "mlflow.parentRunId": "p"}
    assert "no tracked training" in refused(["test", *line, "--run.join=true"], capsys)
    folder = tmp_path / "tracked" / "x,seed=0"
    terminated(["fit", *line, f"--run.tags={json.dumps(tags)}"], step=1)
    (folder / "mlflow_run").unlink()
    cli.main(["fit", *line, "--ckpt_path=last"])
    for _ in range(2):
        cli.main(["test", *line, "--ckpt_path=last", '--run.tags={"tested": "yes"}'])

    (run,) = runs(tmp_path)
    assert (run.info.run_name, run.info.status) == ("x,seed=0", "FINISHED")
    expected = {
        **tags,
        "tested": "yes",
        "stage": "image",
        "region_encoder": "TokenMark",
        "configuration": "quickstart, small",
        "folder": str(folder.resolve()),
        "checkpoint": str(folder.resolve() / "checkpoints" / "last.ckpt"),
    }
    assert expected.items() <= run.data.tags.items()
    assert run.data.tags["command/fit"].startswith("python cli.py fit --config=experiments/quickstart.yaml")
    assert "protocol/test/answer/what/accuracy" in run.data.tags
    assert run.data.tags["mlflow.note.content"].startswith("## Protocols of test\n\n- `answer/accuracy`, ")
    assert run.data.params["command"] == "fit"
    used = {item.dataset.name: [tag.value for tag in item.tags] for item in run.inputs.dataset_inputs}
    assert used == {"train/scenes": ["train"], "val/shapes": ["val"], "test/shapes": ["test"]}
    assert len(run.inputs.dataset_inputs) == 3
    assert {f"cost/{name}" for name in COSTS | TOKENS} <= set(run.data.metrics)
    assert run.data.metrics["cost/text_tokens_per_region"] == 1
    for name, times in {"train/loss": 2, "test/answer/what/accuracy": 2, "cost/tokens_per_sample": 2}.items():
        assert len(client(tmp_path).get_metric_history(run.info.run_id, name)) == times

    files = {file.path for file in client(tmp_path).list_artifacts(run.info.run_id)}
    assert {"results.json", "predictions.jsonl"} <= files
    for stem in ("config{}.yaml", "environment{}.json", "data{}.json"):
        assert {stem.format(""), stem.format("-test")} <= files
    data = artifact(tmp_path, run, "data.json", tmp_path)
    assert data["fingerprint"] == run.data.tags["data.fingerprint"]
    assert set(data["sources"]) == {"train/scenes", "val/shapes", "test/shapes"}
    assert "root/image/test.jsonl" in data["sources"]["test/shapes"]["files"]
    assert artifact(tmp_path, run, "environment.json", tmp_path)["cpus"] == os.cpu_count()

    said = refused(["fit", *line, "--trainer.max_steps=3", "--model.learning_rate=1", "--ckpt_path=last"], capsys)
    assert f"{folder}/checkpoints/last.ckpt cannot be gone on with" in said
    assert ": model.learning_rate 0.002 -> 1.0; trainer.max_steps 2 -> 3. Give" in said
    (folder / "checkpoints" / "last.ckpt").unlink()
    said = refused(["fit", *line, "--ckpt_path=last"], capsys)
    assert f"no {folder}/checkpoints/last.ckpt, which MLflow run {run.info.run_id} saved at step 2" in said
    (left,) = runs(tmp_path)
    assert (left.info.run_id, left.info.status) == (run.info.run_id, "FINISHED")
    assert "max_steps: 2" in (folder / "config.yaml").read_text()


def test_a_store_that_was_deleted_is_one_line(small: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The folder is moved, too: MLflow keeps a file open that this process has used."""
    limit, moved = "--trainer.limit_val_batches=0", tmp_path / "moved"
    cli.main(["fit", *options(small, tmp_path / "runs", "lost", limit)])
    (run,) = runs(tmp_path / "runs")
    (tmp_path / "runs").rename(moved)
    (moved / "mlflow.db").unlink()
    line = options(small, moved, "lost", limit)
    for command in (["fit", *line], ["test", *line, "--run.join=true"]):
        said = refused([*command, "--ckpt_path=last"], capsys)
        assert said.startswith("error: ")
        for word in ("lost/mlflow_run", run.info.run_id, "mlflow.db"):
            assert word in said


def test_without_a_name_a_test_finds_what_was_trained(small: str, tmp_path: Path) -> None:
    line = [*options(small, tmp_path, "", "--run.name=null"), "--run.system_metrics=false"]
    cli.main(["fit", *line, "--trainer.limit_val_batches=0"])
    last = tmp_path / "tracked" / "ImageRegionModule-TokenMark-seed0" / "checkpoints" / "last.ckpt"
    cli.main(["test", *line, f"--ckpt_path={last}"])
    (run,) = runs(tmp_path)
    assert run.info.run_name == "ImageRegionModule-TokenMark-seed0"
    assert not any(name.startswith("system/") for name in run.data.metrics)
    # the weights of another run: a run of its own
    cli.main(["test", *line, f"--ckpt_path={shutil.copy(last, tmp_path)}"])
    assert [run.info.run_name for run in runs(tmp_path)] == ["ImageRegionModule-TokenMark-seed0"] * 2
