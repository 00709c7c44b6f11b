"""Media: which source frames come back, upright, the same from both decoders, and only from what decodes.

The videos written here say which frame is which: frame i is grey of level 16 + 7 i, with a red corner at its top left.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from datamodules.errors import DataError
from datamodules.media import video_backends
from datamodules.media.clips import count_frames, frame_size, read_clip, sample_frames
from datamodules.types import Frames, Media, Pixels, Video

LENGTH, HEIGHT, WIDTH = 30, 48, 64
CLOSED = "scenecut=0:keyint=10:min-keyint=10:bframes={}:open-gop=0:log-level=none"
OPEN = "scenecut=0:keyint=10:min-keyint=10:bframes=3:b-adapt=0:open-gop=1:log-level=none"
FILLER = {"libx264": b"\x0c", "libx265": b"\x4c\x01"}
"""Headers of units that carry no picture: H.264 decoders refuse them, HEVC decoders say nothing."""


@pytest.fixture(params=["decord", "pyav"])
def backend(request: pytest.FixtureRequest) -> str:
    if request.param == "decord":
        pytest.importorskip("decord", exc_type=ImportError)
    return str(request.param)


def grey(number: int) -> int:
    return 16 + 7 * number


def numbers_shown(pixels: NDArray[np.uint8]) -> tuple[int, ...]:
    """Which frames of the videos written here these are, by the grey in their middle."""
    middle = pixels[:, pixels.shape[1] // 2, pixels.shape[2] // 2].mean(axis=-1)
    return tuple(round((level - 16) / 7) for level in middle.tolist())


def picture(number: int, height: int, width: int) -> NDArray[np.uint8]:
    pixels = np.full((height, width, 3), grey(number), np.uint8)
    pixels[: height // 4, : width // 4] = (255, 0, 0)
    return pixels


def write_video(
    path: Path,
    params: str = CLOSED.format(0),
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    width: int = WIDTH,
    times: Callable[[int], int] = int,
    **container_options: str,
) -> Path:
    with av.open(str(path), "w", options=container_options) as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = width, HEIGHT, pixel_format
        stream.codec_context.gop_size = 10
        stream.codec_context.max_b_frames = 2 if params == CLOSED.format(2) else 0
        kind = {"libx264": "x264-params", "libx265": "x265-params"}.get(codec)
        stream.options = {kind: params, "crf": "5"} if kind else {"b": "2M"}
        for number in range(LENGTH):
            frame = av.VideoFrame.from_ndarray(picture(number, HEIGHT, width), format="rgb24")
            frame.pts, frame.time_base = times(number), Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def packet_places(path: Path) -> list[tuple[int, int]]:
    """(position, size) in bytes of the packets in the file."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        return [(packet.pos or 0, packet.size) for packet in packets]


def cut_before(path: Path, number: int) -> Path:
    """Cut the file one byte into a packet."""
    path.write_bytes(path.read_bytes()[: packet_places(path)[number][0] + 1])
    return path


def blank(path: Path, numbers: range, header: bytes) -> Path:
    """Overwrite packets of an mp4 with units of the same size that hold no picture."""
    data, places = bytearray(path.read_bytes()), packet_places(path)
    for position, size in (places[number] for number in numbers):
        unit = header + b"\xff" * (size - 4 - len(header))
        data[position : position + size] = struct.pack(">I", len(unit)) + unit
    path.write_bytes(data)
    return path


def rotate(path: Path, degrees: int) -> Path:
    """Ask in an mp4's track header for a clockwise turn."""
    cos, sin = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    data = bytearray(path.read_bytes())
    matrix = data.find(b"tkhd") + 4 + 40
    data[matrix : matrix + 20] = struct.pack(">5i", *(65536 * value for value in (cos, sin, 0, -sin, cos)))
    path.write_bytes(data)
    return path


