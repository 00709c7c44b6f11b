"""What the command line cannot use: one line that names it, exit code 2, and no traceback."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import cli
from datamodules import DataError, ImageRegionDataModule
from lightning_modules import ImageRegionModule
from lightning_modules.bases.loading import BaseModel
from small_run import write_small

ROOT = Path(__file__).parent.parent
QUICKSTART = ["--config=experiments/quickstart.yaml"]


@pytest.fixture(autouse=True)
def _in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(logging, "raiseExceptions", False)  # of a handler that holds an earlier test's output


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The configuration of two steps, with its data beside it."""
    return str(write_small(tmp_path_factory.mktemp("small")))


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line, which is the last that is written."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    *before, last = capsys.readouterr().err.strip().splitlines()
    assert stop.value.code == 2
    assert last.startswith("error: ") and not any("Traceback" in line for line in before), before
    return last.removeprefix("error: ")


def line(small: str, root: Path, *more: str) -> list[str]:
    """A training that only a good reason keeps from its two steps."""
    run = [f"--run.root={root}", "--trainer.logger=false", "--trainer.limit_val_batches=0"]
    return [*QUICKSTART, f"--config={small}", *run, *more]


# --- what a parser finds -------------------------------------------------------------------------------------------

MISSPELT = [
    (
        ["fit", *QUICKSTART, "--model.learning_rat=3"],
        "model.learning_rat: ImageRegionModule has no such option, the nearest is learning_rate",
    ),
    (
        ["fit", *QUICKSTART, "--model.base.chekpoint=x"],
        "model.base.chekpoint: ImageRegionModule has no such option, the nearest is base.checkpoint",
    ),
    (["fit", *QUICKSTART, "--trainer.max_step=3"], "no option --trainer.max_step, the nearest is --trainer.max_steps"),
    (["fit", *QUICKSTART, "--dta.batch_size=3"], "no option --dta.batch_size, the nearest is --data.batch_size"),
    (["fit", *QUICKSTART, "--optimizer=AdamW"], "no option --optimizer"),
    (["fit", *QUICKSTART, "--lr_scheduler=CosineAnnealingLR"], "no option --lr_scheduler"),
    (["fit", *QUICKSTART, "stray"], "stray"),
    (["fit", *QUICKSTART, "--data.batch_size=many"], "data.batch_size: expected int, got many"),
    (["fit", *QUICKSTART, "--model.prompt=plan"], "model.prompt: expected chat, vicuna, plain, got plan"),
    (["fit", *QUICKSTART, "--seed_everything=x"], "seed_everything: expected bool or int, got x"),
    (
        ["fit", *QUICKSTART, "--model=lightning_modules.ImageRegionModul"],
        "module 'lightning_modules' has no attribute 'ImageRegionModul'",
    ),
    (
        ["fit", *QUICKSTART, '--data.train={"x": {"class_path": "torch.utils.data.TensorDataset"}}'],
        "data.train: torch.utils.data.TensorDataset is no subclass of datamodules.source.RegionSource",
    ),
    (
        ["fit", *QUICKSTART, '--data.train={"x": {"class_path": "nowhere.Source"}}'],
        "data.train: nowhere.Source: No module named 'nowhere'",
    ),
    (
        ["fit", *QUICKSTART, "--trainer.logger=TensorBoardLogger"],
        "trainer.logger: lightning.pytorch.loggers.TensorBoardLogger: the following arguments are required: save_dir",
    ),
    (
        ["fit", "--config=experiments/quickstrat.yaml"],
        "--config experiments/quickstrat.yaml: No such file or directory, the nearest is quickstart.yaml",
    ),
    (["fit"], "the following arguments are required"),
    (["plan", *QUICKSTART, "--device-memory=9", "--model.learning_rat=3"], "the nearest is learning_rate"),
    (["plan", *QUICKSTART, "--device-memory=0"], "--device-memory: 0 is not above 0"),
    (["plan", *QUICKSTART, "--device-memory=9", "--data.batch_size=0"], "batch_size is 0; it has to be at least 1"),
    (["plan", *QUICKSTART, "--device-memory=9", "--data.num_frames=0"], "num_frames is 0; it has to be at least 1"),
    (
        ["doctor", *QUICKSTART, "--data.batch_siz=3"],
        "ImageRegionDataModule has no such option, the nearest is batch_size",
    ),
    (["doctor", *QUICKSTART, "--side=0"], "--side: 0 is less than 1"),
    (["doctor", "--config=experiments/coco_regions.yaml"], "--vars.root is not set"),
    (["quickstart", "--model.learning_rat=3"], "the nearest is learning_rate"),
    (["ask", "--ckpt_path=x", "--image=y", "--questio=z"], "the following arguments are required: --question"),
    (["ask", "--ckpt_path=x", "--image=y", "--question=z", "--num_frames=0"], "--num_frames: 0 is less than 1"),
    (["ask", "--ckpt_path=x", "--image=nowhere.png", "--question=z"], "no such file: nowhere.png"),
    (["shapes", "--too=x"], "no option --too, the nearest is --to"),
    (["compare"], "one of the arguments --sweep --experiment --runs is required"),
    (["score", "--predictions=nowhere.jsonl"], "nowhere.jsonl: No such file"),
]


