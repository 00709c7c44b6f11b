"""How large marks are when training begins: laid on visual tokens they have to be seen."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lightning import Trainer

from datamodules import ImageRegionDataModule
from helpers import ARCHITECTURE, Listed, make_batch, pixels_of, sample, tokenizer_folder
from lightning_modules import BaseModel, ImageRegionModule
from lightning_modules.region_encoders import TokenMark

SAMPLES = (sample("a"), sample("bb"), sample("ccc"), sample("dddd"))


def module(folder: Path, checkpoint: Path | None = None, scale: float | None = None) -> ImageRegionModule:
    base = (
        BaseModel(architecture=ARCHITECTURE, tokenizer=tokenizer_folder(folder / "tokenizer"))
        if checkpoint is None
        else BaseModel(checkpoint=str(checkpoint))
    )
    encoder = TokenMark(8, 16, scale)
    made = ImageRegionModule(base=base, region_encoder=encoder, prompt="plain", learning_rate=1e-9, warmup=0.0)
    made.configure_model()
    return made


def trained(made: ImageRegionModule, steps: int, resumed: Path | None = None) -> Trainer:
    """So slowly that nothing is learnt; a step is of two micro-batches of one sample."""
    trainer = Trainer(
        accelerator="cpu",
        max_steps=steps,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    train = {"train": Listed(*SAMPLES)}
    data = ImageRegionDataModule(train=train, batch_size=2, micro_batch_size=1, epoch_size=4, num_workers=0)
    trainer.fit(made, data, ckpt_path=resumed, weights_only=False)
    return trainer


def size(numbers: torch.Tensor) -> float:
    return float(numbers.float().square().mean().sqrt())


def mark_size(made: ImageRegionModule) -> float:
    encoder = made.backbone.region_encoder
    assert isinstance(encoder, TokenMark)
    with torch.no_grad():
        return size(encoder.projection(torch.randn(4096, encoder.mark_dim)))


@torch.no_grad()
def visual_size(made: ImageRegionModule) -> float:
    pixels = pixels_of(made, make_batch(made, *SAMPLES))
    return size(torch.cat(list(made.backbone.base.core.get_image_features(pixels).pooler_output)))


@pytest.mark.parametrize("larger", ["visual tokens", "words"])
def test_marks_are_as_large_as_what_they_stand_beside(larger: str, tmp_path: Path) -> None:
    """Marks as large as words were a hundredth of a trained base's visual tokens: nothing was learnt of them."""
    torch.manual_seed(0)
    made = module(tmp_path)
    llava = made.backbone.model
    with torch.no_grad():
        grown = (
            llava.model.multi_modal_projector.linear_2 if larger == "visual tokens" else llava.get_input_embeddings()
        )
        for weight in grown.parameters():
            weight.mul_(300)
    llava.save_pretrained(tmp_path / "base")
    made.renderer.tokenizer.save_pretrained(tmp_path / "base")
    again = module(tmp_path, tmp_path / "base")
    visual, word = visual_size(again), again.backbone.base.word_size()
    assert (visual > 5 * word) == (larger == "visual tokens")
    trainer = trained(again, steps=1)
    assert mark_size(again) == pytest.approx(max(visual, word), rel=0.2)
    trainer.save_checkpoint(tmp_path / "stopped.ckpt")
    resumed = module(tmp_path, tmp_path / "base")
    trained(resumed, steps=2, resumed=tmp_path / "stopped.ckpt")
    assert mark_size(resumed) == pytest.approx(max(visual, word), rel=0.2)
    own = module(tmp_path, tmp_path / "base", scale=0.5)
    trained(own, steps=1)
    assert mark_size(own) == pytest.approx(0.5, rel=0.2)
