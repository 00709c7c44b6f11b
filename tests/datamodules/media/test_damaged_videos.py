"""Damaged videos: a frame that is asked for is that frame, or there is one error; never another frame.

Every video here says which frame is which: eight columns are the bits of the frame's number.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from datamodules.errors import DataError
from datamodules.media.clips import check_whole, clip_of, count_frames, read_clip
from datamodules.types import Box, Clip, Frames, Region, RegionSample, Turn, Video

COUNT, GROUP, HEIGHT, WIDTH = 48, 12, 64, 96
X264 = "scenecut=0:keyint={0}:min-keyint={0}:bframes={1}:open-gop={2}:b-adapt=0:log-level=none"
LAYOUTS: dict[str, dict[str, Any]] = {
    "plain.mp4": {},
    "reordered.mp4": {"ahead": 2},
    "fragmented.mp4": {"movflags": "+frag_keyframe+empty_moov"},
    "plain.mkv": {},
    "reordered.mkv": {"ahead": 2},
    "mpeg4.mkv": {"codec": "mpeg4"},
    "mpeg4.avi": {"codec": "mpeg4"},
    "reordered.avi": {"ahead": 2},
    "vp8.webm": {"codec": "libvpx"},
    "vp9.webm": {"codec": "libvpx-vp9"},
}


def picture(number: int) -> NDArray[np.uint8]:
    pixels = np.full((HEIGHT, WIDTH, 3), 64, np.uint8)
    pixels[::2, :8] = np.random.default_rng(number).integers(0, 255, (HEIGHT // 2, 8, 1))  # no two packets are alike
    for bit in range(8):
        pixels[8:56, 8 + 10 * bit : 18 + 10 * bit] = 230 if number >> bit & 1 else 20
    return pixels


def numbers_shown(pixels: NDArray[np.uint8]) -> tuple[int, ...]:
    columns = [pixels[:, 20:44, 11 + 10 * bit : 15 + 10 * bit].mean(axis=(1, 2, 3)) > 125 for bit in range(8)]
    return tuple(sum(int(column[place]) << bit for bit, column in enumerate(columns)) for place in range(len(pixels)))


def write(
    path: Path, count: int = COUNT, codec: str = "libx264", ahead: int = 0, group: int = GROUP, **options: str
) -> Path:
    with av.open(str(path), "w", options=options) as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = group, ahead
        stream.options = {"x264-params": X264.format(group, ahead, 0), "b": "2M", "lag-in-frames": "0"}
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def packet_places(path: Path) -> list[tuple[int, int]]:
    """(position, size) in bytes of the packets in the file."""
    with av.open(str(path)) as container:
        return [(packet.pos or 0, packet.size) for packet in container.demux(video=0) if packet.size]


def zeroed(data: bytes, start: int, length: int) -> bytes:
    return data[:start] + bytes(len(data[start : start + length])) + data[start + length :]


def damaged(data: bytes, places: list[tuple[int, int]], draw: np.random.Generator) -> bytes:
    """The file cut off in a packet, without one packet's bytes, or with a hole that begins before or in it."""
    position, size = places[int(draw.integers(len(places)))]
    match draw.integers(3):
        case 0:
            return data[: position + int(draw.integers(1, size))]
        case 1:
            return zeroed(data, position, size)
    return zeroed(data, position + int(draw.integers(-300, size)), int(draw.integers(100, 4000)))


def read_or_refuse(video: Video, backend: Any) -> list[int | None]:
    """What every third frame on its own shows, None for an error; and five frames of the whole."""
    shown: list[int | None] = []
    for number in range(0, COUNT, 3):
        try:
            [first] = numbers_shown(read_clip(Video(video.path, (number, number + 1)), 1, backend=backend).pixels)
            shown.append(first)
        except DataError:
            shown.append(None)
    try:
        clip = read_clip(video, 5, backend=backend)
        assert numbers_shown(clip.pixels) == clip.frames
    except DataError:
        shown.append(None)
    return shown


@pytest.fixture(params=["decord", "pyav"])
def backend(request: pytest.FixtureRequest) -> Any:
    if request.param == "decord":
        pytest.importorskip("decord", exc_type=ImportError)
    return request.param


