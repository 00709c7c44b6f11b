"""`python cli.py judge` on a shipped configuration: numbers, files that `score` reads, and every way out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_dlc_bench_data import write_dlc_bench

import cli
from datamodules.formats import DlcBench
from judges import JUDGE, answers, dlc_says, dlc_script, save, served

ROOT = Path(__file__).parents[3]


def arguments(folder: Path, address: str, *more: str) -> list[str]:
    """The configuration for a judge that reads: neither its data nor their variable are looked at."""
    judge = {"model": JUDGE, "base_url": address, "api_key_env": None, "max_tokens": 50}
    model = {"class_path": "datamodules.regvid.OpenAIModel", "init_args": judge}
    return [
        "judge",
        "--config=experiments/judged/dlc_bench.yaml",
        f"--judge.model={json.dumps(model)}",
        f"--judge.predictions={folder / 'predictions.jsonl'}",
        *more,
    ]


@pytest.fixture
def tested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with DLC-Bench on the squares, and what a model has answered."""
    monkeypatch.chdir(ROOT)
    write_dlc_bench(tmp_path)
    save(tmp_path / "predictions.jsonl", answers({"dlc_bench": DlcBench(tmp_path)}, dlc_says))
    return tmp_path


def results(path: Path) -> dict[str, Any]:
    return {item["metric"]: item for item in json.loads(path.read_text())["results"]}


def test_answers_become_numbers_that_score_finds_again(tested: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a call first; the verdicts in the layout of the benchmark's own judge come to the same numbers."""
    cli.main(arguments(tested, "http://127.0.0.1:9/v1", "--dry-run"))
    assert capsys.readouterr().out.startswith("27 calls, about ")
    cli.main(arguments(tested, "http://127.0.0.1:9/v1", f"--export={tested / 'captions.json'}"))
    exported = json.loads((tested / "captions.json").read_text())
    assert exported == {str(50 - place): said for place, said in enumerate(thirds(tested))}
    with served(dlc_script) as (model, address):
        cli.main(arguments(tested, address))
        assert len(model.asked) == 27
    assert "average" in capsys.readouterr().out
    folder = tested / "judge-dlc_text"
    mine = results(folder / "results.json")
    assert {name: item["value"] for name, item in mine.items()} == pytest.approx(
        {"positive": 3 / 9, "negative": 6 / 9, "average": 0.5}
    )
    assert f"judge {JUDGE} reads the description alone, temperature 0" in mine["average"]["protocol"]
    files = [f"--predictions={folder / 'judged.json'}", f"--references={tested / 'qa.json'}"]
    cli.main(["score", "--benchmark=dlc", *files, f"--output={tested / 'again.json'}"])
    again = results(tested / "again.json")
    assert {name: item["value"] for name, item in again.items()} == {name: item["value"] for name, item in mine.items()}


def thirds(folder: Path) -> list[str]:
    source = DlcBench(folder)
    return [dlc_says(source[place]) for place in range(len(source))]


@pytest.mark.slow
def test_what_ends_a_run_is_told(tested: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A spent budget waits with exit code 3, what cannot be read is one line and exit code 2."""
    with served(lambda text: "I cannot tell" if "wheels" in text else dlc_script(text)) as (model, address):
        with pytest.raises(SystemExit) as stop:
            cli.main(arguments(tested, address, "--judge.budget.tokens=1300"))
        assert stop.value.code == 3
        told = capsys.readouterr().out
        assert "judge.budget.tokens, 1300: raise it to go on\nthe same command goes on from here" in told
        with pytest.raises(SystemExit) as stop:
            cli.main(arguments(tested, address, "--judge.patience.attempts=1"))
        assert stop.value.code == 2
        assert len(model.asked) == 27
    assert f"error: judge {JUDGE}: 9 of 27 answers cannot be read, the first: sample" in capsys.readouterr().err
    assert not (tested / "judge-dlc_text" / "results.json").exists()
    with pytest.raises(SystemExit):
        cli.main(arguments(tested, "http://127.0.0.1:9/v1", "--judge.protocol=dlc_images"))
    assert "--vars.root is not set" in capsys.readouterr().err
