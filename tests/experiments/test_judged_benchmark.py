"""`python cli.py benchmark` on a judged one: what a first call has made and paid, the next neither makes nor pays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_dlc_bench_data import write_dlc_bench

import cli
from datamodules.errors import DataError
from datamodules.formats import DlcBench
from experiments import lightning_cli
from experiments.judged_benchmark import Answered
from judges import JUDGE, answers, dlc_says, dlc_script, save, served
from metrics import Evaluation
from metrics.table import results


@pytest.fixture
def tested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """DLC-Bench on the squares, and the command lines of `test`, each of which leaves what a model might have said."""
    lines: list[list[str]] = []
    write_dlc_bench(tmp_path / "data")

    def leave(line: list[str]) -> None:
        lines.append(line)
        folder = tmp_path / "benchmark-dlc_bench" / "llava-1.5-7b-text"
        folder.mkdir(parents=True, exist_ok=True)
        said = answers({"dlc_bench": DlcBench(tmp_path / "data")}, dlc_says)
        save(folder / "predictions.jsonl", said)
        scores = Evaluation().score(sorted(said, key=lambda prediction: prediction.id))
        (folder / "results.json").write_text(json.dumps(results("test", scores, "x.ckpt")))

    monkeypatch.setattr(lightning_cli, "main", leave)
    return lines


def test_the_same_command_goes_on(tmp_path: Path, tested: list[list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    """A judge is stopped by its budget, goes on, and has nothing left to say; other data are answered anew."""
    folder = tmp_path / "benchmark-dlc_bench" / "llava-1.5-7b-text"
    with served(dlc_script) as (model, address):
        judge = {"model": JUDGE, "base_url": address, "api_key_env": "null", "max_tokens": "50"}
        line = [
            "benchmark", "dlc_bench", "--base-model-only", "--base=llava-1.5-7b", f"--root={tmp_path / 'data'}",
            f"--run.root={tmp_path}", *(word for name in judge for word in (f"--judge.model.{name}", judge[name])),
        ]  # fmt: skip
        with pytest.raises(SystemExit) as stop:
            cli.main([*line, "--judge.budget.tokens", "1300"])
        assert stop.value.code == 3 and 0 < len(model.asked) < 27
        assert "judge.budget.tokens, 1300: raise it to go on\nthe same command goes on" in capsys.readouterr().out
        cli.main(line)
        assert (len(tested), len(model.asked)) == (1, 27)
        printed = capsys.readouterr().out
        cli.main(line)
        assert capsys.readouterr().out == printed
        assert (len(tested), len(model.asked)) == (1, 27)
        questions = tmp_path / "data" / "qa.json"
        questions.write_text(questions.read_text() + "\n")
        cli.main(line)
        assert (len(tested), len(model.asked)) == (2, 27)
    assert not any(option.startswith("--judge") for option in tested[0])
    record = json.loads((folder / "results.json").read_text())
    assert (record["split"], record["checkpoint"]) == ("test", "x.ckpt")
    found: dict[str, dict[str, Any]] = {item["metric"]: item for item in record["results"]}
    assert {name: item["value"] for name, item in found.items()} == pytest.approx(
        {"judge/positive": 3 / 9, "judge/negative": 6 / 9, "judge/average": 0.5}
    )
    assert f"judge {JUDGE} reads the description alone" in found["judge/average"]["protocol"]
    assert "judge/average" in printed and f"results: {folder}" in printed


def test_answers_are_those_of_the_same_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint that has been trained further, or predictions changed by hand, passed as those of the first call."""
    checkpoint, predictions = tmp_path / "last.ckpt", tmp_path / "predictions.jsonl"
    checkpoint.write_text("weights")
    monkeypatch.setattr(lightning_cli, "main", lambda line: predictions.write_text("what it said"))
    answered = Answered(tmp_path, ["test"], checkpoint, {})
    assert not answered.are_there()
    answered.make()
    assert answered.are_there() and Answered(tmp_path, ["test"], checkpoint, {}).are_there()
    assert not Answered(tmp_path, ["test", "--model.max_new_tokens=3"], checkpoint, {}).are_there()
    predictions.write_text("what someone else said")
    assert not answered.are_there()
    answered.make()
    checkpoint.write_text("better weights")
    assert not Answered(tmp_path, ["test"], checkpoint, {}).are_there()
    monkeypatch.setattr(lightning_cli, "main", lambda line: None)
    with pytest.raises(DataError, match=r"^test has left no .*predictions.jsonl: run.root, .experiment and .name are"):
        answered.make()
