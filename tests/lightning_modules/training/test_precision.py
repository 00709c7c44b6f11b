"""Types of weights: frozen ones have the base's, those that learn are float32, from stage to stage and to an answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from test_region_module import SAMPLES, fresh, train
from torch import nn

from datamodules import VideoRegionDataModule
from datamodules.errors import DataError
from helpers import Listed, make_batch
from lightning_modules import LoraOptions, export, load
from lightning_modules.region_module import Part, RegionModule
from lightning_modules.training.precision import check_precision, learn_in_float32, learning_weights
from lightning_modules.training.sharding import FullySharded

FULL, HALF = torch.float32, torch.bfloat16
STAGE_1: tuple[Part, ...] = ("vision_tower", "language_model")


class Tied(nn.Module):
    """Two names of one weight, a frozen one, and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(4, 8, dtype=HALF)
        self.head = nn.Linear(8, 4, bias=False, dtype=HALF)
        self.head.weight = self.words.weight
        self.frozen = nn.Linear(8, 8, dtype=HALF).requires_grad_(False)
        self.wide = nn.Parameter(torch.ones(3, dtype=torch.float64))
        self.register_buffer("angles", torch.ones(3, dtype=HALF))


def test_only_what_learns_is_widened() -> None:
    """A weight that two share stays one; a buffer has its type whatever that is, and nothing gets narrower."""
    model = Tied()
    value = model.words.weight.detach().clone()
    learn_in_float32(model)
    assert model.head.weight is model.words.weight and model.words.weight.dtype == FULL
    assert torch.equal(model.words.weight, value.float())
    assert model.frozen.weight.dtype == model.angles.dtype == HALF and model.wide.dtype == torch.float64


def test_what_would_learn_in_fewer_bits_is_refused() -> None:
    model = Tied()
    with pytest.raises(
        DataError, match=r"1 weights would learn in fewer than 32 bits .*words.weight is torch.bfloat16"
    ):
        learning_weights(model)
    learn_in_float32(model)
    assert [id(weight) for weight in learning_weights(model)] == [id(model.wide), id(model.words.weight)]


@pytest.mark.parametrize("precision", ["bf16-true", "16-true", "64-true", "transformer-engine"])
def test_a_precision_that_casts_the_whole_model_is_refused(precision: str) -> None:
    with pytest.raises(DataError, match=f"'{precision}' would cast rotary frequencies"):
        check_precision(precision)


def test_a_training_under_such_a_precision_does_not_begin(tmp_path: Path) -> None:
    """Before weights are made; rotary frequencies would be bfloat16."""
    module = unmade(tmp_path)
    with pytest.raises(DataError, match=r"trainer.precision 'bf16-true' would cast"):
        train(module, tmp_path, 1, SAMPLES, precision="bf16-true", enable_checkpointing=False)


def test_a_model_that_only_answers_does_not_train(tmp_path: Path) -> None:
    checkpoint = trained(fresh(tmp_path, dtype="bfloat16"), tmp_path / "run", 1)
    with pytest.raises(DataError, match=r"no weight learns: .* start from it by init_from"):
        train(load(checkpoint), tmp_path, 1, SAMPLES, enable_checkpointing=False)


def unmade(folder: Path, **options: Any) -> RegionModule:
    """A module whose weights the Trainer makes."""
    made = fresh(folder, **options)
    del made.backbone
    return made


def trained(module: RegionModule, folder: Path, steps: int, **trainer: Any) -> Path:
    """Its checkpoint after so many steps under autocast."""
    saved = ModelCheckpoint(folder, every_n_train_steps=steps, save_top_k=-1, filename="last")
    train(module, folder, steps, SAMPLES, precision="bf16-mixed", callbacks=[saved], **trainer)
    return folder / "last.ckpt"


def types(weights: dict[str, torch.Tensor]) -> dict[str, set[torch.dtype]]:
    """By part."""
    parts = ("vision_tower", "multi_modal_projector", "language_model", "lm_head", "region_encoder", "guide")
    return {
        part: {weight.dtype for name, weight in weights.items() if f".{part}." in name or f".{part}" in name}
        for part in parts
    }


PARTS = ("vision_tower", "multi_modal_projector", "language_model", "lm_head")
ALL_HALF = {part: {HALF} for part in PARTS}
ALL_FULL = {part: {FULL} for part in PARTS}
OURS = {part: {FULL} for part in ("region_encoder", "guide")}


