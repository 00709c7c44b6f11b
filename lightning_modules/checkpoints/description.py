"""What a checkpoint says of its model beside the weights."""

from __future__ import annotations

import json
from typing import Any

import torch

from datamodules.errors import DataError
from lightning_modules.training.lora import LoraOptions, merged
from lightning_modules.training.quantisation import dequantised

DESCRIPTION = "region_model"


def check_region_encoder(ours: str, description: dict[str, Any], name: str) -> None:
    """Refuses a model that was told of regions in another way: some ways differ in no weight.

    Args:
        ours: What the class of our region encoder is imported by.
        description: Of the other model.
        name: Of the other model, for errors.

    Raises:
        DataError: They are not the same.
    """
    described = description["options"].get("region_encoder")
    theirs = described["class_path"] if isinstance(described, dict) else described
    if ours != theirs:
        raise DataError(f"{name} is of another model: its region_encoder is {theirs!r}, not {ours!r}")


def lora_options(description: dict[str, Any]) -> LoraOptions | None:
    """The adapters of a described model."""
    options = description["options"].get("lora")
    return None if options is None else LoraOptions(**{**options, "targets": tuple(options["targets"])})


def plain_weights(checkpoint: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The weights of a checkpoint without quantisation and adapters, by the names of a model that has neither."""
    description, weights = checkpoint[DESCRIPTION], checkpoint["state_dict"]
    lora = lora_options(description)
    if description["options"].get("quantise"):
        weights = dequantised(weights, getattr(torch, json.loads(description["architecture"])["dtype"]))
    return merged(weights, lora) if lora else weights
