"""Seconds of a video as its frames."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest

from datamodules.errors import DataError
from datamodules.reading.frame_times import FrameTimes
from moving_squares import save_video, squares


def _save(path: Path, codec: str, times: list[int]) -> None:
    """Frames shown at so many tenths of a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width = 40, 56
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 10)
        for time, picture in zip(times, squares(0).frames, strict=False):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = time
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_constant_rate(tmp_path: Path, name: str) -> None:
    save_video(tmp_path / name, squares(0).frames)
    times = FrameTimes.read(tmp_path / name)
    assert times.seconds.tolist() == [frame / 4 for frame in range(9)]
    assert [times.shown_at(second) for second in (0, 0.24, 0.25, 0.49, 2, 2.9)] == [0, 0, 1, 1, 8, 8]
    assert [times.nearest(second) for second in (0, 0.12, 0.13, 0.37, 2, 2.9)] == [0, 0, 1, 1, 8, 8]
    assert [times.span(*range_) for range_ in ((0.3, 0.5), (-1, 0.1), (1.9, 99))] == [(1, 3), (0, 1), (7, 9)]


def test_a_rate_that_changes(tmp_path: Path) -> None:
    _save(tmp_path / "a.mkv", "libx264", [0, 1, 5, 6, 12, 14, 17])
    times = FrameTimes.read(tmp_path / "a.mkv")
    assert [times.shown_at(second) for second in (0.1, 0.45, 0.5)] == [1, 1, 2]
    assert times.nearest(0.45) == 2


def test_without_times_the_mean_rate_counts(tmp_path: Path) -> None:
    _save(tmp_path / "a.webm", "libvpx", list(range(8)))
    times = FrameTimes.read(tmp_path / "a.webm")
    assert times.seconds == pytest.approx([frame / 10 for frame in range(8)])


def test_errors_name_the_file(tmp_path: Path) -> None:
    save_video(tmp_path / "a.mp4", squares(0).frames)
    times = FrameTimes.read(tmp_path / "a.mp4")
    with pytest.raises(DataError, match=r"a\.mp4: shows nothing at 3\.1 s, its last frame is at 2 s"):
        times.shown_at(3.1)
    with pytest.raises(DataError, match=r"a\.mp4: shows nothing at -0\.1 s"):
        times.nearest(-0.1)
    (tmp_path / "b.mp4").write_bytes(b"no video")
    with pytest.raises(DataError, match=r"b\.mp4: cannot be opened as a video"):
        FrameTimes.read(tmp_path / "b.mp4")
