"""Sharded checkpoints read in one process, whatever the number of processes was that wrote them.

A folder holds the weights and the optimiser's state in torch.distributed.checkpoint's format, whose table of contents
is a pickle, and everything else in `meta.pt`.
"""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint import filesystem, metadata
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict_loader import load as load_shards

from datamodules.errors import DataError

WEIGHTS, REST = "state_dict.", "meta.pt"


def sharded_names(path: Path) -> set[str]:
    """The names of the weights in a sharded checkpoint.

    Raises:
        DataError: It is none, or not complete.
    """
    return set(_stored_weights(path))


def read_sharded(path: Path) -> dict[str, Any]:
    """What one process would have written into a file, but for the optimiser's state: weights on the CPU.

    Raises:
        DataError: It is no sharded checkpoint, or not complete.
    """
    weights = {
        name: torch.empty(stored.size, dtype=stored.properties.dtype) for name, stored in _stored_weights(path).items()
    }
    rest = read_rest(path)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")  # on purpose
            load_shards({WEIGHTS.removesuffix("."): weights}, storage_reader=_Reader(path), no_dist=True)
    except CheckpointException as error:  # a shard is gone, cut off or damaged
        raise _unreadable(path, *(failure for failure, _ in error.failures.values())) from error
    except Exception as error:  # a damaged shard raises whatever its first bad byte leads to
        raise _unreadable(path, error) from error
    return {**rest, "state_dict": weights}


def read_rest(path: Path) -> dict[str, Any]:
    """What there is beside weights and the optimiser's state; `DataError` if it cannot be read."""
    try:
        rest: dict[str, Any] = torch.load(path / REST, map_location="cpu", weights_only=True)
    except Exception as error:  # as a damaged table
        raise _unreadable(path, error) from error
    return rest


def _stored_weights(path: Path) -> dict[str, metadata.TensorStorageMetadata]:
    try:
        contents = _Reader(path).read_metadata().state_dict_metadata
    except Exception as error:  # a damaged table raises whatever its first bad byte leads to
        raise _unreadable(path, error) from error
    return {
        name.removeprefix(WEIGHTS): stored
        for name, stored in contents.items()
        if name.startswith(WEIGHTS) and isinstance(stored, metadata.TensorStorageMetadata)
    }


def _unreadable(path: Path, error: BaseException, *_: BaseException) -> DataError:
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    return DataError(f"{path} is not a readable sharded checkpoint: {reason}")


class _Reader(filesystem.FileSystemReader):
    """Reads the table of contents without running it: a pickle may call any function of any module."""

    def read_metadata(self, *_: Any, **__: Any) -> metadata.Metadata:
        with (Path(self.path) / ".metadata").open("rb") as file:
            contents: metadata.Metadata = _Contents(file).load()
        contents.storage_meta = contents.storage_meta or metadata.StorageMeta()
        contents.storage_meta.load_id = self.load_id
        return contents


class _Contents(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if name in _NAMES.get(module, ()):
            return super().find_class(module, name)
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        raise DataError(f"its table of contents would call {module}.{name}")


_PATHS = {"Path", "PosixPath", "WindowsPath"}
_NAMES = {
    "torch": {"Size"},
    "torch.serialization": {"_get_layout"},
    "pathlib": _PATHS,
    "pathlib._local": _PATHS,
    filesystem.__name__: {"_StorageInfo"},
    metadata.__name__: {
        "BytesStorageMetadata",
        "ChunkStorageMetadata",
        "Metadata",
        "MetadataIndex",
        "StorageMeta",
        "TensorProperties",
        "TensorStorageMetadata",
        "_MEM_FORMAT_ENCODING",
    },
}
