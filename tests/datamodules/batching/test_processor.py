"""Pixels as the vision tower wants them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from datamodules.batching.processor import RegionProcessor
from datamodules.types import Pixels, RegionSample, Turn
from helpers import PATCH, SIDE, character_tokenizer, renderer
from lightning_modules.bases.llava import SquareVision

TOKENIZER = character_tokenizer()
RENDERER, IMAGE = renderer(TOKENIZER), TOKENIZER.convert_tokens_to_ids("<image>")
WHITE, BLACK = 255, 0


def pixels_of(height: int, width: int, grey: int, vision: SquareVision) -> torch.Tensor:
    """What the model sees of a frame of one grey: (3, S, S)."""
    frame = Pixels(np.full((1, height, width, 3), grey, np.uint8))
    processed = RegionProcessor(RENDERER, vision, [IMAGE])(RegionSample("a", frame, (), (Turn("what", "it"),)))
    return vision.model_inputs(processed.visual.inputs)["pixel_values"][0]


def test_values_are_normalised_as_clips_are() -> None:
    spec = SquareVision(SIDE, PATCH)
    assert (list(spec.image_mean), list(spec.image_std)) == (OPENAI_CLIP_MEAN, OPENAI_CLIP_STD)
    for grey in (BLACK, 77, WHITE):
        seen = pixels_of(8, 8, grey, spec)
        for channel in range(3):
            expected = (grey / 255 - OPENAI_CLIP_MEAN[channel]) / OPENAI_CLIP_STD[channel]
            torch.testing.assert_close(seen[channel], torch.full((SIDE, SIDE), expected))


@pytest.mark.parametrize(("height", "width"), [(4, 12), (12, 4), (5, 6)])
@pytest.mark.parametrize("grey", [BLACK, WHITE])
def test_padding_has_the_mean_colour_to_the_next_grey_level(height: int, width: int, grey: int) -> None:
    """Which is nearly 0 to the model; black would be an edge that every padded picture has and no squashed one."""
    spec = SquareVision(SIDE, PATCH, image_mean=(0.9, 0.31, 0.1), image_std=(0.2, 0.5, 0.3), fit="pad")
    seen = pixels_of(height, width, grey, spec)
    tall, wide = (round(extent * SIDE / max(height, width)) for extent in (height, width))
    top, left = (SIDE - tall) // 2, (SIDE - wide) // 2
    inside = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    inside[top : top + tall, left : left + wide] = True
    for channel, (mean, std) in enumerate(zip(spec.image_mean, spec.image_std, strict=True)):
        assert seen[channel][~inside].abs().max() <= 0.5 / 255 / std + 1e-6
        torch.testing.assert_close(seen[channel][inside], torch.full((int(inside.sum()),), (grey / 255 - mean) / std))
