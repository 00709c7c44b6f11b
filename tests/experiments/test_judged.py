"""Every judged benchmark by its name: a tiny model answers, and a judge behind HTTP scores the answers."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient
from test_dlc_bench_data import write_dlc_bench
from test_ferret_bench import write_ferret_bench
from test_gar_bench import write_gar_bench
from test_mdvp_bench import write_mdvp_bench
from test_vip_bench import write_vip_bench

import cli
from documented import ROOT
from experiments.comparison.comparison import compare
from experiments.comparison.tracked import TrackedRuns
from experiments.named_benchmarks import benchmarks, find_benchmark, published_rows
from helpers import ARCHITECTURE, tokenizer_folder, trained
from judges import JUDGE, served
from videorefer_files import write_videorefer_bench_d

JUDGED = ROOT / "experiments" / "judged"
GRADES = """1. Subject Correspondence: 1
2. Appearance Description: 2
3. Temporal Description: 3
4. Hallucination Detection: 4"""


@dataclass(frozen=True)
class Benchmark:
    """What it takes to run one.

    Attributes:
        write: How its data are written.
        numbers: Some of those that have to come out; None where untrained weights decide.
        says: What the judge says to all; empty where there is none.
        options: Further ones of its command.
        absent: Of the published metrics those that the built-in data have nothing of.
    """

    write: Callable[[Path], object]
    numbers: Mapping[str, float | None]
    says: str = ""
    options: tuple[str, ...] = ()
    absent: frozenset[str] = field(default_factory=frozenset)


EXPECTED = {
    "dlc_bench": Benchmark(write_dlc_bench, {"judge/positive": 1.0, "judge/negative": -1.0, "judge/average": 0.0}, "A"),
    "dlc_bench_images": Benchmark(
        write_dlc_bench, {"judge/positive": 0.0, "judge/negative": 0.0, "judge/average": 0.0}, "B"
    ),
    "videorefer_d": Benchmark(
        write_videorefer_bench_d,
        {"judge/subject_correspondence": 1.0, "judge/average": 2.5, "caption/meteor": None},
        GRADES,
    ),
    "gar_vqa": Benchmark(
        write_gar_bench,
        {"choice/accuracy": None, "choice/relation/accuracy": None},
        absent=frozenset(f"choice/{kind}/accuracy" for kind in ("ordering", "material", "shape")),
    ),
    "gar_simple": Benchmark(write_gar_bench, {"judge/accuracy": 1.0}, "True"),
    "gar_detailed": Benchmark(write_gar_bench, {"judge/accuracy": 0.0}, "False"),
    "ferret_bench": Benchmark(write_ferret_bench, {"judge/relative": 0.25, "judge/refer_reason/relative": 0.25}, "8 2"),
    "mdvp_bench": Benchmark(
        write_mdvp_bench,
        {"judge/relative": 1.0, "judge/natural_QA_box/relative": 1.0},
        "5 5",
        ("--vars.kind", "natural_QA"),
        frozenset(
            f"judge/{kind}_detailed_caption_box/relative"
            for kind in ("natural", "ocr_doc", "ocr_spotting", "multipanel", "android", "web")
        ),
    ),
    "vip_bench": Benchmark(write_vip_bench, {"judge/correctness": 0.5, "judge/rel/correctness": 0.5}, "0.5"),
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a tiny model, where a training leaves its own."""
    return trained(tmp_path_factory.mktemp("trained"))


def test_every_configuration_is_here() -> None:
    """With a name, and a judge that its two commands and its one agree on."""
    assert {path.stem for path in JUDGED.glob("*.yaml")} == set(EXPECTED)
    named = {benchmark.name: benchmark for benchmark in benchmarks().values() if benchmark.path.parent == JUDGED}
    assert set(named) == set(EXPECTED)
    for name, expected in EXPECTED.items():
        assert named[name].judged == bool(expected.says)
        text = (JUDGED / f"{name}.yaml").read_text()
        assert f"cli.py benchmark {name} --ckpt_path C --root DIR" in text
        if not expected.says:
            continue
        for path in named[name].configurations:
            assert f"--config experiments/judged/{path.name}" in text
        judge = yaml.safe_load(named[name].configurations[0].read_text())["judge"]
        assert judge["predictions"] == f"runs/judged/{named[name].configurations[0].stem}/predictions.jsonl"


def results(path: Path) -> dict[str, dict[str, Any]]:
    return {item["metric"]: item for item in json.loads(path.read_text())["results"]}


