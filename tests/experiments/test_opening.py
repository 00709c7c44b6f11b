"""What a training says before it begins; how often it is validated, which is more than once where it ships."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from lightning import Trainer
from tracking.tiny_run import TinyModule, loader

from experiments.opening import Opening, validations

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
TESTED_AT_ONCE = {
    "ablations/base/from_base.yaml",
    "ablations/base/shapes.yaml",
    "ablations/base/vcr-7b.yaml",
    "regvid/train_on_shapes.yaml",
}
"""Points of sweeps: their `test` comes right after, and nothing is chosen by a validation."""


class Validated(TinyModule):
    def validation_step(self, batch: object, batch_idx: int) -> None:
        pass


class Counted(Opening):
    """Counts those that came."""

    came = 0

    def on_validation_end(self, *_: Any) -> None:
        self.came += 1


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"max_steps": 3}, 0),
        ({"max_steps": 4}, 1),
        ({"max_epochs": 3}, 3),
        ({"max_steps": 9, "val_check_interval": 0.5}, 4),
        ({"max_epochs": 3, "check_val_every_n_epoch": 2}, 1),
        ({"max_epochs": 1, "check_val_every_n_epoch": 2}, 0),
        ({"max_steps": 5, "check_val_every_n_epoch": 2, "val_check_interval": 0.25}, 1),
        ({"max_steps": 7, "check_val_every_n_epoch": None, "val_check_interval": 3}, 2),
        ({"max_steps": 2, "accumulate_grad_batches": 3, "val_check_interval": 2}, 2),
        ({"max_epochs": 1, "limit_train_batches": 2}, 1),
        ({"max_steps": 1, "limit_val_batches": 0}, 0),
    ],
)
def test_those_that_come_are_counted_before_and_none_is_said(
    options: dict[str, Any], expected: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A training that ended before its first validation said nothing about it; four batches are an epoch here."""
    counted = Counted()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(
        default_root_dir=tmp_path, accelerator="cpu", callbacks=[counted], num_sanity_val_steps=0,
        enable_model_summary=False, **quiet, **options,
    )  # fmt: skip
    trainer.fit(Validated(), loader(), loader())
    assert counted.came == expected
    said = capsys.readouterr().err
    wanted = not expected and options.get("limit_val_batches") != 0
    assert ("no validation" in said) == wanted
    assert said.splitlines()[0] == "training 1 of 1 parameters"
    assert said.count("\n") == 1 + wanted


def test_a_training_without_data_to_validate_on_says_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(default_root_dir=tmp_path, accelerator="cpu", callbacks=[Opening()], max_steps=1, **quiet)
    trainer.fit(Validated(), loader())
    assert "no validation" not in capsys.readouterr().err


def of_file(name: str) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((EXPERIMENTS / name).read_text())
    return config


def trainings() -> list[tuple[str, dict[str, Any]]]:
    """The configurations that say how long a training is; a further stage stands on the one before."""
    names = [str(path.relative_to(EXPERIMENTS)) for path in sorted(EXPERIMENTS.rglob("*.yaml"))]
    found = []
    for name in names:
        trainer = of_file(name).get("trainer") or {}
        if name == "quickstart_video.yaml":
            trainer = of_file("quickstart.yaml")["trainer"] | trainer
        if trainer.keys() & {"max_steps", "max_epochs"}:
            found.append((name, trainer))
    return found


def test_shipped_trainings_validate_more_than_once() -> None:
    """They did at their very end, where a number can no longer say that something goes wrong."""
    counts = {}
    for name, trainer in trainings():
        data = of_file(name)["data"]["init_args"]
        batches = data.get("epoch_size", 1_000_000) // data["batch_size"]
        every = trainer.get("val_check_interval", 1.0)
        count = validations(
            batches,
            trainer.get("max_steps", -1),
            trainer.get("max_epochs", -1),
            trainer.get("accumulate_grad_batches", 1),
            int(every * batches) if isinstance(every, float) else every,
            trainer.get("check_val_every_n_epoch", 1),
        )
        counts[name] = count if data.get("val") and trainer.get("limit_val_batches") != 0 else 0
    assert {name for name, count in counts.items() if count == 0} == TESTED_AT_ONCE
    assert {name: count for name, count in counts.items() if count == 1} == {}
    assert counts.keys() >= {"quickstart.yaml", "coco_regions.yaml", "pretrain.yaml", "finetune.yaml"}
