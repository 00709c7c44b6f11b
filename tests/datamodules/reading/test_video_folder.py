"""Videos by name."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from datamodules.errors import DataError
from datamodules.reading.video_folder import VideoFolder

FILES = ("b.mkv", "b.mp4", "a.webm", "class one/a_000001_000011.mp4", "ab.mp4", "c.txt", "é_1.mp4")


@pytest.fixture
def folder(tmp_path: Path) -> VideoFolder:
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return VideoFolder.scan(tmp_path)


def test_by_name_with_any_suffix_in_any_folder(folder: VideoFolder) -> None:
    assert folder.named("a") == folder.path / "a.webm"
    assert folder.named("b") == folder.path / "b.mkv"
    assert folder.named("a_000001_000011") == folder.path / "class one" / "a_000001_000011.mp4"
    assert [folder.named(name) for name in ("c", "B", "", "a\0", "../a", "a.webm")] == [None] * 6


def test_by_the_beginning_of_the_name(folder: VideoFolder) -> None:
    assert folder.starting("a_") == [folder.path / "class one" / "a_000001_000011.mp4"]
    assert [path.name for path in folder.starting("a")] == ["a.webm", "a_000001_000011.mp4", "ab.mp4"]
    assert folder.starting("é") == [folder.path / "é_1.mp4"]
    assert pickle.loads(pickle.dumps(folder)).starting("z") == []


def test_an_empty_folder_and_none(tmp_path: Path) -> None:
    assert VideoFolder.scan(tmp_path).named("a") is None
    with pytest.raises(DataError, match=r"nowhere: No such file"):
        VideoFolder.scan(tmp_path / "nowhere")