def judge_of(address: str) -> str:
    """The option that names it."""
    judge = {"model": JUDGE, "base_url": address, "api_key_env": None, "price_in": 1, "price_out": 1}
    return f"--judge.model={json.dumps({'class_path': 'datamodules.regvid.OpenAIModel', 'init_args': judge})}"


def usual(folder: Path) -> list[str]:
    return [
        f"--run.root={folder}", "--run.pictures=0", "--data.num_workers=0", "--data.num_frames=1",
        "--trainer.accelerator=cpu", "--model.max_new_tokens=3",
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPECTED)
def test_a_benchmark_runs(name: str, tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers and protocols, those that others have published too, in the folder and in MLflow."""
    monkeypatch.chdir(ROOT)
    expected = EXPECTED[name]
    expected.write(tmp_path / "data")
    line = ["benchmark", name, f"--ckpt_path={checkpoint}", f"--root={tmp_path / 'data'}", *usual(tmp_path)]
    folder = tmp_path / f"benchmark-{name}" / "omni_rgpt-tiny"
    with served(lambda text: expected.says) as (model, address):
        line += [*expected.options, *([judge_of(address)] if expected.says else [])]
        cli.main(line)
        found = results(folder / "results.json")
        assert bool(model.asked) == bool(expected.says)
    if expected.says:
        check_tracked(tmp_path, name, found)
    assert set(expected.numbers) <= set(found)
    known = {metric: value for metric, value in expected.numbers.items() if value is not None}
    assert {metric: found[metric]["value"] for metric in known} == pytest.approx(known)
    assert not any(metric.endswith("answered") for metric in found)
    told = {item["protocol"] for metric, item in found.items() if metric.startswith("judge/")}
    assert all(f"judge {JUDGE} " in protocol for protocol in told)
    section = yaml.safe_load(find_benchmark(name).path.read_text())["benchmark"]
    published = {metric for row in published_rows(section) for metric in row.values}
    assert published - set(found) == expected.absent


def check_tracked(root: Path, name: str, found: dict[str, Any]) -> None:
    """MLflow has the judge's numbers in the run of the test, and `compare` prints them."""
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    metric = next(metric for metric in found if metric.startswith("judge/"))
    (root / "scratch").mkdir()
    gathered = TrackedRuns(client, root / "scratch").experiment(f"benchmark-{name}")
    [run] = gathered.runs
    assert run.scores[metric].value == found[metric]["value"]
    [comparison] = compare(gathered, [metric])
    assert [row.spread.mean for row in comparison.rows] == [found[metric]["value"]]
    experiment = client.get_experiment_by_name(f"benchmark-{name}")
    assert experiment is not None
    [tracked] = client.search_runs([experiment.experiment_id])
    assert tracked.data.metrics[f"test/{metric}"] == found[metric]["value"]
    assert f"judge {JUDGE} " in tracked.data.tags[f"protocol/test/{metric}"]


@pytest.mark.slow
def test_two_commands_score_it_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one test's answers, by the judge that reads and by the one that sees."""
    monkeypatch.chdir(ROOT)
    write_dlc_bench(tmp_path / "data")
    base = {"architecture": ARCHITECTURE, "tokenizer": tokenizer_folder(tmp_path / "tokenizer"), "checkpoint": None}
    root = f"--vars.root={tmp_path / 'data'}"
    cli.main([
        "test", "--config=experiments/judged/dlc_bench.yaml", "--config=experiments/models/llava-1.5-7b.yaml",
        f"--model.base={json.dumps(base)}", "--model.base.dtype=float32", root, *usual(tmp_path),
    ])  # fmt: skip
    folder = tmp_path / "judged" / "dlc_bench"
    assert results(folder / "results.json")["judge/answered"]["n"] == 9
    files = ["--config=experiments/judged/dlc_bench.yaml", "--config=experiments/judged/dlc_bench_images.yaml"]
    for configurations, scored in ((files[:1], "judge-dlc_text"), (files, "judge-dlc_images")):
        with served(lambda text: "A") as (model, address):
            predictions = f"--judge.predictions={folder / 'predictions.jsonl'}"
            cli.main(["judge", *configurations, root, predictions, judge_of(address)])
            assert model.asked
        assert results(folder / scored / "results.json")["average"]["value"] == 0.0
        assert shlex.split(json.loads((folder / scored / "results.json").read_text())["command"])
