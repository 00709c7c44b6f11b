"""Pixels of every base: a byte each on their way to the model, and there the numbers that they always were."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from families import TINY

from datamodules.batching.visual_processor import VisualProcessor
from datamodules.types import Clip
from lightning_modules.bases import family_of
from lightning_modules.bases.base import PIXELS

MEAN, STD = (0.11, 0.52, 0.93), (0.4, 0.5, 0.6)
EVERY_BASE = pytest.mark.parametrize("name", TINY)


def processor_of(name: str) -> VisualProcessor:
    config = TINY[name].configuration()
    process = family_of(config.model_type).visual_processor(config, TINY[name].settings)
    return replace(process, image_mean=MEAN, image_std=STD)  # type: ignore[type-var]  # every one of them is a dataclass


def telling(height: int, width: int, frames: int = 1) -> Clip:
    """Noise whose values tell red (30 to 54), green (115 to 139) and blue (200 to 224) apart, resized too."""
    noise = np.random.default_rng(frames).integers(30, 55, (frames, height, width, 3), dtype=np.uint8)
    return Clip(noise + np.array([0, 85, 170], np.uint8), tuple(range(0, 4 * frames, 4)))


def batch_of(process: VisualProcessor) -> dict[str, torch.Tensor]:
    """Images of unequal tiles and videos of unequal length, where the base fills up what is missing."""
    clips = [telling(16, 16), telling(36, 36, 3), telling(72, 36), telling(36, 36, 5)]
    return process.collate([process(clip) for clip in clips])


@EVERY_BASE
def test_pixels_travel_as_bytes(name: str) -> None:
    """Float32 took four times as much of workers' shared memory and of the copy; a mask of SmolVLM's pixels eight."""
    batch = batch_of(processor_of(name))
    pixels = [value for key, value in batch.items() if key in PIXELS]
    assert pixels and all(value.nbytes == value.numel() for value in pixels)
    assert sum(value.nbytes for value in batch.values()) < 2 * sum(value.numel() for value in pixels)


@EVERY_BASE
def test_the_model_gets_the_numbers_that_float32_had_in_the_workers(name: str) -> None:
    """To the last bit; padding is what it was, whatever it would be once normalised."""
    process = processor_of(name)
    batch = batch_of(process)
    taken = process.model_inputs(batch)
    levels = torch.arange(256)
    mean, std = (torch.tensor(values)[(levels // 85).clamp(max=2)] for values in (MEAN, STD))
    normalised = (levels.float() / 255 - mean) / std
    for key in PIXELS:
        if key in batch:
            padding = batch[key] == 0  # no colour is
            filled = torch.nan if (name, key) == ("llava_onevision", "pixel_values_videos") else 0.0
            expected = normalised[batch[key].int()].where(~padding, filled)
            torch.testing.assert_close(taken[key], expected, rtol=0, atol=0, equal_nan=True)
            assert padding.any() == (name in ("gemma4", "llava_onevision", "smolvlm"))
    assert not {"tiles_shown", "frames_shown"} & taken.keys(), "no input of the model"


def test_inputs_that_are_no_bytes_are_left_as_they_are() -> None:
    """A processor of one's own may normalise in the workers."""
    given = {"pixel_values": torch.rand(1, 3, 2, 2), "grid": torch.tensor([[1, 2]])}
    taken = processor_of("internvl").model_inputs(given)
    assert all(taken[name] is value for name, value in given.items())
