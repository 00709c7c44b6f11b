"""Masks as pictures: which pixels are inside, whatever the picture's mode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from datamodules.errors import DataError
from datamodules.media.mask_picture import read_label_picture, read_mask
from datamodules.media.pictures import read_picture

SHAPE = (20, 30)
OBJECT = np.zeros(SHAPE, np.bool_)
OBJECT[3:13, 5:25] = True  # 200 pixels
OTHER = np.zeros(SHAPE, np.bool_)
OTHER[15:18, 1:9] = True


def labels(number: int, other: int, dtype: Any = np.uint8) -> NDArray[Any]:
    return (OBJECT * number + OTHER * other).astype(dtype)


def coloured(inside: tuple[int, ...], outside: tuple[int, ...]) -> Image.Image:
    return Image.fromarray(np.where(OBJECT[..., None], inside, outside).astype(np.uint8))


def palette(number: int, other: int) -> Image.Image:
    picture = Image.fromarray(labels(number, other)).convert("P")
    picture.putdata(labels(number, other).ravel().tolist())
    picture.putpalette([0, 0, 0] * 256)  # how it looks says nothing
    return picture


def pixels_of(text: str) -> NDArray[np.bool_]:
    mask = read_mask(text)
    decoded: NDArray[np.uint8] = coco_mask.decode({"size": list(mask.size), "counts": mask.counts})
    return decoded.astype(np.bool_)


TABLE: dict[str, tuple[Image.Image, dict[str, NDArray[np.bool_]]]] = {
    "grey": (Image.fromarray(labels(255, 7)), {"": OBJECT | OTHER, ":255": OBJECT, ":7": OTHER}),
    "16 bits": (Image.fromarray(labels(300, 255, np.uint16)), {"": OBJECT | OTHER, ":300": OBJECT, ":255": OTHER}),
    "32 bits": (Image.fromarray(labels(70000, 300, np.int32)), {":70000": OBJECT, ":300": OTHER}),
    "palette": (palette(2, 1), {"": OBJECT | OTHER, ":2": OBJECT, ":1": OTHER}),
    "one bit": (Image.fromarray(OBJECT), {"": OBJECT, ":1": OBJECT}),
    "dark blue": (coloured((0, 0, 3), (0, 0, 0)), {"": OBJECT}),
    "white on transparent white": (coloured((255,) * 4, (255, 255, 255, 0)), {"": OBJECT}),
    "white on transparent black": (coloured((255,) * 4, (0, 0, 0, 0)), {"": OBJECT}),
    "black on transparent": (coloured((0, 0, 0, 255), (0, 0, 0, 0)), {"": OBJECT}),
    "black on transparent white": (coloured((0, 0, 0, 255), (255, 255, 255, 0)), {"": OBJECT}),
    "opaque": (coloured((9, 0, 0, 255), (0, 0, 0, 255)), {"": OBJECT}),
    "grey and alpha": (coloured((5, 255), (8, 0)), {"": OBJECT, ":5": OBJECT}),
}


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("name", TABLE)
def test_what_is_inside(tmp_path: Path, name: str, suffix: str) -> None:
    """Regression: ids above 255 were one object, dark blue was outside, white on transparent was the whole frame."""
    picture, expected = TABLE[name]
    if (name, suffix) == ("32 bits", "png"):
        pytest.skip("a PNG has 16 bits at most")
    path = tmp_path / f"m.{suffix}"
    picture.save(path)
    for value, inside in expected.items():
        np.testing.assert_array_equal(pixels_of(f"{path}{value}"), inside, err_msg=value)


@pytest.mark.parametrize("bits", [2, 4])
def test_greys_of_few_bits_keep_their_numbers(tmp_path: Path, bits: int) -> None:
    """Pillow stretches them to 255; it writes none, so the header of a palette's picture is changed."""
    import struct
    import zlib

    palette(3, 1).save(tmp_path / "m.png", bits=bits)
    data = (tmp_path / "m.png").read_bytes()
    header = b"IHDR" + data[16:25] + b"\0" + data[26:29]
    at = data.index(b"PLTE") - 4
    after = at + 12 + int.from_bytes(data[at : at + 4], "big")
    (tmp_path / "m.png").write_bytes(
        data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:at] + data[after:]
    )
    assert read_label_picture(tmp_path / "m.png").mode == "L"
    np.testing.assert_array_equal(pixels_of(f"{tmp_path}/m.png:3"), OBJECT)
    np.testing.assert_array_equal(pixels_of(f"{tmp_path}/m.png:1"), OTHER)


@pytest.mark.parametrize("mode", ["L", "P", "1", "I;16", "RGB"])
@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_mask_is_turned_as_its_photograph(tmp_path: Path, mode: str, suffix: str, orientation: int) -> None:
    """Regression: EXIF turned the photograph alone."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(labels(200, 90)).save(tmp_path / f"photo.{suffix}", exif=exif)
    grey = Image.fromarray(labels(200, 90, np.uint16)) if mode == "I;16" else Image.fromarray(labels(200, 90))
    picture = palette(200, 90) if mode == "P" else grey if mode == "I;16" else grey.convert(mode, dither=0)
    picture.save(tmp_path / f"mask.{suffix}", exif=exif)
    upright = read_picture(tmp_path / f"photo.{suffix}")[..., 0]
    expected = upright > 100 if mode == "1" else upright > 0
    np.testing.assert_array_equal(pixels_of(f"{tmp_path}/mask.{suffix}"), expected)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("m.jpg", {}, "JPEG may change pixels"),
        ("m.webp", {}, "WEBP may change pixels"),
        ("m.avif", {}, "AVIF may change pixels"),
        ("m.tif", {"compression": "jpeg"}, "TIFF may change pixels"),
    ],
)
def test_what_changes_pixels_is_no_mask(tmp_path: Path, name: str, options: dict[str, str], message: str) -> None:
    """Regression: a JPEG made 286 pixels of 200."""
    Image.fromarray(labels(255, 0)).save(tmp_path / name, **options)
    with pytest.raises(DataError, match=rf"--mask .*{name}: .*{message}, a mask needs a format like PNG"):
        read_mask(f"{tmp_path}/{name}")
    (tmp_path / name).rename(tmp_path / "m.png")  # whatever it is called
    with pytest.raises(DataError, match=message):
        read_mask(f"{tmp_path}/m.png")


def test_what_is_not_there_or_cannot_be_told_is_an_error(tmp_path: Path) -> None:
    Image.fromarray(labels(300, 255, np.uint16)).save(tmp_path / "m.png")
    with pytest.raises(DataError, match=r"m\.png:5: no pixel inside; the values are \[0, 255, 300\]"):
        read_mask(f"{tmp_path}/m.png:5")
    coloured((3, 0, 0), (0, 0, 0)).save(tmp_path / "c.png")
    with pytest.raises(DataError, match=r"c\.png:3: a picture of colours \(RGB\) has no pixels by number"):
        read_mask(f"{tmp_path}/c.png:3")
    Image.fromarray(labels(1, 2).astype(np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(DataError, match="fractions"):
        read_mask(f"{tmp_path}/f.tif")
    with pytest.raises(DataError, match="No such file"):
        read_mask(f"{tmp_path}/none.png")
    data = (tmp_path / "m.png").read_bytes()
    (tmp_path / "m.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="cannot be read as an image"):
        read_mask(f"{tmp_path}/m.png")