@pytest.mark.parametrize(
    ("frozen", "learning"),
    [
        (STAGE_1, {"multi_modal_projector": {FULL}}),
        (("vision_tower",), {**ALL_FULL, "vision_tower": {HALF}}),
        (("vision_tower", "projector", "language_model"), {}),
        # the tower's end is not used, and frozen, but runs on what comes out of the layers that learn
        ((), ALL_FULL),
    ],
)
def test_a_checkpoint_has_the_types_that_its_training_had(
    frozen: tuple[Part, ...], learning: dict[str, Any], tmp_path: Path
) -> None:
    """And the model that answers from it has the base's, with float32 beside it; so has its export."""
    module = unmade(tmp_path, dtype="bfloat16", frozen=frozen)
    checkpoint = trained(module, tmp_path / "run", 2)
    assert types(module.state_dict()) == {**ALL_HALF, **OURS, **learning}
    assert types(torch.load(checkpoint, weights_only=True)["state_dict"]) == {**ALL_HALF, **OURS, **learning}
    again, exported = load(checkpoint), load(export(checkpoint, tmp_path / "out"))
    for answering in (again, exported):
        assert types(answering.state_dict()) == {**ALL_HALF, **OURS}
        assert not any(weight.requires_grad for weight in answering.parameters())
    batch = make_batch(again, *SAMPLES)
    assert again.answer(batch).predictions == exported.answer(batch).predictions


def test_the_next_stage_takes_every_bit(tmp_path: Path) -> None:
    """What learnt in the first and learns on is not rounded on its way; the frozen language model begins to learn."""
    checkpoint = trained(unmade(tmp_path / "a", dtype="bfloat16", frozen=STAGE_1), tmp_path / "run", 2)
    first = torch.load(checkpoint, weights_only=True)["state_dict"]
    rounded = {name for name, weight in first.items() if not torch.equal(weight, weight.bfloat16().float())}
    assert any("projector" in name for name in rounded) and "backbone.region_encoder.marks" in rounded
    for form in ({}, {"lora": LoraOptions(rank=4)}, {"lora": LoraOptions(rank=4), "quantise": "nf4"}):
        second = fresh(tmp_path / "b", seed=9, dtype="bfloat16", frozen=("vision_tower",), init_from=checkpoint, **form)
        ours = {name.replace(".base_layer", ""): weight for name, weight in second.state_dict().items()}
        for name in rounded | {name for name in first if name.endswith("layernorm.weight")}:
            assert torch.equal(ours[name].float(), first[name].float()), name
        of_words = types(second.state_dict())["lm_head"]
        assert of_words == ({HALF} if form else {FULL})


def test_a_training_of_mixed_types_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """Stopped after two of five steps under autocast, with the optimiser's state in float32."""
    options = {"dtype": "bfloat16", "frozen": STAGE_1}
    saved = ModelCheckpoint(tmp_path / "saved", every_n_train_steps=2, save_top_k=-1, filename="{step}")
    mixed: dict[str, Any] = {"precision": "bf16-mixed"}
    whole = train(unmade(tmp_path / "a", **options), tmp_path / "whole", 5, SAMPLES, callbacks=[saved], **mixed)
    checkpoint = tmp_path / "saved" / "step=2.ckpt"
    state = torch.load(checkpoint, weights_only=True)["optimizer_states"][0]["state"]
    assert {kept["exp_avg"].dtype for kept in state.values()} == {FULL}
    resumed = train(
        unmade(tmp_path / "b", seed=5, **options), tmp_path / "second", 5, SAMPLES, ckpt_path=checkpoint, **mixed
    )
    assert resumed == whole[2:]


class Loaded(Callback):
    """Keeps the weights that an evaluation begins with."""

    weights: dict[str, torch.Tensor]

    def on_validation_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.weights = {name: weight.full_tensor() for name, weight in module.state_dict().items()}


def test_a_sharded_training_is_evaluated_in_the_bases_type(tmp_path: Path) -> None:
    """Shards of float32 are read into those of bfloat16: to the last bit what `load` makes of the checkpoint."""
    options: dict[str, Any] = {"strategy": FullySharded(compute_dtype="bfloat16"), "devices": 1}
    saved = ModelCheckpoint(tmp_path, every_n_train_steps=2, save_top_k=-1, filename="last")
    train(unmade(tmp_path / "a", dtype="bfloat16"), tmp_path, 2, SAMPLES, callbacks=[saved], **options)
    loaded = Loaded()
    trainer = Trainer(
        accelerator="cpu", devices=1, strategy=FullySharded(), logger=False, callbacks=[loaded],
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    data = VideoRegionDataModule(val={"val": Listed(*SAMPLES)}, batch_size=2, num_workers=0)
    trainer.validate(unmade(tmp_path / "b", seed=5, dtype="bfloat16"), data, ckpt_path=tmp_path / "last.ckpt")
    theirs = load(tmp_path / "last.ckpt").state_dict()
    assert types(loaded.weights) == types(theirs) == {**ALL_HALF, **OURS}
    assert all(torch.equal(weight, theirs[name]) for name, weight in loaded.weights.items())
