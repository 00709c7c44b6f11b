"""`python cli.py plan`: what it prints for the paper's models, what it names, what it refuses."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
import yaml
from lightning.pytorch.strategies import DDPStrategy, FSDPStrategy

import cli
from datamodules import VideoRegionDataModule
from datamodules.errors import DataError
from experiments.config.run import configured_run
from helpers import ARCHITECTURE, tokenizer_folder
from lightning_modules import VideoRegionModule
from lightning_modules.bases.loading import BaseModel, build
from lightning_modules.planning.measuring import batch_bytes
from lightning_modules.planning.memory import GIB, Layout
from lightning_modules.planning.plan import AGAIN, EVALUATION, KEPT, ConfiguredRun, Plan, layout_of, plan
from lightning_modules.planning.step import make_batch
from lightning_modules.region_module import Part
from lightning_modules.training.lora import LoraOptions
from lightning_modules.training.sharding import FullySharded

ROOT = Path(__file__).parents[3]
FINETUNE = ["--config", "experiments/finetune.yaml", "--config"]
SEVEN, THIRTEEN = ([*FINETUNE, f"experiments/models/llava-1.5-{size}.yaml"] for size in ("7b", "13b"))


@pytest.fixture(autouse=True)
def _in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "160")


@pytest.fixture
def sharded(tmp_path: Path) -> str:
    """A configuration's strategy fragment."""
    path = tmp_path / "sharded.yaml"
    strategy = {"class_path": "lightning_modules.training.sharding.FullySharded", "init_args": {"replicas": 1}}
    model = {"init_args": {"checkpoint_activations": True}}
    path.write_text(yaml.safe_dump({"trainer": {"strategy": strategy}, "model": model}))
    return str(path)


def run(strategy: Any = "auto", precision: str | None = None, data: Any = None, **options: Any) -> ConfiguredRun:
    text = {**ARCHITECTURE["text_config"], "vocab_size": 300}
    base = BaseModel(architecture={**ARCHITECTURE, "text_config": text}, dtype=options.pop("dtype", "float32"))
    return ConfiguredRun(VideoRegionModule(base, **options), data or VideoRegionDataModule(), strategy, precision)


def vocabulary(planned: Plan) -> int:
    """Rows of the output head, which is a matrix of width 32."""
    return next(part.parameters for part in planned.parts if part.name == "output head") // 32


def row(printed: str, name: str) -> list[str]:
    line = next(line for line in printed.splitlines() if line.startswith(f"│ {name} "))
    return [cell.strip() for cell in line.strip("│").split("│")][1:]


@pytest.mark.parametrize(
    ("arguments", "parameters", "width"), [(SEVEN, 7_063_427_072, 4096), (THIRTEEN, 13_351_494_656, 5120)]
)
def test_the_papers_models_are_counted(arguments: list[str], parameters: int, width: int) -> None:
    """Without files of data or weights; marks, projection and guide head on top by hand; the tower does not learn."""
    parts = {part.name: part for part in plan(configured_run(arguments), devices=8).parts}
    beside = {"region encoder": 100 * 256 + 256 * width, "guide head": (width + 1) * 101}
    assert {name: parts[name].parameters for name in beside} == beside
    assert sum(part.parameters for part in parts.values()) == parameters + sum(beside.values())
    learning = sum(part.trainable for part in parts.values())
    assert learning == parameters + sum(beside.values()) - parts["vision tower"].parameters


