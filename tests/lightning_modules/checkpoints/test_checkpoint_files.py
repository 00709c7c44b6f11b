"""A checkpoint is the old one or the new one, whenever the process is killed."""

from __future__ import annotations

import errno
import io
import os
import resource
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from datamodules.errors import DataError
from lightning_modules.checkpoints import files as checkpoint_files
from lightning_modules.checkpoints.files import (
    REPLACED,
    WRITING,
    WholeCheckpointIO,
    bytes_of,
    move_into_place,
    recover,
)


class Killed(BaseException):
    """What nothing catches."""


def _load(path: Path) -> Any:
    return torch.load(path, weights_only=True)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_half_written_file_is_never_picked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    path = tmp_path / "checkpoints" / "last.ckpt"
    WholeCheckpointIO().save_checkpoint({"step": 1}, path)

    def half(checkpoint: Any, file: Any) -> None:
        whole = io.BytesIO()
        save(checkpoint, whole)
        file.write(whole.getvalue()[: int(share * whole.tell())])
        file.flush()
        raise Killed

    save = torch.save
    monkeypatch.setattr(checkpoint_files.torch, "save", half)
    with pytest.raises(Killed):
        WholeCheckpointIO().save_checkpoint({"step": 2}, path)
    monkeypatch.undo()
    assert _load(path) == {"step": 1}
    WholeCheckpointIO().save_checkpoint({"step": 3}, path)
    assert _load(path) == {"step": 3}
    assert [item.name for item in path.parent.iterdir()] == ["last.ckpt"]


def _folder(path: Path, text: str) -> None:
    path.mkdir()
    (path / "meta.pt").write_text(text)


def test_a_folder_replaces_a_folder_and_a_file(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    for number, text in enumerate(("one", "two")):
        if number == 0:
            path.write_text("a file")
        _folder(tmp_path / f"last.ckpt{WRITING}", text)
        move_into_place(path)
        assert (path / "meta.pt").read_text() == text
        assert list(tmp_path.iterdir()) == [path]


def test_what_was_moved_aside_comes_back(tmp_path: Path) -> None:
    """Killed between the two moves: the old one is aside, the new one still beside."""
    _folder(tmp_path / f"last.ckpt{REPLACED}", "old")
    _folder(tmp_path / f"last.ckpt{WRITING}", "new")
    recover(tmp_path)
    assert (tmp_path / "last.ckpt" / "meta.pt").read_text() == "old"
    recover(tmp_path)
    _folder(tmp_path / f"last.ckpt{REPLACED}", "older")
    recover(tmp_path)
    assert (tmp_path / "last.ckpt" / "meta.pt").read_text() == "old"


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A checkpoint on a disk that is full afterwards."""
    path = tmp_path / "last.ckpt"
    WholeCheckpointIO().save_checkpoint({"step": 1}, path)
    return path


NEXT = {"step": 2, "state_dict": {"weight": torch.zeros(2**20), "same": torch.zeros(0)}}  # 4 MiB


def refused(path: Path) -> str:
    """The error of the next checkpoint, after which the one before is all there is."""
    with pytest.raises(DataError) as raised:
        WholeCheckpointIO().save_checkpoint(NEXT, path)
    assert _load(path) == {"step": 1}
    assert list(path.parent.iterdir()) == [path]
    return str(raised.value)


def test_a_checkpoint_that_does_not_fit_is_not_begun(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was begun, and what was written stayed on the full disk."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=4_000_000))
    assert refused(saved) == f"{saved}: no room for a checkpoint of 4,194,304 bytes, 4,000,000 are free"


def test_a_disk_that_is_full_in_the_middle_of_writing_leaves_no_remains(saved: Path) -> None:
    """It was an error of an archive at an unexpected position."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, before[1]))
    try:
        said = refused(saved)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert said.startswith(f"{saved}: no room for a checkpoint of 4,194,304 bytes, ")


def test_a_disk_that_is_full_when_it_is_waited_for(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert "no room for a checkpoint" in refused(saved)


def test_a_storage_that_two_weights_share_is_counted_once() -> None:
    weight = torch.zeros(10)
    assert bytes_of({"a": weight, "b": [weight[:5], torch.zeros(3, dtype=torch.int8)], "step": 1}) == 43
