"""Losses of an evaluation are those of its samples, however they were batched and spread over ranks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, Trainer

from datamodules import VideoRegionDataModule
from datamodules.types import RegionSample
from helpers import Listed, make_batch, sample, tiny_module
from lightning_modules.region_module import RegionModule
from lightning_modules.training.evaluation_losses import EvaluationLosses

BOXES = ((0.0, 0.0, 8.0, 8.0), (8.0, 8.0, 16.0, 16.0))
SAMPLES = (
    sample("a", question="what is <region>", answer="a cat"),
    sample("bb", boxes=BOXES, question="what is <region1>", answer="two dogs that went far away", frames=3),
    sample("ccc", boxes=(), question="why", answer="so"),
    sample("dddd", boxes=BOXES, question="which", options=("<region0>", "<region1>"), answer="", label=1),
    sample("eeeee", boxes=BOXES, question="<region0>", answer="it", frames=2),
)
ANSWERED = [sample(one.id, BOXES, "which", "<region1>") if one.label else one for one in SAMPLES]
UNKNOWN = sample("ffffff", boxes=(), question="and this", answer="")


class Kept(Callback):
    """The losses as a callback, a checkpoint's monitor for example, sees them."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_validation_end(self, trainer: Trainer, *rest: Any) -> None:
        if trainer.is_global_zero and not trainer.sanity_checking:
            losses = {name: float(value) for name, value in trainer.callback_metrics.items() if "val/" in name}
            self.path.write_text(json.dumps(losses))


def trainer(folder: Path, **options: Any) -> Trainer:
    return Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Kept(folder / "losses.json")],
        **options,
    )


def evaluated(
    folder: Path, eval_batch_size: int, ranks: int = 1, samples: tuple[RegionSample, ...] = SAMPLES, **options: Any
) -> dict[str, float]:
    module = tiny_module(folder, **{"max_new_tokens": 2, **options})
    data = VideoRegionDataModule(val={"val": Listed(*samples)}, eval_batch_size=eval_batch_size, num_workers=0)
    trainer(folder, devices=ranks, strategy="ddp_fork" if ranks > 1 else "auto").validate(module, data, verbose=False)
    found: dict[str, float] = json.loads((folder / "losses.json").read_text())
    return found


def of_each(module: RegionModule) -> tuple[list[float], list[int], list[float]]:
    """Each sample read alone: summed cross-entropy and number of its answer's tokens, and its guide term.

    The guide term is worked out token by token from probabilities.
    """
    sums, tokens, guides = [], [], []
    for one in ANSWERED:
        batch = make_batch(module, one.with_id_prefix("val"))
        with torch.no_grad():
            output = module.backbone(batch)
        chances = output.logits.softmax(-1)[torch.arange(len(output.targets)), output.targets]
        sums.append(-float(chances.log().sum()))
        tokens.append(len(output.targets))
        if not one.regions:
            continue
        assert output.guide_logits is not None and output.marks is not None
        marks, logs = output.marks[0].tolist(), output.guide_logits.softmax(-1).log()
        losses = [
            -sum(float(shares[n] * logs[cell, mark]) for n, mark in enumerate(marks))
            - float((1 - shares.sum()) * logs[cell, -1])
            for cell, shares in enumerate(batch.guide_weights)
            if batch.guide_known[cell]
        ]
        guides.append(sum(losses) / len(losses))
    return sums, tokens, guides


@pytest.mark.parametrize(("size", "ranks"), [(1, 1), (2, 1), (5, 1), pytest.param(2, 2, marks=pytest.mark.slow)])
def test_losses_are_those_of_the_samples(tmp_path: Path, size: int, ranks: int) -> None:
    """Regression: a mean of the batches' means, in which the short answer of a last, small batch weighed most.

    Two ranks share five samples, so that one is read twice; `test_two_ranks` has it in the default run.
    """
    sums, tokens, guides = of_each(tiny_module(tmp_path).eval())
    assert len(set(tokens)) == 4 and len(guides) == 4
    found = evaluated(tmp_path, size, ranks)
    assert found["val/language_loss"] == pytest.approx(sum(sums) / sum(tokens), abs=1e-6, rel=1e-6)
    assert found["val/guide_loss"] == pytest.approx(sum(guides) / len(guides), abs=1e-6, rel=1e-6)


def test_what_two_ranks_keep_comes_together(tmp_path: Path) -> None:
    """Rank 1 has three samples and the first once more, as the sampler fills up; other batches, another order."""
    module = tiny_module(tmp_path).eval()

    def kept(*batches: tuple[int, ...]) -> EvaluationLosses:
        losses = EvaluationLosses()
        for places in batches:
            batch = make_batch(module, *(ANSWERED[place] for place in places))
            losses.update(module.backbone(batch), batch)
        return losses

    together, one, other = kept((0, 1, 2, 3, 4)), kept((0, 2), (4,)), kept((1, 3, 0))
    for first, second in ((one, other), (other, one)):
        gathered = EvaluationLosses()
        gathered.seeds, gathered.sums = first.seeds + second.seeds, first.sums + second.sums
        assert gathered.compute() == pytest.approx(together.compute(), rel=1e-6)
    assert EvaluationLosses().compute() == {}


def test_a_turn_without_an_answer_has_no_language_loss(tmp_path: Path) -> None:
    known, more = evaluated(tmp_path, 2), evaluated(tmp_path, 2, samples=(*SAMPLES, UNKNOWN))
    assert more["val/language_loss"] == pytest.approx(known["val/language_loss"], abs=1e-6)
    assert more["val/guide_loss"] == known["val/guide_loss"]
    alone = evaluated(tmp_path, 2, samples=(UNKNOWN,))
    assert "val/language_loss" not in alone and "val/guide_loss" not in alone


def test_without_a_guide_head_there_is_no_guide_loss(tmp_path: Path) -> None:
    found = evaluated(tmp_path, 2, guide_weight=0.0)
    assert "val/language_loss" in found and "val/guide_loss" not in found


def test_the_sanity_check_is_in_no_loss(tmp_path: Path) -> None:
    """Its two batches come before the first validation, with the weights as they were before training."""
    losses = []
    for sanity in (0, 2):
        module = tiny_module(tmp_path, learning_rate=1e-2, warmup=0.0, max_new_tokens=2)
        data = VideoRegionDataModule(
            {"train": Listed(*SAMPLES)}, {"val": Listed(*SAMPLES)}, batch_size=2, epoch_size=6, num_workers=0
        )
        trainer(tmp_path, max_steps=3, num_sanity_val_steps=sanity).fit(module, data)
        losses.append(json.loads((tmp_path / "losses.json").read_text()))
    assert losses[0] == losses[1]
    before = evaluated(tmp_path, 2)
    assert abs(losses[0]["val/language_loss"] - before["val/language_loss"]) > 0.01
