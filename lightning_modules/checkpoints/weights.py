"""Weights by their names and shapes: whether they are those of a model."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from datamodules.errors import DataError


def compare(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor], name: str) -> None:
    """Refuses a checkpoint by the names and shapes of its weights.

    Raises:
        DataError: They are not the same.
    """
    compare_names(ours, theirs, name)
    misfit = sorted(key for key in ours if ours[key].shape != theirs[key].shape)
    if misfit:
        key = misfit[0]
        their, shape = tuple(theirs[key].shape), tuple(ours[key].shape)
        raise DataError(f"{name} is of another model: {len(misfit)} weights misfit, {key} is {their}, not {shape}")


def compare_names(ours: Iterable[str], theirs: Iterable[str], name: str) -> None:
    """Refuses a checkpoint that lacks weights or has others; the message counts and lists them.

    Raises:
        DataError: They are not the same.
    """
    missing, unexpected = sorted(set(ours) - set(theirs)), sorted(set(theirs) - set(ours))
    if missing or unexpected:
        raise DataError(
            f"{name} is of another model: {len(missing)} weights missing {missing[:3]}, "
            f"{len(unexpected)} unexpected {unexpected[:3]}"
        )
