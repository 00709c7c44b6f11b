from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from lightning import LightningDataModule, LightningModule, Trainer
from mlflow import MlflowClient
from PIL import Image
from rich.console import Console
from torch.utils.data import DataLoader

from answered import batch, prediction, sample
from datamodules.batching.batch import RegionBatch
from experiments.reporting import Report, results, score_table
from experiments.tracking.mlflow_runs import RunLogger
from lightning_modules.generation.answering import Answered
from metrics import Evaluation, Prediction, Score

PROTOCOL = "exact match [after normalisation]"


class Fixed(LightningModule):
    """Gives every sample the same answer and score."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.scores: dict[str, Score] = {}
        self.predictions: list[Prediction] = []
        self.evaluation = Evaluation()

    def training_step(self, batch: RegionBatch, batch_idx: int) -> torch.Tensor:
        return self.weight.square().sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)

    def validation_step(self, batch: RegionBatch, batch_idx: int) -> Answered:
        answered = self.predict_step(batch, batch_idx)
        self.predictions = [*self.predictions, *answered.predictions]
        return answered

    test_step = validation_step

    def predict_step(self, batch: RegionBatch, batch_idx: int) -> Answered:
        heat = torch.rand(sum(batch.token_counts), 2)
        return Answered([prediction(asked) for asked in batch.samples], heat)

    def on_test_epoch_end(self) -> None:
        self.scores = {"answer/accuracy": Score(0.75, 4, PROTOCOL)}

    on_validation_epoch_end = on_test_epoch_end


class Samples(LightningDataModule):
    def train_dataloader(self) -> DataLoader[RegionBatch]:
        samples = [sample(name) for name in "dcba"]
        return DataLoader(samples, batch_size=2, collate_fn=batch)  # type: ignore[arg-type]  # a list is a map

    val_dataloader = test_dataloader = predict_dataloader = train_dataloader


def trainer(folder: Path, logger: RunLogger | bool = False, pictures: int = 3, **options: int) -> Trainer:
    return Trainer(
        default_root_dir=folder,
        logger=logger,
        callbacks=[Report(pictures, pictures_in_training=1)],
        accelerator="cpu",
        max_epochs=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )


def pictures(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in (folder / "pictures").rglob("*.png"))


def test_a_test_leaves_results_predictions_pictures_and_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["cli.py", "test", "--config", "my config.yaml"])
    trainer(tmp_path).test(Fixed(), datamodule=Samples(), verbose=False)

    assert json.loads((tmp_path / "results.json").read_text()) == {
        "command": "cli.py test --config 'my config.yaml'",
        "checkpoint": None,
        "split": "test",
        "results": [{"metric": "answer/accuracy", "value": 0.75, "n": 4, "protocol": PROTOCOL}],
    }
    lines = (tmp_path / "predictions.jsonl").read_text().splitlines()
    assert [Prediction.from_json(line) for line in lines] == [prediction(sample(name)) for name in "dcba"]
    assert pictures(tmp_path) == [f"pictures/test/{number:03}.png" for number in range(3)]
    printed = capsys.readouterr().out
    assert "0.7500" in printed
    assert str(tmp_path) in printed
    assert {path.name for path in tmp_path.iterdir()} == {"results.json", "predictions.jsonl", "pictures"}


def test_validate_reports_like_test_and_training_only_leaves_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And a line of scores, which stood in MLflow alone."""
    trainer(tmp_path / "validate").validate(Fixed(), datamodule=Samples(), verbose=False)
    assert json.loads((tmp_path / "validate" / "results-validate.json").read_text())["split"] == "val"
    assert len(pictures(tmp_path / "validate")) == 3

    trainer(tmp_path / "fit", enable_checkpointing=False, num_sanity_val_steps=1).fit(Fixed(), datamodule=Samples())
    assert pictures(tmp_path / "fit") == ["pictures/val/step-000002/000.png"]
    assert "step 2: val answer/accuracy 0.7500\n" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "fit").iterdir()] == ["pictures"]


