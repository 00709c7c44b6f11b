"""Still pictures: which files are some, how large they are upright, and in which order a folder has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from datamodules.errors import DataError
from datamodules.formats.videorefer_objects import video_media
from datamodules.media.clips import frame_size, media_at, read_clip
from datamodules.types import Frames, Video

TAGGED = {"JPEG": "jpg", "PNG": "png", "TIFF": "tif", "WEBP": "webp", "AVIF": "avif"}
OTHERS = {
    "MPO": "mpo",
    "GIF": "gif",
    "TGA": "tga",
    "ICO": "ico",
    "BMP": "bmp",
    "DIB": "dib",
    "PPM": "ppm",
    "QOI": "qoi",
}
PIXELS = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
TURNED = {
    2: np.fliplr(PIXELS),
    3: np.rot90(PIXELS, 2),
    4: np.flipud(PIXELS),
    5: PIXELS.transpose(1, 0, 2),
    6: np.rot90(PIXELS, -1),
    7: np.rot90(PIXELS, 2).transpose(1, 0, 2),
    8: np.rot90(PIXELS, 1),
}


def exif(orientation: Any) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


@pytest.mark.parametrize("name", TAGGED)
@pytest.mark.parametrize("orientation", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 70, 65535])
def test_the_size_is_that_of_the_pixels(tmp_path: Path, name: str, orientation: int) -> None:
    """Regression: a TIFF on its side was turned twice, and any tag above 4 turned a JPEG."""
    path = tmp_path / f"i.{TAGGED[name]}"
    for stored in (PIXELS, PIXELS[..., 0]):  # Pillow scrambles grey TIFFs that it maps into memory
        Image.fromarray(stored).save(path, name, exif=exif(orientation))
        pixels = read_clip(Frames((path,)), 1).pixels[0]
        assert frame_size(Frames((path,))) == pixels.shape[:2]
        if name in ("PNG", "TIFF"):
            turned = TURNED.get(orientation, PIXELS)
            np.testing.assert_array_equal(pixels, turned if stored.ndim == 3 else turned[..., :1].repeat(3, -1))


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([*TAGGED]), st.integers(0, 2**16 - 1), st.integers(1, 40), st.integers(1, 40))
def test_the_size_is_that_of_the_pixels_whatever_the_tag(
    tmp_path_factory: pytest.TempPathFactory, name: str, orientation: int, height: int, width: int
) -> None:
    path = tmp_path_factory.mktemp("size") / f"i.{TAGGED[name]}"
    Image.new("RGB", (width, height)).save(path, name, exif=exif(orientation))
    assert frame_size(Frames((path,))) == read_clip(Frames((path,)), 1).pixels.shape[1:3]


@pytest.mark.parametrize("name", [*TAGGED, *OTHERS])
@pytest.mark.parametrize("called", ["", ".jfif", ".dat", ".mp4"])
def test_a_picture_is_known_by_its_content(tmp_path: Path, name: str, called: str) -> None:
    """Regression: a picture of another name was decoded as a video; an icon of 60 x 40 pixels came back as 11 x 16."""
    suffix = {**TAGGED, **OTHERS}[name]
    path = tmp_path / f"i.{suffix}"
    options = {"sizes": [(60, 40)]} if name == "ICO" else {}
    Image.fromarray(PIXELS).save(path, name, **options)
    if name != "TGA":  # which has no mark of its own
        path = path.rename(tmp_path / f"i{called}")
    assert media_at(path) == Frames((path,))
    assert frame_size(media_at(path)) == read_clip(media_at(path), 1).pixels.shape[1:3] == (40, 60)


def test_an_animation_is_no_picture(tmp_path: Path) -> None:
    pictures = [Image.new("L", (8, 8), level) for level in (0, 90, 180)]
    for name in ("a.gif", "a.png", "a.webp"):
        pictures[0].save(tmp_path / name, save_all=True, append_images=pictures[1:])
        with pytest.raises(DataError, match=f"{name}: .* an animation"):
            read_clip(Frames((tmp_path / name,)), 1)
    assert media_at(tmp_path / "a.gif") == Video(tmp_path / "a.gif")
    assert len(read_clip(media_at(tmp_path / "a.gif"), 4).frames) == 3


def damaged(seed: int, data: bytes) -> bytes:
    draw = np.random.default_rng(seed)
    start, length = draw.integers(len(data)), draw.integers(1, 60)
    return [data[:start], data[:start] + draw.bytes(length) + data[start + length :]][seed % 2]


@pytest.mark.parametrize("name", [*TAGGED, *OTHERS])
def test_a_damaged_picture_is_pixels_or_one_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"i.{ {**TAGGED, **OTHERS}[name] }"
    Image.fromarray(PIXELS).save(path, name, **({"exif": exif(6)} if name in TAGGED else {}))
    data = path.read_bytes()
    for seed in range(20):
        path.write_bytes(damaged(seed, data))
        try:
            assert read_clip(Frames((path,)), 1).pixels.dtype == np.uint8
            frame_size(Frames((path,)))
        except DataError as error:
            assert str(path) in str(error)  # noqa: PT017 - pixels are as good


# --- folders --------------------------------------------------------------------------------------------------------


def save(folder: Path, *names: str) -> Path:
    for name in names:
        Image.new("L", (4, 4)).save(folder / name, "PNG" if "." not in name else None)
    return folder


@pytest.mark.parametrize(
    "names",
    [
        ("1.jpg", "2.jpg", "9.jpg", "10.jpg", "100.jpg"),
        ("frame_2.png", "frame_10.png", "frame_011.png"),
        ("a1_9.png", "a1_10.png", "a2_1.png", "a10_0.png", "b.png"),
        ("v.png", "v0.png", "v1.png"),
        ("1", "2", "11"),
    ],
)
def test_frames_are_in_the_order_of_their_numbers(tmp_path: Path, names: tuple[str, ...]) -> None:
    """Regression: 1, 10, 2."""
    save(tmp_path, *reversed(names))
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / ".1.jpg").write_text("hidden")
    for media in (media_at(tmp_path), video_media(tmp_path)):
        assert isinstance(media, Frames)
        assert tuple(path.name for path in media.paths if isinstance(path, Path)) == names


@pytest.mark.parametrize("names", [("01.jpg", "1.jpg"), ("1.jpg", "1.png"), ("a_7.png", "a_007.png")])
def test_two_names_of_one_number_are_an_error(tmp_path: Path, names: tuple[str, str]) -> None:
    save(tmp_path, *names, "3.jpg")
    for ask in (media_at, video_media):
        with pytest.raises(DataError, match="are the same frame, or in no order") as raised:
            ask(tmp_path)
        assert all(name in str(raised.value) for name in names)


def test_a_folder_without_pictures_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(DataError, match="0 pictures in the folder"):
        media_at(tmp_path)
