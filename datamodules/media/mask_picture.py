"""Masks that are kept as pictures, of one object or of many by their numbers: one reader for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError
from datamodules.media.pictures import open_picture
from datamodules.reading.rle import encoded
from datamodules.types import File, Mask

if TYPE_CHECKING:
    from PIL.Image import Image

# of these the pixels that come out are those that went in; a WebP does not tell
_LOSSLESS = ("PNG", "TIFF", "BMP", "DIB", "GIF", "PPM", "TGA", "QOI")
_LOSSY_TIFF = ("jpeg", "tiff_jpeg", "webp")
_SCALED = {"L;2": 85, "L;4": 17}  # what Pillow stretches a PNG's 2 and 4 bits by


class LabelPicture(NamedTuple):
    """A picture as a mask, upright.

    Attributes:
        mode: Pillow's: `P` for palette indices, `1` for one bit.
        numbers: (H, W), the number of every pixel: its grey value in all its bits, its palette index, or 1 for a set
            bit. None of a picture of colours.
        inside: (H, W) bool. A pixel with a number is inside unless that is 0; one of colours unless all channels are
            0. What is transparent is outside; if all that is not is black, that alone is the mask. A palette's
            indices count whatever they look like.
    """

    mode: str
    numbers: NDArray[np.integer] | None
    inside: NDArray[np.bool_]


def read_label_picture(path: File) -> LabelPicture:
    """A mask or label map from a file.

    Raises:
        DataError: The file is missing or does not decode, its format changes pixels, or Pillow drops bits of them.
    """
    from PIL import ImageOps

    with open_picture(path) as image:
        if image.format not in _LOSSLESS or image.info.get("compression") in _LOSSY_TIFF:
            raise DataError(f"{image.format} may change pixels, a mask needs a format like PNG")
        stored = str(
            [tile.args for tile in getattr(image, "tile", ())]
        )  # how the file has its pixels, in Pillow's words
        if ";16" in stored and not image.mode.startswith("I"):
            raise DataError(f"colours of 16 bits ({stored}), a mask needs grey or palette")
        return _labels(ImageOps.exif_transpose(image), next((_SCALED[raw] for raw in _SCALED if raw in stored), 1))


def read_mask(text: str) -> Mask:
    """`mask.png` -> every pixel inside; `mask.png:2` -> the pixels with the number 2: see `LabelPicture`.

    Raises:
        DataError: No such file, not a picture that can be a mask, no such pixel, or a number asked of colours.
    """
    from pathlib import Path

    name, _, value = text.rpartition(":") if text.rpartition(":")[2].isdigit() else (text, "", "")
    try:
        labels = read_label_picture(Path(name))
    except DataError as error:
        raise DataError(f"--mask {text}: {error}") from None
    inside = labels.inside
    if value:
        if labels.numbers is None:
            raise DataError(f"--mask {text}: a picture of colours ({labels.mode}) has no pixels by number")
        inside = labels.numbers == int(value)
    mask = encoded(inside)
    if mask is None:
        values = "" if labels.numbers is None else f"; the values are {np.unique(labels.numbers).tolist()[:10]}"
        raise DataError(f"--mask {text}: no pixel inside{values}")
    return mask


def _labels(image: Image, scale: int) -> LabelPicture:
    if image.mode == "P" or image.mode in ("1", "L", "I") or image.mode.startswith("I;16"):
        grey = np.asarray(image).astype(np.uint8) if image.mode == "1" else np.asarray(image) // scale
        return LabelPicture(image.mode, grey, grey != 0)
    if image.mode == "F":
        raise DataError("pixels are fractions (mode F), a mask needs whole numbers")
    if image.mode not in ("RGB", "RGBA", "LA"):
        raise DataError(f"pixels of mode {image.mode}, a mask needs grey, a palette or RGB")
    channels = np.asarray(image)
    colours, opaque = channels, np.ones(channels.shape[:2], np.bool_)
    if image.mode != "RGB":
        colours, opaque = channels[..., :-1], channels[..., -1] > 0
    inside = (colours != 0).any(-1) & opaque
    if not inside.any() and not opaque.all():
        inside = opaque
    numbers = np.where(opaque, colours[..., 0], 0) if image.mode == "LA" else None
    return LabelPicture(image.mode, numbers, inside)
