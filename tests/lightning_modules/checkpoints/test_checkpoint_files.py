"""A checkpoint is the old one or the new one, whenever the process is killed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_modules.checkpoints import files as checkpoint_files
from lightning_modules.checkpoints.files import REPLACED, WRITING, WholeCheckpointIO, move_into_place, recover


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
