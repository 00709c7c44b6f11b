"""Every base: the visual tokens that a painted patch of the source changes are those whose cells meet the patch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from families import TINY, Tiny, noise, seen
from torch import nn

from datamodules.batching.visual_processor import VisualPrompt
from datamodules.regions.footprints import View, check
from datamodules.types import Box, Clip
from lightning_modules.bases.base import Base

EVERY_BASE = pytest.mark.parametrize("tiny", TINY.values(), ids=TINY)
OUTPUT_PROJECTIONS = {"out_proj", "proj", "o_proj", "projection_layer"}
SIZES = [(32, 32), (24, 56), (64, 20), (45, 37)]


def visual_tokens(base: Base, tiny: Tiny, prompt: VisualPrompt) -> torch.Tensor:
    """(V, D), as the language model reads them."""
    read: list[torch.Tensor] = []
    hook = base.language_model.register_forward_pre_hook(
        lambda module, args, kwargs: read.append(kwargs["inputs_embeds"]), with_kwargs=True
    )
    ids = tiny.ids(prompt)
    with torch.no_grad():
        base.core(input_ids=ids, attention_mask=torch.ones_like(ids), **prompt.inputs, **base.token_inputs(ids))
    hook.remove()
    return read[0][base.is_visual(ids)]


def blinded(base: Base) -> Base:
    """No patch of the tower sees another: its attention says nothing."""
    for name, layer in base.vision_tower.named_modules():
        if isinstance(layer, nn.Linear) and OUTPUT_PROJECTIONS & set(name.split(".")):
            nn.init.zeros_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return base


def touched(prompt: VisualPrompt, time: int, box: Box) -> np.ndarray:
    """(V,) bool: the visual tokens one of whose cells meets a box on a frame of the clip."""
    found = np.zeros(prompt.tokens, dtype=bool)
    for view in prompt.views:
        pooled = view.pooled(view.placement.coverage(box)[None])[..., 0] > 0
        for layer, times in enumerate(view.times):
            if time in times:
                found[view.tokens[layer][pooled]] = True
    return found


def wider(box: tuple[float, float, float, float], view: View) -> Box:
    """The box and as far around it as resampling mixes pixels: two pixels of the coarser of frame and canvas."""
    height, width = view.placement.source
    down, across = (
        2 * max(1.0, s / c) + 1 for s, c in ((height, view.placement.height), (width, view.placement.width))
    )
    x0, y0, x1, y1 = box
    return Box((max(0.0, x0 - across), max(0.0, y0 - down), min(width, x1 + across), min(height, y1 + down)))


@EVERY_BASE
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("frames", [1, 3])
def test_a_painted_patch_changes_the_tokens_whose_cells_it_meets(
    tiny: Tiny, size: tuple[int, int], frames: int
) -> None:
    base = blinded(tiny.base())
    process = tiny.processor(base)
    clip = noise(*size, frames)
    prompt = seen(process, clip)
    check(prompt.views, prompt.tokens)
    before = visual_tokens(base, tiny, prompt)
    assert len(before) == prompt.tokens
    rng = np.random.default_rng(1)
    for time in range(frames):
        y0, x0 = rng.integers(0, size[0] - 8), rng.integers(0, size[1] - 8)
        box = (float(x0), float(y0), float(x0 + 8), float(y0 + 8))
        pixels = clip.pixels.copy()
        pixels[time, y0 : y0 + 8, x0 : x0 + 8] = 255 - pixels[time, y0 : y0 + 8, x0 : x0 + 8]
        painted = seen(process, Clip(pixels, clip.frames))
        changed = (visual_tokens(base, tiny, painted) - before).abs().amax(1).numpy() > 1e-6
        inside = touched(prompt, time, Box(box))
        around = np.any([touched(prompt, time, wider(box, view)) for view in prompt.views], axis=0)
        assert inside.any() and not (inside & ~changed).any(), "a cell that meets the patch did not change"
        assert not (changed & ~around).any(), "a token changed whose cell lies elsewhere"
