"""The folder of an exported model, read: a base's files as transformers has them, and `regions.json` beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open

from datamodules.errors import DataError
from lightning_modules.bases.loading import (
    BaseModel,
    architecture_json,
    config_at,
    load_base,
    load_tokenizer,
    tokenizer_files,
)
from lightning_modules.checkpoints.files import EXPORTED, ON_THE_BASE

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from lightning_modules.bases.base import Base

MODEL = "model."
"""How the names of the base's weights begin in the backbone."""


class Exported(NamedTuple):
    """What such a folder holds.

    Attributes:
        description: Of its `RegionModule`: class, options, settings of the visual processor.
        origin: The folder as a base model.
        tokenizer: The base's.
        base: With its weights.
        weights: What the backbone has beside the base, by name.
    """

    description: dict[str, Any]
    origin: BaseModel
    tokenizer: PreTrainedTokenizerBase
    base: Base
    weights: dict[str, torch.Tensor]

    def described(self) -> dict[str, Any]:
        """The description as a checkpoint has it."""
        files = tokenizer_files(self.tokenizer)
        return {**self.description, "architecture": architecture_json(self.base.model.config), "tokenizer": files}

    def state(self) -> dict[str, torch.Tensor]:
        """All weights, by the names that a checkpoint has."""
        of_base = {f"{MODEL}{name}": weight for name, weight in self.base.model.state_dict().items()}
        return {f"backbone.{name}": weight for name, weight in {**of_base, **self.weights}.items()}


def read_exported(folder: Path) -> Exported:
    """Reads such a folder.

    Raises:
        DataError: Files are damaged, or the base's weights are missing, unexpected or of another shape.
    """
    description = read_description(folder)
    origin = BaseModel(checkpoint=str(folder), dtype=dtype_of(folder), vision=description["vision"])
    tokenizer = load_tokenizer(origin)
    return Exported(description, origin, tokenizer, load_base(origin, tokenizer), _read_weights(folder))


def read_description(folder: Path) -> dict[str, Any]:
    """What the folder says of its `RegionModule`, as `Exported.description`; `DataError` if it cannot be read."""
    try:
        description: dict[str, Any] = json.loads((folder / EXPORTED).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{folder / EXPORTED} cannot be read: {error}") from None
    missing = sorted({"class", "options", "vision"} - set(description))
    if missing:
        raise DataError(f"{folder / EXPORTED} lacks {missing}")
    return description


def dtype_of(folder: Path) -> str:
    """The data type of the base's weights."""
    return str(config_at(str(folder)).dtype or torch.float32).removeprefix("torch.")


def _read_weights(folder: Path) -> dict[str, torch.Tensor]:
    """What is put on the base: it stands among the base's weights, whose names all begin otherwise."""
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, "pt") as file:
                names = [name for name in file.keys() if name.startswith(ON_THE_BASE)]  # noqa: SIM118  # no dictionary
                found.update({name: file.get_tensor(name) for name in names})
        except (OSError, SafetensorError) as error:
            raise DataError(f"{path} cannot be read: {error}") from None
    return found
