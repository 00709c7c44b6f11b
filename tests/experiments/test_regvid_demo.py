"""The demonstration and the ablation of instruction data, at a small scale: data, report, training, test."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import cli
from experiments.regvid_demo import main
from experiments.sweeps.specification import read_sweep
from rehearsals import ROOT

pytestmark = pytest.mark.long  # the module, so that one process makes what its tests share

SMALL = ["--data.batch_size=2", "--data.epoch_size=4", "--run.pictures=0"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What it leaves behind: three videos, two steps."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(ROOT)
        places = ["--to", str(folder / "made"), "--shapes", str(folder / "shapes"), "--root", str(folder / "runs")]
        main([*places, "--videos", "3", "--lies", "0.4", "--seed", "2", "--steps", "2", *SMALL])
    return folder


def test_the_demo_makes_data_reports_and_trains(demo: Path) -> None:
    samples = [json.loads(line) for line in (demo / "made" / "samples.jsonl").read_text().splitlines()]
    assert {sample["group"] for sample in samples} == {"detailed", "brief", "conversation"}
    assert len({sample["video"] for sample in samples}) == 3
    assert (demo / "made" / "report" / "index.html").is_file()
    assert (demo / "runs" / "regvid" / "demo" / "checkpoints" / "last.ckpt").is_file()


def test_the_tokenizer_knows_every_word_of_the_data(demo: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(demo / "made" / "tokenizer")
    text = (demo / "made" / "samples.jsonl").read_text()
    answers = [turn["answer"] for line in text.splitlines() for turn in json.loads(line)["conversation"]]
    assert all(tokenizer.unk_token_id not in tokenizer(answer).input_ids for answer in answers)
    assert tokenizer.unk_token_id in tokenizer("a giraffe").input_ids


def test_a_second_run_asks_nothing(
    demo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Everything is in the journal, and the same data comes out."""
    from experiments.rehearse import main as rehearse

    monkeypatch.chdir(ROOT)
    before = (demo / "made" / "samples.jsonl").read_bytes()
    rehearse(["--to", str(demo / "made"), "--shapes", str(demo / "shapes"), "--videos", "3", "--seed", "2"])
    told = capsys.readouterr().out
    assert "\n0 calls" in told and "precision 1.000" in told and "recall    1.000" in told
    assert (demo / "made" / "samples.jsonl").read_bytes() == before


@pytest.mark.parametrize("setting", ["without", "with"])
def test_the_ablation_runs(setting: str, demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One point of each setting through fit and test, on a few scenes."""
    monkeypatch.chdir(ROOT)
    sweep = read_sweep(Path("experiments/ablations/instruction_data.yaml"))
    points = [point for point in sweep.points() if point.settings["instruction_data"] == setting]
    assert [point.seed for point in points] == [0, 1, 2]
    files = {"root": str(demo / "shapes"), "seed": 2, "val_scenes": 3, "test_scenes": 256}
    few = [f"--data.test.scenes.init_args.{name}={value}" for name, value in files.items()]
    few += ["--data.test.scenes.init_args.groups=[what]", "--trainer.limit_test_batches=1", "--data.eval_batch_size=4"]
    named = [f"--vars.made={demo / 'made'}", f"--run.root={tmp_path}", "--trainer.max_steps=2"]
    cli.main(["fit", *points[0].options, *named, *SMALL])
    cli.main(["test", *points[0].options, *named, *SMALL, *few, "--ckpt_path=last"])
    results = json.loads((tmp_path / "regvid" / "shapes" / "results.json").read_text())["results"]
    assert sweep.metric in {result["metric"] for result in results}
