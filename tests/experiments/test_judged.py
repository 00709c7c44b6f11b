"""Every judged benchmark from its configuration: a tiny model answers, and a judge behind HTTP scores the answers."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_dlc_bench_data import write_dlc_bench
from test_ferret_bench import write_ferret_bench
from test_gar_bench import write_gar_bench
from test_mdvp_bench import write_mdvp_bench
from test_vip_bench import write_vip_bench

import cli
from documented import ROOT
from helpers import ARCHITECTURE, tokenizer_folder
from judges import JUDGE, served
from videorefer_files import write_videorefer_bench_d

JUDGED = ROOT / "experiments" / "judged"
GRADES = """1. Subject Correspondence: 1
2. Appearance Description: 2
3. Temporal Description: 3
4. Hallucination Detection: 4"""


@dataclass(frozen=True)
class Benchmark:
    """How its data are written and named, what the test says of how many, what the judge says and its numbers."""

    write: Callable[[Path], object]
    test: Mapping[str, int]
    says: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=lambda: {"root": ""})
    beside: tuple[str, ...] = ()


EXPECTED = {
    "dlc_bench": Benchmark(
        write_dlc_bench, {"judge/answered": 9}, "A", {"positive": 1.0, "negative": -1.0, "average": 0.0}
    ),
    "dlc_bench_images": Benchmark(
        write_dlc_bench, {}, "B", {"positive": 0.0, "negative": 0.0, "average": 0.0}, beside=("dlc_bench",)
    ),
    "videorefer_d": Benchmark(
        write_videorefer_bench_d, {"caption/meteor": 9}, GRADES, {"subject_correspondence": 1.0, "average": 2.5}
    ),
    "gar_vqa": Benchmark(write_gar_bench, {"choice/accuracy": 6, "choice/relation/accuracy": 3}),
    "gar_simple": Benchmark(write_gar_bench, {"judge/answered": 3}, "True", {"accuracy": 1.0}),
    "gar_detailed": Benchmark(write_gar_bench, {"judge/answered": 3}, "False", {"accuracy": 0.0}),
    "ferret_bench": Benchmark(
        write_ferret_bench,
        {"judge/answered": 6, "judge/refer_desc/answered": 3},
        "8 2",
        {"relative": 0.25, "refer_reason/relative": 0.25},
        {"root": "", "images": "val2017"},
    ),
    "mdvp_bench": Benchmark(
        write_mdvp_bench, {"judge/answered": 3}, "5 5", {"relative": 1.0}, {"root": "", "kind": "=natural_QA"}
    ),
    "vip_bench": Benchmark(write_vip_bench, {"judge/answered": 6}, "0.5", {"correctness": 0.5, "rel/correctness": 0.5}),
}


def test_every_configuration_is_here() -> None:
    """And each header's commands name it, so that they can be copied."""
    assert {path.stem for path in JUDGED.glob("*.yaml")} == set(EXPECTED)
    for name, benchmark in EXPECTED.items():
        text = (JUDGED / f"{name}.yaml").read_text()
        for stem in (name, *benchmark.beside):
            assert f"--config experiments/judged/{stem}.yaml" in text
        if benchmark.says and not benchmark.beside:
            judge = yaml.safe_load(text)["judge"]
            assert judge["predictions"] == f"runs/judged/{name}/predictions.jsonl"


def results(path: Path) -> dict[str, dict[str, Any]]:
    return {item["metric"]: item for item in json.loads(path.read_text())["results"]}


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPECTED)
def test_a_benchmark_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From annotations to answers to verdicts to numbers, through the two commands of the header."""
    monkeypatch.chdir(ROOT)
    benchmark = EXPECTED[name]
    benchmark.write(tmp_path / "data")
    given = {
        key: value[1:] if value.startswith("=") else tmp_path / "data" / value
        for key, value in benchmark.variables.items()
    }
    variables = [f"--vars.{key}={value}" for key, value in given.items()]
    tested = benchmark.beside[0] if benchmark.beside else name
    base = {"architecture": ARCHITECTURE, "tokenizer": tokenizer_folder(tmp_path / "tokenizer"), "checkpoint": None}
    cli.main([
        "test", f"--config=experiments/judged/{tested}.yaml", "--config=experiments/models/llava-1.5-7b.yaml",
        f"--model.base={json.dumps(base)}", "--model.base.dtype=float32", "--model.max_new_tokens=3", *variables,
        f"--run.root={tmp_path}", "--run.pictures=0", "--data.num_workers=0", "--data.num_frames=1",
        "--trainer.accelerator=cpu",
    ])  # fmt: skip
    folder = tmp_path / "judged" / tested
    found = results(folder / "results.json")
    assert {metric: found[metric]["n"] for metric in benchmark.test} == benchmark.test
    if not benchmark.says:
        return
    configurations = [f"--config=experiments/judged/{stem}.yaml" for stem in (*benchmark.beside, name)]
    with served(lambda text: benchmark.says) as (model, address):
        judge = {"model": JUDGE, "base_url": address, "api_key_env": None, "price_in": 1, "price_out": 1}
        spec = {"class_path": "datamodules.regvid.OpenAIModel", "init_args": judge}
        predictions = f"--judge.predictions={folder / 'predictions.jsonl'}"
        cli.main(["judge", *configurations, *variables, predictions, f"--judge.model={json.dumps(spec)}"])
        assert model.asked
    [scored] = folder.glob("judge-*/results.json")
    found = results(scored)
    assert {metric: found[metric]["value"] for metric in benchmark.numbers} == pytest.approx(benchmark.numbers)
    assert all(f"judge {JUDGE} " in item["protocol"] for item in found.values())
    assert shlex.split(json.loads(scored.read_text())["command"])
