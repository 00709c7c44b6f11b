"""Still pictures: told by what is in a file, read upright; and folders of them as frames."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError
from datamodules.types import File, PackedFile

if TYPE_CHECKING:
    from PIL.Image import Image

# Pillow would call other programs for EPS and takes any MPEG stream for a picture
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "DIB", "GIF", "AVIF", "ICO", "PPM", "QOI", "JPEG2000")
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".tif", ".tiff", ".bmp", ".dib", ".avif", ".ico"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".qoi", ".jp2", ".j2k"}
)
_ANIMATED = ("GIF", "WEBP", "PNG", "AVIF")
_ON_ITS_SIDE = (5, 6, 7, 8)  # EXIF's orientations that exchange height and width


@contextmanager
def open_picture(path: File) -> Iterator[Image]:
    """An image file, its pixels not yet read; whatever fails while it is read becomes one DataError."""
    from PIL import Image, UnidentifiedImageError

    # nothing but its name tells a TGA
    formats = (*FORMATS, "TGA") if str(path).lower().endswith(".tga") else FORMATS
    try:
        # of a file that it has the name of Pillow maps some TIFFs into memory, and then turns them wrongly
        with _bytes_of(path) as file, Image.open(file, formats=formats) as image:
            if image.format in _ANIMATED and getattr(image, "is_animated", False):
                raise DataError("it is an animation, a picture is needed")
            yield image
    except UnidentifiedImageError as error:  # whose message names an object of Python's where there is no file
        raise DataError(f"{path}: cannot be read as an image: of no known format") from error
    except Exception as error:  # a damaged file may raise anything
        raise DataError(f"{path}: cannot be read as an image: {error or type(error).__name__}") from error


def _bytes_of(path: File) -> BinaryIO:
    return BytesIO(path.read()) if isinstance(path, PackedFile) else path.open("rb")


def read_picture(path: File) -> NDArray[np.uint8]:
    """(H, W, 3) RGB, turned upright.

    Raises:
        DataError: The file is missing, does not decode, or has pixels without a range.
    """
    from PIL import ImageOps

    with open_picture(path) as image:
        return _to_rgb(ImageOps.exif_transpose(image))


def picture_size(path: File) -> tuple[int, int]:
    """(height, width) of the upright picture, from its header.

    Raises:
        DataError: The file is missing or does not open.
    """
    from PIL import ExifTags

    with open_picture(path) as image:
        # Pillow turns a TIFF by itself
        turned = image.format != "TIFF" and image.getexif().get(ExifTags.Base.Orientation) in _ON_ITS_SIDE
        return (image.width, image.height) if turned else (image.height, image.width)


def is_picture(path: File) -> bool:
    """Whether a file is a still picture, by its content; a name that says so is believed."""
    if isinstance(path, Path) and path.suffix.lower() in SUFFIXES:
        return True
    try:
        with open_picture(path):
            return True
    except DataError:
        return False


def frames_in(folder: Path) -> tuple[Path, ...]:
    """The pictures of a folder as frames: in the order of their names, numbers in them by their value.

    Raises:
        DataError: The folder cannot be read or has no picture, or two names have the same words and numbers.
    """
    try:
        files = [path for path in folder.iterdir() if path.name[0] != "." and path.is_file() and is_picture(path)]
    except OSError as error:
        raise DataError(f"{folder}: {error.strerror}") from error
    if not files:
        raise DataError(f"{folder}: 0 pictures in the folder")
    named: dict[tuple[tuple[str, int], ...], Path] = {}
    for path in sorted(files):
        other = named.setdefault(_words_and_numbers(path.stem), path)
        if other is not path:
            raise DataError(f"{folder}: {other.name} and {path.name} are the same frame, or in no order")
    return tuple(named[name] for name in sorted(named))


def _words_and_numbers(name: str) -> tuple[tuple[str, int], ...]:
    """Words, each with the number that follows it; -1 behind a last one without."""
    return tuple((word, int(number or -1)) for word, number in re.findall("([^0-9]*)([0-9]*)", name)[:-1])


def _to_rgb(image: Image) -> NDArray[np.uint8]:
    # Pillow clips what has more than 8 bits at 255 instead of scaling it
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode in ("I", "F"):
        raise DataError(f"pixels of mode {image.mode!r} have no range that could be scaled to 8 bits")
    return np.asarray(image.convert("RGB"))
