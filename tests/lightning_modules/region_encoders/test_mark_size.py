"""How large marks are when training begins: laid on visual tokens they have to be seen."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from helpers import ARCHITECTURE, tokenizer_folder
from lightning_modules import BaseModel, ImageRegionModule
from lightning_modules.region_encoders import TokenMark


def module(folder: Path, checkpoint: Path | None = None, scale: float | None = None) -> ImageRegionModule:
    base = (
        BaseModel(architecture=ARCHITECTURE, tokenizer=tokenizer_folder(folder / "tokenizer"))
        if checkpoint is None
        else BaseModel(checkpoint=str(checkpoint))
    )
    made = ImageRegionModule(base=base, region_encoder=TokenMark(8, 16, scale), prompt="plain")
    made.configure_model()
    return made


def size(numbers: torch.Tensor) -> float:
    return float(numbers.float().square().mean().sqrt())


def mark_size(made: ImageRegionModule) -> float:
    encoder = made.backbone.region_encoder
    assert isinstance(encoder, TokenMark)
    with torch.no_grad():
        return size(encoder.projection(torch.randn(4096, encoder.mark_dim)))


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
    visual, word = again.backbone.base.visual_size(), again.backbone.base.word_size()
    assert (visual > 5 * word) == (larger == "visual tokens")
    assert mark_size(again) == pytest.approx(max(visual, word), rel=0.2)
    assert mark_size(module(tmp_path, tmp_path / "base", scale=0.5)) == pytest.approx(0.5, rel=0.2)
