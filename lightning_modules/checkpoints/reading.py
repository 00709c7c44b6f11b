"""What checkpoints hold: a file, the folder of a sharded one, or one that `export` has written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import torch
from torch import nn

from datamodules.errors import DataError
from lightning_modules.checkpoints.base_weights import with_base
from lightning_modules.checkpoints.description import DESCRIPTION
from lightning_modules.checkpoints.exported import read_exported
from lightning_modules.checkpoints.files import WholeCheckpointIO, is_exported, read_file
from lightning_modules.checkpoints.hub import fetched
from lightning_modules.checkpoints.sharded import read_sharded
from lightning_modules.checkpoints.weights import compare


def read(path: Path | str) -> dict[str, Any]:
    """What a checkpoint holds, on the CPU: a file, the folder of a sharded one, or what `export` has written.

    Weights of its base that it has left out are read from there.

    Raises:
        DataError: Nothing is there, it is damaged, or not of this framework; or its base is not here, or another.
    """
    place = fetched(path)
    if is_exported(place):
        exported = read_exported(place)
        return {DESCRIPTION: exported.described(), "state_dict": exported.state()}
    checkpoint = read_sharded(place) if place.is_dir() else read_file(place)
    if not isinstance(checkpoint, dict) or DESCRIPTION not in checkpoint or "state_dict" not in checkpoint:
        raise DataError(f"{path} is not a checkpoint of this framework: it has no {DESCRIPTION!r}")
    return with_base(checkpoint, str(path))


def fill(module: nn.Module, weights: dict[str, torch.Tensor], path: Path | str) -> None:
    """Gives a module the weights of the file at `path`; `DataError` if they are another model's."""
    compare(module.state_dict(), weights, str(path))
    module.load_state_dict(weights)


class AnyCheckpointIO(WholeCheckpointIO):
    """For an evaluation: reads whatever `read` does, what is sharded or exported too."""

    def load_checkpoint(self, path: str | Path, *_: Any, **__: Any) -> dict[str, Any]:
        """What `read` says, and the version of Lightning, which an export does not have."""
        return {"pytorch-lightning_version": lightning.__version__, **read(path)}
