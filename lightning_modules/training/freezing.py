"""The parts of a base that a stage does not train."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from lightning_modules.bases.base import Base

Part: TypeAlias = Literal["vision_tower", "projector", "language_model"]


def freeze(base: Base, frozen: Collection[Part]) -> None:
    """Lets all of a base learn but for the `frozen` parts, and what nothing reads."""
    parts = {
        "vision_tower": [base.vision_tower],
        "projector": base.projector,
        "language_model": [base.language_model, base.output_head],
    }
    for name in sorted(frozen):
        for part in parts[name]:
            part.requires_grad_(False)
    if "projector" not in frozen:  # it may be a part of the tower
        for part in base.projector:
            part.requires_grad_(True)