@pytest.mark.parametrize(("arguments", "said"), MISSPELT)
def test_what_no_parser_takes_is_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It was the usage and a tree of types, sixty lines; a shortened name was taken for another option."""
    assert said in refused(capsys, *arguments)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("trainer: [1,\n", "line 2, column 1"),
        ("model:\n  init_args:\n    learning_rat: 3\n", "the nearest is learning_rate"),
        ("traine:\n  max_steps: 3\n", "traine"),
        ("data: 7\n", "data"),
    ],
)
def test_a_file_that_is_no_configuration_is_one_line(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    assert said in refused(capsys, "fit", *QUICKSTART, f"--config={path}")


# --- what a constructor, a file or the Trainer finds ---------------------------------------------------------------

OUT_OF_RANGE: list[tuple[type[Any], dict[str, Any]]] = [
    *(
        (ImageRegionDataModule, {name: number})
        for name in ("batch_size", "micro_batch_size", "token_budget", "eval_batch_size", "num_frames", "epoch_size")
        for number in (0, -4)
    ),
    (ImageRegionDataModule, {"num_workers": -1}),
    *((ImageRegionModule, {name: 0}) for name in ("max_length", "max_new_tokens")),
    *((ImageRegionModule, {name: -1.0}) for name in ("learning_rate", "weight_decay", "guide_weight", "warmup")),
    *((ImageRegionModule, {name: float("nan")}) for name in ("learning_rate", "guide_weight")),
    (ImageRegionModule, {"warmup": 2.0}),
    (ImageRegionModule, {"betas": (0.9, 1.0)}),
]


@pytest.mark.parametrize(("kind", "option"), OUT_OF_RANGE)
def test_a_number_out_of_range_is_refused_by_its_name(kind: type[Any], option: dict[str, Any]) -> None:
    """They ended in ZeroDivisionErrors and OverflowErrors after the model was built, or were taken for another."""
    base = {"base": BaseModel(checkpoint="unread")} if kind is ImageRegionModule else {}
    ((name, number),) = option.items()
    with pytest.raises(
        DataError, match=rf"^{name} (is|are) .*{max(number) if isinstance(number, tuple) else f'{number:g}'}"
    ):
        kind(**base, **option)


@pytest.mark.parametrize("option", ["data.batch_size=0", "run.threads=0", "run.save_every=0", "run.pictures=-1"])
def test_a_number_out_of_range_is_one_line(
    option: str, small: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, _, number = option.removeprefix("data.").partition("=")
    assert refused(capsys, "fit", *line(small, tmp_path, f"--{option}")).startswith(f"{name} is {number}; ")


TRAINER = [
    ("--trainer.overfit_batches=1", "trainer.overfit_batches 1: training samples are a stream"),
    ("--trainer.precision=bf16-true", "trainer.precision 'bf16-true' would cast"),
    ("--trainer.accumulate_grad_batches=2", "accumulate_grad_batches is 2"),
    ("--trainer.devices=0", "`Trainer(devices='0')` value is not a valid input"),
    ("--trainer.accelerator=nothing", "accelerator='nothing'"),
    ("--trainer.strategy=nothing", "strategy='nothing'"),
    ("--trainer.max_steps=-3", "`max_steps` must be a non-negative integer or -1"),
    ("--trainer.limit_train_batches=-1", "invalid value -1 for limit_train_batches"),
    ("--trainer.profiler=nothing", "`profiler` parameter"),
    ("--trainer.gradient_clip_algorithm=x", "`gradient_clip_algorithm` x is invalid"),
    ("--trainer.max_time=soon", "`Timer(duration='soon')` is not a valid duration"),
    ("--trainer.enable_checkpointing=false", "enable_checkpointing=False"),
    ("--trainer.barebones=true", "barebones=True"),
    ("--seed_everything=-1", "-1 is not in bounds"),
    ("--ckpt_path=nowhere.ckpt", "--ckpt_path nowhere.ckpt: there is no such file"),
    ("--model.base.dtype=bf16", "base.dtype is 'bf16'; it takes float32, bfloat16, float16"),
    ("--model.base.checkpoint=/no/where", "no model at '/no/where': there is no such folder"),
    ("--model.init_from=nowhere.ckpt", "no checkpoint at nowhere.ckpt"),
]


@pytest.mark.parametrize(("option", "said"), TRAINER)
def test_an_option_that_cannot_be_followed_is_one_line(
    option: str, said: str, small: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in refused(capsys, "fit", *line(small, tmp_path, option))


TOGETHER = [
    ["--trainer.gradient_clip_val=0.5", "--trainer.detect_anomaly=true", "--trainer.deterministic=true"],
    ["--trainer.precision=bf16-mixed", "--trainer.limit_train_batches=1", "--trainer.max_time=00:01:00:00"],
    ["--trainer.reload_dataloaders_every_n_epochs=1", "--trainer.use_distributed_sampler=false"],
    ["--trainer.enable_model_summary=false", "--trainer.sync_batchnorm=true", "--trainer.profiler=simple"],
    ["--trainer.fast_dev_run=true", "--trainer.benchmark=true"],
    ["--trainer.num_sanity_val_steps=1", "--trainer.limit_val_batches=1", "--trainer.val_check_interval=1"],
]


@pytest.mark.parametrize("options", TOGETHER)
def test_the_trainers_other_options_work(options: list[str], small: str, tmp_path: Path) -> None:
    cli.main(["fit", *line(small, tmp_path, *options)])


def test_other_loggers_work_or_are_refused_in_one_line(
    small: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A logger whose package is missing was 93 lines."""
    logger = ["--trainer.logger=CSVLogger", f"--trainer.logger.save_dir={tmp_path}/csv"]
    cli.main(["fit", *line(small, tmp_path, *logger)])
    assert list((tmp_path / "csv").rglob("metrics.csv"))
    logger = ["--trainer.logger=TensorBoardLogger", f"--trainer.logger.save_dir={tmp_path}"]
    try:
        import tensorboard  # noqa: F401 - only whether it is there
    except ImportError:
        said = refused(capsys, "fit", *line(small, tmp_path, *logger))
        assert said.startswith("lightning.pytorch.loggers.TensorBoardLogger: Neither `tensorboard` nor")


