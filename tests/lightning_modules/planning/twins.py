"""A tiny model without weights and one with them, and the same batch for both."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from families import TINY

from datamodules.batching.batch import RegionBatch
from helpers import marks
from lightning_modules import VideoRegionModule
from lightning_modules.bases.loading import BaseModel
from lightning_modules.planning.plan import assembled
from lightning_modules.planning.step import Step, make_batch
from lightning_modules.planning.weightless import Autocast, prepare
from lightning_modules.region_module import RegionModule

BASES = ("llava", "qwen3_vl", "internvl", "gemma3")
STEP = Step(2, frames=4, text_tokens=60, answer_tokens=20, frame_size=(40, 60))


def tiny(base: str, dtype: str = "float32", device: str = "meta", **options: Any) -> RegionModule:
    """A base in small, put together on a device."""
    architecture = BaseModel(architecture=dict(TINY[base].config), vision=dict(TINY[base].settings), dtype=dtype)
    torch.manual_seed(0)
    return assembled(VideoRegionModule(architecture, **{"region_encoder": marks(), **options}), device)


def twins(base: str, step: Step = STEP, **options: Any) -> tuple[RegionModule, RegionBatch, RegionModule, RegionBatch]:
    """The model without weights and its batch, the model with weights and its."""
    outline, real = tiny(base, **options), tiny(base, device="cpu", **options)
    prepare(outline.backbone)
    outline.backbone.autocast = Autocast
    batch = make_batch(outline, step)
    return outline, batch, real, with_values(batch)


def with_values(batch: RegionBatch) -> RegionBatch:
    """The same with random pixels and fractions in place of those without values."""
    changed = {name: _drawn(getattr(batch, name)) for name in ("mark_weights", "guide_weights")}
    return replace(batch, inputs={name: _drawn(value) for name, value in batch.inputs.items()}, **changed)


def _drawn(tensor: torch.Tensor) -> torch.Tensor:
    if not tensor.is_meta:
        return tensor
    if tensor.dtype == torch.uint8:
        return torch.randint(256, tensor.shape, dtype=tensor.dtype)
    return torch.rand(tensor.shape, dtype=tensor.dtype)