@pytest.mark.long
def test_13b_on_eight_devices_is_printed(sharded: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Four bytes a weight that learns, two a frozen one, over eight devices; the bound is speed over work, layers run
    again included."""
    memory = ["--devices", "8", "--device-memory", "141", "--device", "h200", "--data.micro_batch_size", "16"]
    cli.main(["plan", *THIRTEEN, "--config", sharded, *memory])
    printed = capsys.readouterr().out
    added = 100 * 256 + 256 * 5120 + 5121 * 101
    assert row(printed, "weights")[0] == f"{(4 * (13_351_494_656 + added) - 2 * 303_507_456) / 8 / GIB:.2f}"
    assert float(row(printed, "optimiser state")[0]) == pytest.approx(2 * float(row(printed, "gradients")[0]), abs=0.01)
    assert "devices: 8, 1 x 8 shards; samples of a device's step: 16, in one pass" in printed
    assert "tokens of a sample: 2504, text 200, supervised 60" in printed
    work = float(row(printed, "sum, causal attention as half")[1])
    step, again = map(float, re.findall(r"([\d.]+) TFLOP a device.* and ([\d.]+) for the layers", printed)[0])
    assert step == pytest.approx(16 * work, rel=1e-3)
    bound = float(re.findall(r"bound at 989 TFLOP/s: ([\d.]+) samples/s on a device", printed)[0])
    assert bound == pytest.approx(16 * 989 / (step + again), abs=0.01)
    assert "fits into 141 GiB" in printed


@pytest.mark.slow
def test_what_does_not_fit_is_named_without_the_weights() -> None:
    """Full fine-tuning of 13B with a copy on every device of 180 GiB: AdamW's state is where it ends.

    It takes seconds of one core, and less than 1 GiB beside what importing the libraries takes.
    """
    program = (
        "import resource, sys, time, cli\n"
        "import experiments.config.run, lightning_modules.planning.plan, rich.table, transformers\n"
        "before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()\n"
        "try:\n"
        "    cli.main(['plan', *sys.argv[1:], '--devices', '8', '--device-memory', '180'])\n"
        "finally:\n"
        "    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "    sys.stderr.write(f'\\n{(after - before) / 2**20} {time.process_time() - start}')\n"
    )
    command = [sys.executable, "-c", program, *THIRTEEN]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=os.environ)
    assert done.returncode == 1, done.stderr
    named = re.findall(r"does not fit: ([^,]+), training step: ([\d.]+) of ([\d.]+) GiB", done.stdout)
    assert [name for name, _, _ in named][:3] == ["optimiser state", "gradient buckets", "batch"]
    gradients = 4 * (13_353_348_197 - 303_507_456) / GIB
    assert float(named[0][1]) == pytest.approx(2 * 303_507_456 / GIB + 4 * gradients - 180, abs=0.06)
    grown, seconds = map(float, done.stderr.splitlines()[-1].split())
    assert grown < 1 and seconds < 20


def test_a_configuration_without_its_data_and_tokenizer_files_is_planned(capsys: pytest.CaptureFixture[str]) -> None:
    """Its sources name values that nobody has set; bytes are a tokenizer without a file."""
    cli.main(["plan", "--config", "experiments/coco_regions.yaml", "--device-memory", "8", "--answer-tokens", "8"])
    printed = capsys.readouterr().out
    assert "samples of a device's step: 32, in one pass; frames of a sample: 1;" in printed


def test_an_image_module_is_planned_with_one_frame_and_a_video_module_with_four() -> None:
    quickstart = ["--config", "experiments/quickstart.yaml"]
    image = plan(configured_run(quickstart), 1)
    video = plan(configured_run([*quickstart, "--config", "experiments/quickstart_video.yaml"]), 1)
    assert (image.train.frames, video.train.frames) == (1, 4)
    assert (image.train.samples, image.evaluation.samples) == (16, 64)


def test_a_pass_is_a_part_of_a_step() -> None:
    """A sample has 64 visual and 100 text tokens, so three of them are within 500."""
    split = plan(run(data=VideoRegionDataModule(batch_size=16, micro_batch_size=4)), 1, text_tokens=100)
    budget = plan(run(data=VideoRegionDataModule(batch_size=16, token_budget=500)), 1, text_tokens=100)
    assert (split.samples, split.train.samples, split.evaluation.samples) == (16, 4, 16)
    assert (budget.samples, budget.train.samples) == (16, 3)


@pytest.mark.slow
def test_samples_that_share_a_row_keep_as_much_as_those_that_do_not() -> None:
    """Without a mask over the row, which would have 240,000 numbers; where they are put together again a tenth more."""
    budget = VideoRegionDataModule(batch_size=16, token_budget=500)
    data = VideoRegionDataModule(batch_size=16, token_budget=500, packing=True)
    apart, together = (plan(run(data=split), 1, text_tokens=100) for split in (budget, data))
    assert (together.train.samples, together.train.packed) == (3, True)
    kept = [one.held(KEPT)["activations"] for one in (apart, together)]
    assert 0.9 * kept[0] < kept[1] < 1.15 * kept[0]


def test_adapters_and_quantisation_are_counted() -> None:
    """Of 20,480 weights in matrices and 160 in norms: 0.5625 bytes each of the matrices' in nf4; adapters learn."""
    lora = LoraOptions(rank=4, targets=("q_proj",))
    parts = {part.name: part for part in plan(run(quantise="nf4", lora=lora), 1).parts}
    adapters = 2 * 4 * (32 + 32)
    assert parts["language model"].trainable == adapters
    assert parts["language model"].weights == 20_480 * 0.5625 + 4 * (160 + adapters)
    assert parts["output head"].trainable == 0


def test_precision_changes_what_is_computed_and_not_what_weights_are() -> None:
    """The cache stays as wide: it has one type, the keys', and these are rotated by angles of float32."""
    mixed, plain = plan(run(precision="bf16-mixed"), 1).memory, plan(run(), 1).memory
    assert mixed[KEPT]["weights"] == plain[KEPT]["weights"]
    assert mixed["evaluation"]["key-value cache"] == plain["evaluation"]["key-value cache"]
    assert mixed[KEPT]["activations"] < 0.9 * plain[KEPT]["activations"]


@pytest.mark.parametrize("frozen", [("vision_tower",), ("vision_tower", "language_model")])
def test_what_learns_is_counted_as_float32(frozen: tuple[Part, ...]) -> None:
    """Beside frozen parts of two bytes; gradients and AdamW's moments of four each."""
    planned = plan(run(dtype="bfloat16", frozen=frozen), 1)
    parts = planned.parts
    everything, learning = sum(part.parameters for part in parts), sum(part.trainable for part in parts)
    assert 0 < learning < everything
    held = planned.memory[KEPT]
    assert held["weights"] == 2 * everything + 2 * learning
    assert (held["gradients"], held["optimiser state"]) == (4 * learning, 8 * learning)


def test_shards_of_float32_compute_in_bfloat16() -> None:
    """Weights of four bytes, activations and cache as those of two."""
    planned = plan(run(FullySharded(compute_dtype="bfloat16")), 2)
    sharded, plain = planned.memory, plan(run(), 1).memory
    assert sharded[KEPT]["weights"] * 2 == plain[KEPT]["weights"]
    narrow, wide = (held[EVALUATION]["key-value cache"] for held in (sharded, plain))
    assert narrow * 2 == pytest.approx(wide, rel=0.01)
    assert sharded[KEPT]["activations"] < 0.7 * plain[KEPT]["activations"]


@pytest.mark.parametrize(("samples", "sync", "held"), [(2, "step", True), (1, "step", False), (2, "pass", False)])
def test_gradients_that_wait_for_the_last_pass_are_counted_whole(
    samples: int, sync: Literal["step", "pass"], held: bool
) -> None:
    """Of all that learns, four bytes each, where a step has several passes."""
    data = VideoRegionDataModule(batch_size=samples, micro_batch_size=1)
    planned = plan(run(FullySharded(sync_gradients=sync), data=data), 2)
    learning = sum(part.trainable for part in planned.parts)
    assert planned.held(KEPT).get("gradients of earlier passes") == (4 * learning if held else None)


@pytest.mark.parametrize(
    ("name", "devices", "layout"),
    [
        ("single", 1, Layout()),
        ("ddp", 8, Layout(8)),
        ("fsdp2", 8, Layout(8, 8, travelling=torch.bfloat16)),
        ("hybrid", 64, Layout(64, 8, travelling=torch.bfloat16)),
        ("lora_fsdp2", 8, Layout(8, 8, travelling=torch.bfloat16, once=True)),
    ],
)
def test_every_strategy_fragment_is_planned(name: str, devices: int, layout: Layout) -> None:
    configured = configured_run([*SEVEN, "--config", f"experiments/strategies/{name}.yaml"])
    assert layout_of(configured.strategy, devices) == layout


FITS = [
    # stage, size, strategy, further options, devices, GiB of a device as the files say, and of one that is too small
    ("pretrain", "7b", "single", [], 1, 80, 64),
    ("pretrain", "7b", "single", ["--data.micro_batch_size", "8"], 1, 48, 32),
    ("pretrain", "7b", "ddp", [], 8, 80, 64),
    ("finetune", "7b", "single", ["--model.optimizer", "adamw8bit"], 1, 141, 80),
    ("finetune", "7b", "ddp", ["--model.optimizer", "adamw8bit"], 8, 141, 80),
    ("finetune", "7b", "fsdp2", [], 8, 80, 32),
    ("finetune", "7b", "hybrid", [], 64, 40, 32),
    ("finetune", "7b", "qlora_ddp", [], 1, 48, 24),
    ("finetune", "13b", "fsdp2", [], 8, 80, 48),
    ("finetune", "13b", "lora_fsdp2", [], 8, 48, 40),
    ("finetune", "13b", "qlora_ddp", [], 1, 48, 40),
]


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "size", "strategy", "more", "devices", "capacity", "small"), FITS)
def test_the_files_fit_where_they_say(
    stage: str, size: str, strategy: str, more: list[str], devices: int, capacity: int, small: int
) -> None:
    """Regression: no documented command of the second stage fitted: all samples of a step went through in one pass."""
    files = [f"experiments/{stage}.yaml", f"experiments/models/llava-1.5-{size}.yaml"]
    files.append(f"experiments/strategies/{strategy}.yaml")
    planned = plan(configured_run([*(word for file in files for word in ("--config", file)), *more]), devices)
    needed = max(sum(planned.held(moment).values()) for moment in (planned.moment, EVALUATION))
    assert small < needed / GIB <= capacity
    said = "".join((ROOT / file).read_text() for file in files)
    assert f"{capacity} GiB" in said