@pytest.mark.parametrize("callback", ["EarlyStopping", "ModelCheckpoint"])
def test_a_callback_that_watches_an_unknown_metric_is_one_line(
    callback: str, small: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """57 lines after the first validation."""
    watching = [f"--trainer.callbacks={callback}", "--trainer.callbacks.monitor=val/nothing"]
    said = refused(capsys, "fit", *line(small, tmp_path, *watching, "--trainer.limit_val_batches=1"))
    assert "val/nothing" in said and "val/answer/accuracy" in said


UNREADABLE = "is not a readable checkpoint: "
JUNK: list[tuple[str, str, Callable[[Path], Any]]] = [
    (UNREADABLE, UNREADABLE, lambda path: path.write_text("not a checkpoint\n" * 9)),
    (UNREADABLE, UNREADABLE, lambda path: path.write_bytes(b"")),
    (
        "is not a checkpoint of a training",
        "is not a checkpoint of this framework",
        lambda path: torch.save({"a": 1}, path),
    ),
    ("is a folder: a sharded checkpoint", "is not a readable sharded checkpoint", Path.mkdir),
]


@pytest.mark.parametrize(
    ("command", "said", "damage"),
    [(command, said[place], said[2]) for said in JUNK for place, command in enumerate(("fit", "test"))],
)
def test_a_file_that_is_no_checkpoint_is_one_line(
    command: str,
    said: str,
    damage: Callable[[Path], Any],
    small: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Torch's advice to set `weights_only=False` was repeated, or its traceback shown."""
    path = tmp_path / "junk.ckpt"
    damage(path)
    told = refused(capsys, command, *line(small, tmp_path, f"--ckpt_path={path}"))
    assert str(path) in told and said in told and "weights_only" not in told


@pytest.mark.parametrize("root", ["/proc/nothing", "{file}/below"])
def test_a_root_that_cannot_be_made_is_one_line(
    root: str, small: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    place = root.format(file=file)
    assert refused(capsys, "fit", *line(small, Path(place))).startswith(f"--run.root {place}: ")
    exported = refused(capsys, "export", f"--ckpt_path={file}", f"--to={place}")
    assert "is not a readable checkpoint" in exported


def test_a_value_that_is_not_set_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """`MissingMandatoryValue while resolving interpolation` named no option."""
    said = refused(capsys, "fit", "--config=experiments/coco_regions.yaml")
    assert said.startswith("--vars.root is not set; data.init_args.train.coco.init_args.annotations")


def test_debug_keeps_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="the nearest is learning_rate"):
        cli.main(["fit", *QUICKSTART, "--model.learning_rat=3", "--debug"])


def test_a_command_that_is_misspelt_has_a_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["tset"])
    assert capsys.readouterr().err.startswith("error: no command 'tset', the nearest is test\n")
