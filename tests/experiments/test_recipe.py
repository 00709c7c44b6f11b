"""What decides a training is compared when it is gone on with: what differs is named, what decides nothing is not."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from test_checkpointing import BATCH, EPOCH, Numbers

from datamodules.errors import DataError
from experiments.recipe import compare, recipe


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    data = tmp_path / "train.jsonl"
    data.write_text('{"id": "a"}\n')
    source = {"class_path": "datamodules.formats.RegionJsonl", "init_args": {"path": data}}
    return {
        "seed_everything": 0,
        "trainer": {"max_epochs": 1, "val_check_interval": 0.25, "devices": 1, "precision": "bf16-mixed"},
        "model": {
            "class_path": "lightning_modules.ImageRegionModule",
            "init_args": {"learning_rate": 1e-3, "base": {"checkpoint": "a", "dtype": "bfloat16"}, "lora": None},
        },
        "data": {
            "class_path": "datamodules.ImageRegionDataModule",
            "init_args": {"train": {"images": source}, "weights": {"images": 1.0}, "num_workers": 2, "batch_size": 4},
        },
    }


CHANGES: dict[str, tuple[list[str], Any]] = {
    "model.learning_rate": (["model", "init_args", "learning_rate"], 1e-2),
    "model.lora.rank": (["model", "init_args", "lora"], {"rank": 2}),
    "model.base.dtype": (["model", "init_args", "base", "dtype"], "float32"),
    "model.class_path": (["model", "class_path"], "lightning_modules.VideoRegionModule"),
    "data.weights.images": (["data", "init_args", "weights", "images"], 2.0),
    "data.train.images": (["data", "init_args", "train", "images", "class_path"], "datamodules.formats.Vcr"),
    "trainer.max_epochs": (["trainer", "max_epochs"], 2),
    "seed_everything": (["seed_everything"], 1),
}
FREE = [
    (["trainer", "val_check_interval"], 0.5),
    (["trainer", "devices"], 8),
    (["model", "init_args", "base", "checkpoint"], "moved/a"),
    (["data", "init_args", "num_workers"], 0),
    (["data", "init_args", "token_budget"], 2000),
    (["data", "init_args", "packing"], True),
]


def changed(config: dict[str, Any], place: list[str], value: Any) -> dict[str, Any]:
    config = copy.deepcopy(config)
    inner = config
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    return config


@pytest.mark.parametrize("name", CHANGES)
def test_what_decides_a_training_is_named(name: str, config: dict[str, Any]) -> None:
    """A changed learning rate was ignored, changed weights and data were taken in the middle of a run: in silence."""
    with pytest.raises(DataError, match=rf"last.ckpt cannot be gone on with.*{name} [^;]* -> [^;]*\. Give"):
        compare(recipe(changed(config, *CHANGES[name])), recipe(config), "last.ckpt")


def test_data_are_what_is_in_them_wherever_they_lie(config: dict[str, Any], tmp_path: Path) -> None:
    before, path = recipe(config), tmp_path / "train.jsonl"
    moved = path.rename(tmp_path / "moved.jsonl")
    place = ["data", "init_args", "train", "images", "init_args", "path"]
    compare(recipe(changed(config, place, moved)), before, "last.ckpt")
    moved.write_text('{"id": "b"}\n')
    with pytest.raises(DataError, match=r"data\.train\.images"):
        compare(recipe(changed(config, place, moved)), before, "last.ckpt")


@pytest.mark.parametrize(("place", "value"), FREE)
def test_what_decides_nothing_may_change(place: list[str], value: Any, config: dict[str, Any]) -> None:
    compare(recipe(changed(config, place, value)), recipe(config), "last.ckpt")


# --- ranks ----------------------------------------------------------------------------------------------------------


def on_rank(rank: int, ranks: int, batch_size: int, steps: int = 0) -> Numbers:
    """The data of one of several processes, `steps` into the first epoch."""
    data = Numbers(batch_size)
    progress = SimpleNamespace(batch_progress=SimpleNamespace(current=SimpleNamespace(processed=steps)))
    epochs = SimpleNamespace(current=SimpleNamespace(processed=0))
    loop, state = SimpleNamespace(epoch_loop=progress, epoch_progress=epochs), SimpleNamespace(fn="fit")
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    options = {"strategy": strategy, "world_size": ranks, "global_rank": rank, "fit_loop": loop, "state": state}
    data.trainer = cast(Any, SimpleNamespace(**options))
    return data


def test_another_number_of_ranks_goes_on_behind_the_same_samples() -> None:
    """Positions were worked out from the new sizes: samples came again or were left out."""
    saved = on_rank(0, 1, BATCH, steps=3).state_dict()
    assert saved == {"epoch": 0, "consumed": 3 * BATCH, "step_samples": BATCH}
    seen = []
    for rank in range(2):
        data = on_rank(rank, 2, BATCH // 2, steps=3)
        data.load_state_dict(saved)
        seen += [batch.flatten().tolist() for batch in data.train_dataloader()]
    steps = [{*map(int, [*seen[step], *seen[step + 2]])} for step in range(2)]
    assert steps == [{7, 8}, {9, EPOCH}]


def test_a_loader_whose_workers_begin_before_the_epoch_is_known_reads_that_epoch() -> None:
    """In every epoch but the first a resumed training read the first one's samples again."""
    data = on_rank(0, 1, BATCH)
    data.load_state_dict({"epoch": 1, "consumed": 3 * BATCH, "step_samples": BATCH})
    loader = data.train_dataloader()
    cast(Any, loader.sampler).set_epoch(0)  # by Lightning, which has not restored its loops
    assert [batch.flatten().tolist() for batch in loader] == [[17, 18], [19, 20]]


@pytest.mark.parametrize(
    ("ranks", "batch_size", "words"),
    [
        (2, BATCH, "steps are of 2 samples, these of 4, data.batch_size 2 on 2 ranks: set data.batch_size to 1, or"),
        (3, BATCH, "these of 6, data.batch_size 2 on 3 ranks: take another number of them"),
    ],
)
def test_other_steps_are_refused(ranks: int, batch_size: int, words: str) -> None:
    saved = on_rank(0, 1, BATCH).state_dict()
    with pytest.raises(DataError, match=words):
        on_rank(0, ranks, batch_size).load_state_dict(saved)