@pytest.mark.parametrize("base", ["videos-7b", "vcr-7b"])
def test_the_ablations_at_7b_fit_where_they_say(base: str) -> None:
    file = ROOT / "experiments" / "ablations" / "base" / f"{base}.yaml"
    architecture = yaml.safe_load((ROOT / "experiments/models/llava-1.5-7b.yaml").read_text())["model"]["init_args"]
    shape = json.dumps(architecture["base"]["architecture"])
    planned = plan(configured_run(["--config", str(file), f"--model.base.architecture={shape}"]), 1)
    needed = max(sum(planned.held(moment).values()) for moment in (planned.moment, EVALUATION))
    assert 80 < needed / GIB <= 141 and "141 GiB" in file.read_text()


def test_two_whole_steps_of_pixels_lie_on_a_device() -> None:
    """One pass of one step was counted: all passes of it travel together, and the next step's before it begins."""
    split = VideoRegionDataModule(batch_size=6, micro_batch_size=2)
    planned = plan(run(data=split), 1)
    one_pass = batch_bytes(make_batch(planned._module, planned.train))
    assert planned.held(KEPT)["batch"] == 2 * 3 * one_pass
    assert planned.held(EVALUATION)["batch"] == 2 * 3 * one_pass


@pytest.mark.parametrize(
    ("strategy", "devices", "layout"),
    [
        ("auto", 1, Layout()),
        ("auto", 8, Layout(8, buckets=True)),
        ("ddp", 2, Layout(2, buckets=True)),
        (DDPStrategy(gradient_as_bucket_view=True), 2, Layout(2)),
        (FullySharded(), 8, Layout(8, 8, once=True)),
        (FullySharded(replicas=2), 8, Layout(8, 4, once=True)),
        (FullySharded(sync_gradients="pass"), 8, Layout(8, 8)),
        (FullySharded(sync_gradients="pass", keep_gathered=True), 8, Layout(8, 8, kept=True)),
        (FullySharded(compute_dtype="bfloat16"), 8, Layout(8, 8, travelling=torch.bfloat16, once=True)),
    ],
)
def test_a_strategy_says_how_the_model_lies_on_the_devices(strategy: Any, devices: int, layout: Layout) -> None:
    assert layout_of(strategy, devices) == layout