@pytest.mark.parametrize("cases", [6, pytest.param(40, marks=pytest.mark.slow)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_damaged_video_gives_the_frame_that_is_asked_for_or_an_error(tmp_path: Path, layout: str, cases: int) -> None:
    """Regression: where packets were lost, frames were counted without them: a box of frame 64 lay on frame 86."""
    pytest.importorskip("decord", exc_type=ImportError)
    path = write(tmp_path / layout, **LAYOUTS[layout])
    assert read_or_refuse(Video(path), "decord") == read_or_refuse(Video(path), "pyav") == list(range(0, COUNT, 3))
    data, places, draw = path.read_bytes(), packet_places(path), np.random.default_rng(0)
    for _ in range(cases):
        path.write_bytes(damaged(data, places, draw))
        found = read_or_refuse(Video(path), "pyav")
        assert found == read_or_refuse(Video(path), "decord")
        assert all(shown in (number, None) for number, shown in zip(range(0, COUNT, 3), found, strict=False))


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
@pytest.mark.parametrize("lost", [0, 3, 8, 12])
def test_a_zeroed_packet_takes_no_number_away(tmp_path: Path, backend: Any, lost: int, codec: str) -> None:
    """Regression: without the first packet 16 of 24 frames were counted, and frame 8 was called frame 0."""
    path = write(tmp_path / "video.mp4", 24, codec, group=8)
    path.write_bytes(zeroed(path.read_bytes(), *packet_places(path)[lost]))
    for number in (lost, 8 * (lost // 8) + 7):  # the lost one, and the last that builds on it
        with pytest.raises(DataError, match=f"video.mp4: frame {number} of 24 does not decode, though later ones do"):
            read_clip(Video(path, (number, 24)), 2, backend=backend)
    with pytest.raises(DataError, match=f"frame {lost} of 24 does not decode"):
        count_frames(Video(path))
    clip = read_clip(Video(path, (16, 24)), 4, backend=backend)
    assert clip.frames == numbers_shown(clip.pixels) == (16, 18, 21, 23)
    assert clip.length == 24


@pytest.mark.parametrize("layout", ["plain.mkv", "mpeg4.avi"])
def test_a_hole_moves_no_later_frame(tmp_path: Path, backend: Any, layout: str) -> None:
    path = write(tmp_path / layout, 100, **LAYOUTS[layout])
    path.write_bytes(zeroed(path.read_bytes(), packet_places(path)[64][0] - 300, 1500))
    clip = read_clip(Video(path, (84, 100)), 3, backend=backend)
    assert clip.frames == numbers_shown(clip.pixels) == (84, 92, 99)
    with pytest.raises(DataError, match=f"{layout}: frame 64 of 100 does not decode, though later ones do"):
        read_clip(Video(path), 4, prompted=(64,), backend=backend)


def test_pictures_that_build_on_a_group_that_was_cut_off_do_not_count(tmp_path: Path, backend: Any) -> None:
    """They stand behind the first key frame and are shown before it; no decoder shows them."""
    source, path = tmp_path / "whole.mkv", tmp_path / "cut.mkv"
    with av.open(str(source), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {"x264-params": X264.format(GROUP, 3, 1)}
        for number in range(COUNT):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number), format="rgb24")))
        container.mux(stream.encode())
    with av.open(str(source)) as whole, av.open(str(path), "w") as cut:
        target = cut.add_stream_from_template(whole.streams.video[0])
        packets = [packet for packet in whole.demux(video=0) if packet.size]
        second = [place for place, packet in enumerate(packets) if packet.is_keyframe][1]
        first = min(packet.pts or 0 for packet in packets[second:])
        for packet in packets[second:]:
            assert packet.pts is not None and packet.dts is not None
            packet.pts, packet.dts, packet.stream = packet.pts - first, packet.dts - first, target
            cut.mux_one(packet)
    clip = read_clip(Video(path), 3, backend=backend)
    first_shown = numbers_shown(clip.pixels)[0]
    assert clip.frames[0] == 0
    assert [shown - first_shown for shown in numbers_shown(clip.pixels)] == list(clip.frames)
    assert clip.length == count_frames(Video(path)) == COUNT - first_shown


# --- what the doctor says of them -----------------------------------------------------------------------------------


def without_tail(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: packet_places(path)[30][0] + 1])


def with_hole(path: Path) -> None:
    path.write_bytes(zeroed(path.read_bytes(), packet_places(path)[14][0] - 20, 1500))


def without_first(path: Path) -> None:
    path.write_bytes(zeroed(path.read_bytes(), *packet_places(path)[0]))


@pytest.mark.parametrize(
    ("layout", "damage", "problem"),
    [
        ("fragmented.mp4", without_tail, "has 30 of 31 frames, the others are lost or damaged"),
        ("plain.mkv", without_tail, "has 30 frames, its duration promises 48"),
        ("plain.mkv", with_hole, r"jumps from 0\.52 s to 0\.96 s, 1 jumps in 38 frames at a constant rate"),
        ("mpeg4.avi", with_hole, r"has 4\d frames, its header promises 48"),
        ("plain.mp4", without_first, "has 36 of 48 frames, the others are lost or damaged"),
    ],
)
def test_the_doctor_hears_of_frames_that_reading_does_without(
    tmp_path: Path, layout: str, damage: Callable[[Path], None], problem: str
) -> None:
    options = {"movflags": "+faststart"} if layout == "plain.mp4" else LAYOUTS[layout]
    path = write(tmp_path / layout, **options)
    video = Video(path)
    check_whole(video, read_clip(video, 2))
    damage(path)
    with pytest.raises(DataError, match=rf"{layout}: ({problem})"):
        check_whole(video, read_clip(Video(path, (GROUP * 2, GROUP * 2 + 4)), 2))


def sample_of(media: Video | Frames, *frames: int) -> RegionSample:
    region = Region.at(Box((1, 1, 9, 9)), 0, track={frame: Box((1, 1, 9, 9)) for frame in frames})
    return RegionSample("a", media, (region,), (Turn("what", "it"),))


def test_a_track_behind_the_last_frame_is_an_error(tmp_path: Path) -> None:
    """Regression: a track of another or a longer video was laid on what there is, and its end on nothing."""
    path = write(tmp_path / "video.mp4", 12)
    clip = clip_of(sample_of(Video(path), 5, 11), 2)
    assert isinstance(clip, Clip) and clip.length == 12
    with pytest.raises(DataError, match=r"region 0 has frame 12 in its track, .*video\.mp4 has 12"):
        clip_of(sample_of(Video(path, (0, 4)), 5, 12), 2)