def test_predict_leaves_predictions_sorted_by_id_and_pictures(tmp_path: Path) -> None:
    """Under a name of their own: they took the place of those that the `results.json` beside them is about."""
    trainer(tmp_path).predict(Fixed(), datamodule=Samples(), return_predictions=False)
    lines = (tmp_path / "predictions-predict.jsonl").read_text().splitlines()
    assert [Prediction.from_json(line).id for line in lines] == ["a", "b", "c", "d"]
    assert len(pictures(tmp_path)) == 3
    assert not (tmp_path / "results.json").exists() and not (tmp_path / "predictions.jsonl").exists()


def test_every_command_keeps_what_the_others_left_in_the_folder(tmp_path: Path) -> None:
    """`validate` took the place of the results and predictions of the `test` before it."""
    trainer(tmp_path, pictures=0).test(Fixed(), datamodule=Samples(), verbose=False)
    left = {name: (tmp_path / name).read_bytes() for name in ("results.json", "predictions.jsonl")}
    trainer(tmp_path, pictures=0).validate(Fixed(), datamodule=Samples(), verbose=False)
    trainer(tmp_path, pictures=0).predict(Fixed(), datamodule=Samples(), return_predictions=False)
    assert {name: (tmp_path / name).read_bytes() for name in left} == left
    assert {path.name for path in tmp_path.iterdir()} == {
        *left, "results-validate.json", "predictions-validate.jsonl", "predictions-predict.jsonl"
    }  # fmt: skip


def test_mlflow_gets_files_and_a_table_with_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    logger = RunLogger("report", "run", tmp_path / "runs")
    trainer(tmp_path / "run", logger).test(Fixed(), datamodule=Samples(), verbose=False)

    client, run = MlflowClient(logger.uri), logger.run_id
    assert run is not None
    files = {file.path for file in client.list_artifacts(run)}
    assert files >= {"results.json", "predictions.jsonl", "pictures", "test_predictions.json"}
    assert len(client.list_artifacts(run, "pictures/test")) == 3
    table = json.loads(Path(client.download_artifacts(run, "test_predictions.json", str(tmp_path))).read_text())
    assert table["columns"] == ["picture", "id", "group", "prompt", "references", "prediction"]
    picture, *row = table["data"][0]
    assert row == ["d", "colour", "what?", "red", "say d"]
    with Image.open(client.download_artifacts(run, picture["filepath"], str(tmp_path))) as opened:
        assert opened.format == "PNG"
    assert client.get_run(run).data.tags["protocol/test/answer/accuracy"] == f"n = 4: {PROTOCOL}"
    assert f"- `answer/accuracy`: {PROTOCOL}; n = 4\n" in client.get_run(run).data.tags["mlflow.note.content"]


def test_brackets_in_a_table_are_text() -> None:
    console = Console(markup=False, width=100, record=True)
    console.print(score_table("test", {"answer/[bold]/accuracy": Score(1 / 3, 7, "[/x]")}))
    text = console.export_text()
    for cell in ("answer/[bold]/accuracy", "0.3333", "7", "[/x]"):
        assert cell in text


def test_narrow_tables_cut_no_number_and_say_a_protocol_once() -> None:
    """Below the table: its column took most lines of a terminal of usual width."""
    name = "a/long/group/of/questions/accuracy"
    console = Console(markup=False, width=80, record=True)
    console.print(score_table("test", {f"{name}_{number}": Score(0.5, 1234, PROTOCOL) for number in range(2)}))
    text = console.export_text()
    for cell in (f"{name}_0", f"{name}_1", "0.5000", "1234"):
        assert cell in text
    assert text.count("exact") == 1
    assert text.count("(1)") == 3
    assert max(map(len, text.splitlines())) <= 80


def test_results_name_the_checkpoint() -> None:
    assert results("test", {}, Path("runs/last.ckpt"))["checkpoint"] == "runs/last.ckpt"