def test_the_configured_step_decides_what_fits() -> None:
    for strategy in ("auto", "ddp", FullySharded()):
        assert plan(run(strategy, checkpoint_activations=True), 2).moment == AGAIN
    planned = plan(run(), 1)
    assert planned.moment == KEPT
    memory = planned.memory
    assert memory[AGAIN]["activations"] < memory[KEPT]["activations"]


def test_a_checkpoint_on_this_machine_says_what_it_is(tmp_path: Path) -> None:
    text = {**ARCHITECTURE["text_config"], "vocab_size": 320}
    build({**ARCHITECTURE, "text_config": text}).config.save_pretrained(tmp_path / "llava")
    base = BaseModel(checkpoint=str(tmp_path / "llava"))
    planned = plan(run()._replace(model=VideoRegionModule(base)), 1)
    assert vocabulary(planned) == 320


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as stop:
        cli.main(["plan", *arguments, "--device-memory", "80"])
    assert stop.value.code == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_a_base_that_is_not_here_is_refused_with_what_to_add(capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, "--config", "experiments/finetune.yaml")
    assert "'llava-hf/llava-1.5-7b-hf' is not on this machine: add base.architecture" in line


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--trainer.strategy", "deepspeed"], ["'deepspeed' on 1 devices", "FullySharded"]),
        (["--trainer.precision", "64-true"], ["'64-true'", "bf16-mixed"]),
        (["--trainer.precision", "bf16-true"], ["'bf16-true'", "rotary frequencies"]),
        (["--text-tokens", "50"], ["60 answer tokens of 50 text tokens"]),
        (["--text-tokens", "4000"], ["6304 tokens", "model.max_length is 4096"]),
        (
            ["--data.micro_batch_size", "null", "--data.token_budget", "2000"],
            ["2504 tokens", "data.token_budget is 2000"],
        ),
        (["--model.quantise", "nf4"], ["frozen"]),
    ],
)
def test_what_cannot_be_planned_is_one_line(
    options: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    line = refused(capsys, *SEVEN, *options)
    assert all(word in line for word in words)


def test_replicas_have_to_divide_the_devices() -> None:
    with pytest.raises(DataError, match="8 devices cannot hold 3 replicas"):
        layout_of(FullySharded(replicas=3), 8)
    with pytest.raises(DataError, match="'FSDPStrategy' on 8 devices"):
        layout_of(FSDPStrategy(), 8)


def test_a_tokenizer_decides_the_vocabulary_where_the_architecture_does_not(tmp_path: Path) -> None:
    tokenizer = tokenizer_folder(tmp_path / "tokenizer")
    base = json.dumps({"checkpoint": None, "architecture": ARCHITECTURE, "tokenizer": tokenizer})
    planned = plan(configured_run(["--config", "experiments/quickstart.yaml", f"--model.base={base}"]), 1)
    assert vocabulary(planned) == 102