# --- which frames ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "last", "num_frames", "prompted", "expected"),
    [
        (0, 30, 4, (), (0, 10, 19, 29)),  # 0, 9.67, 19.33, 29
        (100, 196, 4, (), (100, 132, 163, 195)),  # 100, 131.67, 163.33, 195
        (0, 30, 1, (), (0,)),
        (0, 30, 1, (17,), (17,)),
        (0, 3, 8, (), (0, 1, 2)),
        (7, 8, 4, (7, 7), (7,)),
        (0, 30, 4, (10,), (0, 10, 19, 29)),
        (0, 30, 4, (12,), (0, 12, 19, 29)),
        (0, 30, 4, (1, 2), (1, 2, 19, 29)),  # 0 makes room for 1, then 10 for 2
        (0, 30, 4, (11, 10), (0, 10, 11, 29)),  # 10 is prompted itself: 19 makes room for 11
        (0, 30, 4, (28, 3, 2, 1), (1, 2, 3, 28)),
    ],
)
def test_frames_are_sampled_as_worked_by_hand(
    first: int, last: int, num_frames: int, prompted: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    assert sample_frames(first, last, num_frames, prompted) == expected


def test_sampling_keeps_its_promises_on_every_small_case() -> None:
    for last, num_frames in ((last, num) for last in range(4, 10) for num in range(1, 7)):
        uniform = sample_frames(3, last, num_frames)
        assert len(uniform) == min(num_frames, last - 3)
        assert uniform[0] == 3
        assert num_frames == 1 or uniform[-1] == last - 1
        steps = np.diff(uniform)
        assert (steps > 0).all()
        assert len(steps) == 0 or steps.max() - steps.min() <= 1
        for count in range(len(uniform) + 1):
            for prompted in combinations(range(3, last), count):
                frames = sample_frames(3, last, num_frames, prompted)
                assert sorted(set(frames)) == list(frames)
                assert len(frames) == len(uniform)
                assert set(prompted) <= set(frames) <= set(uniform) | set(prompted)


@pytest.mark.parametrize(
    ("num_frames", "prompted", "message"),
    [
        (2, (4, 5, 6), "3 frames are prompted, but 2 are sampled"),
        (4, (20,), r"prompted frame 20 is outside \[3, 20\)"),
        (4, (5, 2), r"prompted frame 2 is outside \[3, 20\)"),
        (0, (), r"cannot sample 0 frames from \[3, 20\)"),
    ],
)
def test_a_request_that_cannot_be_met_names_both_numbers(
    num_frames: int, prompted: tuple[int, ...], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        sample_frames(3, 20, num_frames, prompted)


# --- videos ---------------------------------------------------------------------------------------------------------

LAYOUTS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("mp4", {}),
    "b_frames": ("mp4", {"params": CLOSED.format(2)}),
    "fragmented": ("mp4", {"params": CLOSED.format(2), "movflags": "+frag_keyframe+empty_moov"}),
    "variable_rate": ("mp4", {"times": lambda number: number + number**2 // 7}),
    "matroska": ("mkv", {"params": CLOSED.format(2)}),
    "full_chroma": ("mp4", {"pixel_format": "yuv444p"}),
    # decord pads rows of 48 pixels to 64 and calls them 48 pixels of 4 channels; get_batch fails
    "padded_rows": ("mp4", {"width": 48}),
    # from here on decord hands out other frames or colours, without a word
    "open_groups": ("mp4", {"params": OPEN}),
    "hevc_open_groups": ("mp4", {"params": OPEN, "codec": "libx265"}),
    "avi": ("avi", {}),
    "avi_b_frames": ("avi", {"params": CLOSED.format(2)}),
    "mpegts": ("ts", {"params": CLOSED.format(2)}),
    "ten_bits": ("mp4", {"pixel_format": "yuv420p10le"}),
    "vp8": ("webm", {"codec": "libvpx"}),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_frame_comes_back_as_itself(tmp_path: Path, backend: Any, layout: str) -> None:
    suffix, options = LAYOUTS[layout]
    path = write_video(tmp_path / f"video.{suffix}", **options)
    for number in range(LENGTH):
        clip = read_clip(Video(path, (number, number + 1)), 1, backend=backend)
        assert clip.frames == numbers_shown(clip.pixels) == (number,)
    clip = read_clip(Video(path), 7, backend=backend)
    assert clip.frames == numbers_shown(clip.pixels) == (0, 5, 10, 14, 19, 24, 29)
    assert clip.pixels.shape == (7, HEIGHT, options.get("width", WIDTH), 3)
    assert clip.pixels.dtype == np.uint8
    assert count_frames(Video(path)) == LENGTH


def test_a_healthy_video_is_only_sought_in(tmp_path: Path, backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a healthy video needs no detour")

    other_decoder = "_decode_by_seeking" if backend == "decord" else "_decode_with_decord"
    for detour in ("count_frames", "_decode_in_order", other_decoder):
        monkeypatch.setattr(video_backends, detour, refuse)
    clip = read_clip(Video(write_video(tmp_path / "video.mp4")), 4, backend=backend)
    assert numbers_shown(clip.pixels) == (0, 10, 19, 29)


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuvj420p", "yuv422p", "yuv444p", "yuv420p10le"])
@pytest.mark.parametrize("degrees", [0, 90])
def test_both_decoders_give_the_same_pixels(tmp_path: Path, pixel_format: str, degrees: int) -> None:
    pytest.importorskip("decord", exc_type=ImportError)
    video = Video(rotate(write_noise(tmp_path / "video.mp4", pixel_format), degrees))
    decord, pyav = (read_clip(video, 5, backend=backend) for backend in ("decord", "pyav"))
    assert decord.frames == pyav.frames
    np.testing.assert_array_equal(decord.pixels, pyav.pixels)


def write_noise(path: Path, pixel_format: str) -> Path:
    noise = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.options = 50, 34, pixel_format, {"g": "4"}
        for _ in range(10):
            coarse = Image.fromarray(noise.integers(0, 256, (9, 13, 3), np.uint8))
            frame = av.VideoFrame.from_ndarray(np.asarray(coarse.resize((50, 34))), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_is_applied(tmp_path: Path, backend: Any, degrees: int) -> None:
    path = write_video(tmp_path / "video.mp4")
    upright = read_clip(Video(path), 4, backend=backend)
    turned = read_clip(Video(rotate(path, degrees)), 4, backend=backend)
    assert turned.frames == upright.frames
    np.testing.assert_array_equal(turned.pixels, np.rot90(upright.pixels, -degrees // 90, axes=(1, 2)))
    assert frame_size(Video(path)) == turned.pixels.shape[1:3]
    corners = {90: (2, -3), 180: (-3, -3), 270: (-3, 2)}
    red = turned.pixels[0, corners[degrees][0], corners[degrees][1]]
    assert red[0] > 200
    assert red[1:].max() < 60


def test_frames_hidden_by_an_edit_list_do_not_count(tmp_path: Path, backend: Any) -> None:
    source, path = write_video(tmp_path / "whole.mp4"), tmp_path / "trimmed.mp4"
    with av.open(str(source)) as whole, av.open(str(path), "w") as trimmed:
        stream = trimmed.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(video=0):
            if packet.pts is not None and packet.dts is not None:
                hidden = 5 * (packet.duration or 0)
                packet.pts, packet.dts = packet.pts - hidden, packet.dts - hidden
                packet.stream = stream
                trimmed.mux(packet)
    clip = read_clip(Video(path), 4, backend=backend)
    assert clip.frames == (0, 8, 16, 24)
    assert numbers_shown(clip.pixels) == (5, 13, 21, 29)
    assert count_frames(Video(path)) == 25


def test_a_recording_that_starts_between_key_frames_starts_at_the_next(tmp_path: Path, backend: Any) -> None:
    path = write_video(tmp_path / "video.ts")
    packets, tables = path.read_bytes(), 3 * 188
    path.write_bytes(packets[:tables] + packets[packet_places(path)[4][0] :])
    clip = read_clip(Video(path), 4, backend=backend)
    assert clip.frames == (0, 6, 13, 19)
    assert numbers_shown(clip.pixels) == (10, 16, 23, 29)
    assert count_frames(Video(path)) == 20


# --- videos that promise more than they hold ------------------------------------------------------------------------


def cut_mp4(path: Path) -> Path:
    return cut_before(write_video(path.with_suffix(".mp4"), movflags="+faststart"), 20)


def cut_mpegts(path: Path) -> Path:
    return cut_before(write_video(path.with_suffix(".ts")), 20)


def cut_matroska(path: Path) -> Path:
    return cut_before(write_video(path.with_suffix(".mkv")), 20)


def refused_tail(path: Path) -> Path:
    return blank(write_video(path.with_suffix(".mp4")), range(20, LENGTH), FILLER["libx264"])


def silent_tail(path: Path) -> Path:
    """Decord hands out earlier frames in place of these, without a word."""
    return blank(write_video(path.with_suffix(".mp4"), codec="libx265"), range(20, LENGTH), FILLER["libx265"])


@pytest.mark.parametrize("damage", [cut_mp4, cut_mpegts, cut_matroska, refused_tail, silent_tail])
def test_frames_are_sampled_from_those_that_decode(
    tmp_path: Path, backend: Any, damage: Callable[[Path], Path]
) -> None:
    video = Video(damage(tmp_path / "video"))
    clip = read_clip(video, 4, prompted=(7,), backend=backend)
    assert clip.frames == numbers_shown(clip.pixels) == (0, 7, 13, 19)
    assert count_frames(video) == 20
    with pytest.raises(DataError, match=r"video\.\w+: prompted frame 20 is outside \[0, 20\)"):
        read_clip(video, 4, prompted=(20,), backend=backend)
    with pytest.raises(DataError, match=r"video\.\w+: span \[10, 21\) is not within its 20 frames"):
        read_clip(Video(video.path, (10, 21)), 4, backend=backend)


def test_a_gap_in_the_middle_is_an_error_and_never_another_frame(tmp_path: Path, backend: Any) -> None:
    path = blank(write_video(tmp_path / "video.mp4"), range(14, 15), FILLER["libx264"])
    message = "video.mp4: frame 14 of 30 does not decode, though later ones do"
    with pytest.raises(DataError, match=message):
        read_clip(Video(path), 4, prompted=(14,), backend=backend)
    with pytest.raises(DataError, match=message):
        count_frames(Video(path))
    clip = read_clip(Video(path, (20, 30)), 4, backend=backend)
    assert clip.frames == numbers_shown(clip.pixels) == (20, 23, 26, 29)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        (b"", "Invalid data"),
        (b"no video at all" * 100, "Invalid data"),
    ],
)
def test_what_is_no_video_is_one_error_naming_the_file(
    tmp_path: Path, backend: Any, content: bytes | None, message: str
) -> None:
    path = tmp_path / "video.mp4"
    if content is not None:
        path.write_bytes(content)
    for ask in (lambda media: read_clip(media, 4, backend=backend), count_frames, frame_size):
        with pytest.raises(DataError, match=rf"video\.mp4: cannot be opened as a video: {message}"):
            ask(Video(path))


def test_a_file_without_a_video_stream_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
    with pytest.raises(DataError, match=r"sound\.wav: holds no video"):
        read_clip(Video(path), 4)


def test_a_video_of_which_nothing_decodes_is_an_error(tmp_path: Path, backend: Any) -> None:
    path = blank(write_video(tmp_path / "video.mp4"), range(LENGTH), FILLER["libx264"])
    with pytest.raises(DataError, match=r"video\.mp4: has 0 frames"):
        read_clip(Video(path), 4, backend=backend)
    with pytest.raises(DataError, match=r"video\.mp4: has 0 frames"):
        frame_size(Video(path))
    assert count_frames(Video(path)) == 0


def test_a_decoder_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = Video(write_video(tmp_path / "video.mp4"))
    backend: Any = "opencv"
    with pytest.raises(DataError, match="'opencv' is none of"):
        read_clip(video, 4, backend=backend)
    monkeypatch.setitem(sys.modules, "decord", None)
    monkeypatch.setattr(video_backends, "_has_decord", video_backends._has_decord.__wrapped__)
    assert read_clip(video, 4).frames == (0, 10, 19, 29)
    with pytest.raises(DataError, match="'decord' is not installed"):
        read_clip(video, 4, backend="decord")


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts open files where the system lists them")
def test_files_are_closed_again(tmp_path: Path, backend: Any) -> None:
    healthy, damaged = write_video(tmp_path / "healthy.mp4"), refused_tail(tmp_path / "damaged")

    def open_files() -> int:
        for path in (healthy, damaged):
            read_clip(Video(path), 4, backend=backend)
            frame_size(Video(path))
        return len(list(Path("/proc/self/fd").iterdir()))

    assert open_files() == open_files()


# --- still pictures and frames in memory ----------------------------------------------------------------------------


def write_frames(folder: Path, count: int = LENGTH) -> Frames:
    paths = tuple(folder / f"{number:03d}.png" for number in range(count))
    for number, path in enumerate(paths):
        Image.fromarray(picture(number, HEIGHT, WIDTH)).save(path)
    return Frames(paths)


def all_kinds(folder: Path) -> Iterator[Media]:
    frames = write_frames(folder)
    yield frames
    yield Pixels(np.stack([np.asarray(Image.open(path)) for path in frames.paths]))
    yield Video(write_video(folder / "video.mp4"))


def test_all_kinds_of_media_are_sampled_alike(tmp_path: Path) -> None:
    for media in all_kinds(tmp_path):
        clip = read_clip(media, 4)
        assert clip.frames == numbers_shown(clip.pixels) == (0, 10, 19, 29)
        clip = read_clip(media, 4, prompted=(12, 12))
        assert clip.frames == numbers_shown(clip.pixels) == (0, 12, 19, 29)
        assert count_frames(media) == LENGTH
        assert frame_size(media) == (HEIGHT, WIDTH)


def test_a_span_restricts_all_kinds_of_media(tmp_path: Path) -> None:
    for media in all_kinds(tmp_path):
        kind: Any = type(media)
        source = media.array if isinstance(media, Pixels) else media.paths if isinstance(media, Frames) else media.path
        clip = read_clip(kind(source, (10, 20)), 4, prompted=(15,))
        assert clip.frames == numbers_shown(clip.pixels) == (10, 13, 15, 19)
        assert count_frames(kind(source, (10, 20))) == LENGTH
        for first, last in ((10, 31), (-1, 5), (5, 5), (20, 10)):
            with pytest.raises(DataError, match=rf"span \[{first}, {last}\) is not within its 30 frames"):
                read_clip(kind(source, (first, last)), 4)
        with pytest.raises(DataError, match=r": prompted frame 9 is outside \[10, 20\)"):
            read_clip(kind(source, (10, 20)), 4, prompted=(9,))
        with pytest.raises(DataError, match=": 3 frames are prompted, but 2 are sampled"):
            read_clip(media, 2, prompted=(1, 2, 3))


UPRIGHT_FROM_STORED: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    1: lambda stored: stored,
    3: lambda stored: np.rot90(stored, 2),
    6: lambda stored: np.rot90(stored, -1),
    8: lambda stored: np.rot90(stored, 1),
    2: np.fliplr,
    4: np.flipud,
    5: lambda stored: stored.transpose(1, 0, 2),
}


@pytest.mark.parametrize("orientation", UPRIGHT_FROM_STORED)
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    stored = np.random.default_rng(0).integers(0, 256, (5, 8, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / "image.png", exif=exif)
    image = Frames((tmp_path / "image.png",))
    clip = read_clip(image, 4)
    np.testing.assert_array_equal(clip.pixels, UPRIGHT_FROM_STORED[orientation](stored)[None])
    assert clip.frames == (0,)
    assert frame_size(image) == clip.pixels.shape[1:3]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_every_mode_of_picture_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
    Image.fromarray(picture(0, 8, 8)).convert(mode).save(path)
    pixels = read_clip(Frames((path,)), 1).pixels
    assert pixels.shape == (1, 8, 8, 3)
    assert pixels.dtype == np.uint8
    colourful = mode not in ("1", "L", "LA")
    assert pixels[0, 0, 0].tolist() == ([255, 0, 0] if colourful else pixels[0, 0, :1, :1].tolist()[0] * 3)


def test_sixteen_bit_grey_is_scaled_and_unbounded_grey_refused(tmp_path: Path) -> None:
    grey16 = np.array([[0, 255, 256, 32768, 65535]], np.uint16)
    Image.fromarray(grey16).save(tmp_path / "grey16.png")
    pixels = read_clip(Frames((tmp_path / "grey16.png",)), 1).pixels
    np.testing.assert_array_equal(pixels[0, 0, :, 1], [0, 0, 1, 128, 255])
    assert pixels.shape == (1, 1, 5, 3)
    Image.fromarray(grey16.astype(np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(DataError, match=r"float\.tif: .*mode 'F' have no range"):
        read_clip(Frames((tmp_path / "float.tif",)), 1)


def test_frames_of_different_size_are_an_error_with_both_sizes(tmp_path: Path) -> None:
    frames = write_frames(tmp_path, 3)
    Image.new("RGB", (WIDTH, HEIGHT + 1)).save(frames.paths[1])
    with pytest.raises(DataError, match=r"001\.png: is 49x64 \(height x width\), but .*000\.png is 48x64"):
        read_clip(frames, 3)


@pytest.mark.parametrize("content", [None, b"", b"no image", "truncated"])
def test_an_image_that_cannot_be_read_is_one_error_naming_the_file(tmp_path: Path, content: bytes | str | None) -> None:
    path = tmp_path / "image.jpg"
    if content == "truncated":
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(path)
        path.write_bytes(path.read_bytes()[:800])
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"image\.jpg: cannot be read as an image"):
        read_clip(Frames((path,)), 1)


def test_frames_in_memory_are_checked() -> None:
    wrong: list[Any] = [np.zeros((2, 4, 4, 3)), np.zeros((4, 4, 3), np.uint8), np.zeros((2, 3, 4, 4), np.uint8)]
    for array in wrong:
        with pytest.raises(DataError, match=r"is not uint8 \(T, H, W, 3\)"):
            read_clip(Pixels(array), 1)
    with pytest.raises(DataError, match="has 0 frames"):
        read_clip(Pixels(np.zeros((0, 4, 4, 3), np.uint8)), 1)
    with pytest.raises(DataError, match="has 0 frames"):
        read_clip(Frames(()), 1)
    with pytest.raises(DataError, match="has 0 frames"):
        frame_size(Frames(()))


# --- real videos ----------------------------------------------------------------------------------------------------

REAL_VIDEOS = ["videos/dog.mp4", "videos/clip_3.mp4", "videos/clip_2.avi", "cutie/example.mp4", "dam_video/1.mp4"]


@pytest.mark.real_data
@pytest.mark.parametrize("name", REAL_VIDEOS)
def test_real_videos_read_out_of_order_as_from_the_start(real_data: Path, name: str, backend: Any) -> None:
    """Decord took frame 13 for frame 60 of clip_2.avi: it loses its place when it seeks in AVI."""
    path = real_data / name
    with av.open(str(path)) as container:
        wanted = (0, 60, 61, 116)
        frames = {number: frame for number, frame in enumerate(container.decode(video=0)) if number in wanted}
    for number, frame in frames.items():
        clip = read_clip(Video(path, (number, number + 1)), 1, backend=backend)
        difference = clip.pixels[0].astype(int) - frame.to_ndarray(format="rgb24")
        assert np.abs(difference).max() <= 2
