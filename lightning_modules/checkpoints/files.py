"""Checkpoints on disk that are whole or not there: written beside their place, then moved into it.

A process may be killed at any moment, also while it writes. What a name such as `last.ckpt` leads to is then the
checkpoint before, never half of the next.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.tensor import DTensor

from datamodules.errors import DataError

EXPORTED = "regions.json"
ON_THE_BASE = ("region_encoder.", "guide.")
"""How the names of what is put on a base begin among an exported folder's weights."""

WRITING, REPLACED = ".writing", ".replaced"
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""No room on the disk, in one's share of it, or for a file of that size."""


def read_file(path: str | Path, mapped: bool = False) -> Any:
    """What a checkpoint file holds, on the CPU: values and tensors, never code.

    Args:
        path: The file.
        mapped: Leave tensors on the disk until they are looked at.

    Raises:
        DataError: It is not there, damaged, or no such file.
    """
    if not Path(path).is_file():
        raise DataError(f"no checkpoint at {path}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # a damaged archive raises whatever its first bad byte leads to
        # what torch refuses it tells how to run anyway; its reason stands behind that
        refused = re.search(r"WeightsUnpickler error:\s+(.+)", str(error))
        reason = refused[1] if refused else next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError(f"{path} is not a readable checkpoint: {reason}") from error


class WholeCheckpointIO(TorchCheckpointIO):
    """One file a checkpoint; the one before stays until the new one is complete on disk."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Writes beside `path`, waits for the disk, then replaces `path`.

        Raises:
            DataError: The disk is full.
        """
        beside = beside_place(Path(path))
        with room_for(bytes_of(checkpoint), Path(path)), beside.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        move_into_place(Path(path))

    def load_checkpoint(self, path: str | Path, *_: Any, **__: Any) -> dict[str, Any]:
        """As `read_file`, and refuses what no training of Lightning's has written."""
        if Path(path).is_dir():
            raise DataError(f"{path} is a folder: a sharded checkpoint is loaded by FullySharded, which wrote it")
        checkpoint = read_file(path)
        if not isinstance(checkpoint, dict) or "pytorch-lightning_version" not in checkpoint:
            raise DataError(f"{path} is not a checkpoint of a training")
        return checkpoint


def bytes_of(values: Any) -> int:
    """What all tensors within nested values take on this process, each storage once; of shards, those it holds."""
    return sum({storage.data_ptr(): storage.nbytes() for storage in _storages(values)}.values())


def _storages(values: Any) -> Iterator[torch.UntypedStorage]:
    if isinstance(values, torch.Tensor):
        yield (values.to_local() if isinstance(values, DTensor) else values).untyped_storage()
    elif isinstance(values, dict | list | tuple):
        for value in values.values() if isinstance(values, dict) else values:
            yield from _storages(value)


@contextmanager
def room_for(needed: int, path: Path, begun: bool = False) -> Iterator[None]:
    """Within it something is written beside `path`, which stays as it is if that fails; nothing else is left then.

    Args:
        needed: Bytes of it; where fewer are free, nothing is written.
        path: What it shall become.
        begun: Part of it may be there already, so that nobody looks at what is free.

    Raises:
        DataError: The disk is full; the message has both numbers.
    """
    if not begun and shutil.disk_usage(path.parent).free < needed:
        raise _full(needed, path)
    try:
        yield
    except BaseException as error:
        beside = path.with_name(path.name + WRITING)
        if beside.is_dir():
            shutil.rmtree(beside, ignore_errors=True)  # which every rank does at once
        else:
            beside.unlink(missing_ok=True)
        if any(isinstance(cause, OSError) and cause.errno in FULL for cause in _causes(error)):
            raise _full(needed, path) from error
        raise


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what it was raised beside: torch buries that of a file under that of an unfinished archive."""
    found: BaseException | None = error
    while found is not None:
        yield found
        if isinstance(found, CheckpointException):
            yield from (failure for failure, _ in found.failures.values())
        found = found.__cause__ or found.__context__


def _full(needed: int, path: Path) -> DataError:
    free = shutil.disk_usage(path.parent).free
    return DataError(f"{path}: no room for a checkpoint of {needed:,} bytes, {free:,} are free")


def beside_place(path: Path) -> Path:
    """Where to write what shall become `path`; what an interrupted writing has left there is gone."""
    beside = path.with_name(path.name + WRITING)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove(beside)
    return beside


def move_into_place(path: Path) -> None:
    """Puts what was written beside `path` there, a file or a folder, whatever stood there before.

    A file replaces a file in one step. A folder cannot be replaced so: the old one is moved aside first, and `recover`
    takes it back if the process is killed between the two steps.
    """
    beside, aside = path.with_name(path.name + WRITING), path.with_name(path.name + REPLACED)
    if path.is_dir() or beside.is_dir():
        _remove(aside)
        if path.exists():
            path.rename(aside)
    beside.replace(path)
    _remove(aside)


def recover(folder: Path) -> None:
    """Takes back checkpoints of `folder` that were moved aside for ones that never arrived."""
    for aside in folder.glob(f"*{REPLACED}"):
        path = aside.with_name(aside.name.removesuffix(REPLACED))
        if not path.exists():
            aside.rename(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def is_exported(path: Path) -> bool:
    """Whether `export` has written this folder."""
    return (path / EXPORTED).is_file()
