"""Every ablation says its question, is parsed point by point, and runs: on hard shapes, and with a 7B's fragments."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_vcr import write_vcr

import cli
from experiments.sweeps.specification import Sweep, read_sweep
from helpers import ARCHITECTURE, tokenizer_folder

ROOT = Path(__file__).parent.parent.parent
ABLATIONS = ROOT / "experiments" / "ablations"
OF_SHAPES = sorted(
    path for path in ABLATIONS.glob("*.yaml") if "experiments/ablations/base/shapes.yaml" in path.read_text()
)
# what stands for 7B where the base is exchanged; VCR alone has boxes, masks and categories
AT_7B = {path.stem: "vcr-7b" if path.stem == "prompt" else "videos-7b" for path in OF_SHAPES}
SEVERAL_SEEDS = {"region_encoder", "guide_head", "frames", "prompted_frames", "prompt"}


@pytest.fixture(autouse=True)
def _in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hard set, four scenes a split."""
    folder: Path = tmp_path_factory.mktemp("data") / "shapes_hard"
    cli.main(["shapes", "--hard", "--to", str(folder), "--scenes", "4", "--val-scenes", "4", "--workers", "1"])
    return folder


def parsed(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        cli.main(["fit", *arguments, "--print_config"])
    assert stop.value.code == 0
    config: dict[str, Any] = yaml.safe_load(capsys.readouterr().out)
    return config


def one_seed(sweep: Sweep) -> Sweep:
    return replace(sweep, seeds=sweep.seeds[:1])


def run(options: tuple[str, ...], further: list[str], root: Path) -> dict[str, dict[str, Any]]:
    """Trains for two steps and tests; metric -> result."""
    common = [f"--run.root={root}", "--run.experiment=e", "--run.name=n", "--trainer.logger=false", "--run.pictures=0"]
    small = ["--trainer.max_steps=2", "--data.batch_size=2", "--data.epoch_size=4", "--data.num_workers=0"]
    cli.main(["fit", *options, *further, *common, *small])
    cli.main(["test", *options, *further, *common, *small, "--ckpt_path=last"])
    results = json.loads((root / "e" / "n" / "results.json").read_text())["results"]
    return {item["metric"]: item for item in results}


def on_few_shapes(shapes: Path) -> list[str]:
    files = {"root": str(shapes), "val_scenes": 4, "test_scenes": 4, "workers": 1}
    sources = [
        f"--data.{split}.scenes.init_args.{name}={value}" for split in ("val", "test") for name, value in files.items()
    ]
    return [*sources, f"--model.base.tokenizer={shapes}/tokenizer", "--data.train.scenes.init_args.warmup=2"]


@pytest.mark.parametrize("path", OF_SHAPES, ids=lambda path: path.stem)
def test_an_ablation_says_what_it_asks(path: Path) -> None:
    """Question and commands in the header, at most a dozen lines below it, and the seeds that the results have."""
    header = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert "?" in header[0]
    assert f"#   python cli.py sweep experiments/ablations/{path.name}" in header
    assert f"#   python cli.py compare --sweep {path.stem}" in header
    assert any(f"base/{AT_7B[path.stem]}.yaml" in line for line in header)
    assert len(path.read_text().splitlines()) - len(header) <= 12
    assert read_sweep(path).seeds == ((0, 1, 2) if path.stem in SEVERAL_SEEDS else (0,))


@pytest.mark.parametrize("path", OF_SHAPES, ids=lambda path: path.stem)
def test_every_point_is_parsed(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No two points have the same configuration, and the first has the base's, with the options of all points."""
    sweep = one_seed(read_sweep(path))
    configs = [parsed(point.options, capsys) for point in sweep.points()]
    texts = [yaml.safe_dump(config) for config in configs]
    assert len(set(texts)) == len(texts) > 1
    options = [f"--{option}={json.dumps(value)}" for option, value in sweep.options.items()]
    base = parsed(("--config=experiments/ablations/base/shapes.yaml", *options, "--seed_everything=0"), capsys)
    assert configs[0] == base


@pytest.mark.parametrize("path", OF_SHAPES, ids=lambda path: path.stem)
def test_every_point_is_parsed_at_7b(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the other base in place of the shapes and of what is said of them."""
    base = f"experiments/ablations/base/{AT_7B[path.stem]}.yaml"
    sweep = replace(one_seed(read_sweep(path)), base=(base,), options={})
    texts = [yaml.safe_dump(parsed(point.options, capsys)) for point in sweep.points()]
    assert len(set(texts)) == len(texts)
    assert all("Llama-2-7b" in text for text in texts)


def test_the_coarse_grid_has_a_quarter_of_the_tokens(shapes: Path, tmp_path: Path) -> None:
    """The last setting of the token grid runs, and the score that the sweep reads comes out on every question."""
    sweep = read_sweep(ABLATIONS / "token_grid.yaml")
    scored = run(sweep.points()[-1].options, on_few_shapes(shapes), tmp_path)
    assert scored[sweep.metric]["n"] % 4 == 0
    config = yaml.safe_load((tmp_path / "e" / "n" / "config.yaml").read_text())
    assert config["model"]["init_args"]["base"]["architecture"]["vision_config"]["patch_size"] == 16


@pytest.mark.slow
@pytest.mark.parametrize("path", OF_SHAPES, ids=lambda path: path.stem)
def test_every_point_runs(path: Path, shapes: Path, tmp_path: Path) -> None:
    sweep = one_seed(read_sweep(path))
    for number, point in enumerate(sweep.points()):
        assert sweep.metric in run(point.options, on_few_shapes(shapes), tmp_path / str(number))


def tiny_model(folder: Path) -> list[str]:
    base: dict[str, Any] = {
        "architecture": ARCHITECTURE,
        "tokenizer": tokenizer_folder(folder / "tokenizer"),
        "dtype": "float32",
    }
    base |= {"vision_tower": None, "language_model": None}
    return [f"--model.base={json.dumps(base)}", "--model.max_new_tokens=3", "--trainer.accelerator=cpu"]


def test_the_videos_of_7b_run_with_a_small_model(shapes: Path, tmp_path: Path) -> None:
    files = dict.fromkeys(("train", "val", "test"), f"{shapes}/hard/test.jsonl")
    further = [*tiny_model(tmp_path), *(f"--vars.{name}={path}" for name, path in files.items())]
    points = replace(
        one_seed(read_sweep(ABLATIONS / "prompted_frames.yaml")), base=("experiments/ablations/base/videos-7b.yaml",)
    ).points()
    scored = run(points[-1].options, further, tmp_path)
    assert scored["answer/accuracy"]["n"] == 4 * 6


def test_the_prompts_of_7b_run_with_a_small_model(tmp_path: Path) -> None:
    write_vcr(tmp_path / "vcr")
    further = [*tiny_model(tmp_path), "--data.micro_batch_size=1", f"--vars.root={tmp_path}/vcr"]
    sweep = replace(one_seed(read_sweep(ABLATIONS / "prompt.yaml")), base=("experiments/ablations/base/vcr-7b.yaml",))
    assert "choice/q_ar" in run(sweep.points()[-1].options, further, tmp_path)
