"""A mask that is kept as a picture."""

from __future__ import annotations

import numpy as np
from PIL import Image, UnidentifiedImageError
from pycocotools import mask as coco_mask

from datamodules.errors import DataError
from datamodules.types import Mask


def read_mask(text: str) -> Mask:
    """`mask.png` -> every pixel that is not 0; `mask.png:2` -> the pixels with the value 2 (of a palette, its index).

    Raises:
        DataError: No such file, not a picture, or no such pixel.
    """
    name, _, value = text.rpartition(":") if text.rpartition(":")[2].isdigit() else (text, "", "")
    try:
        with Image.open(name) as picture:
            values = np.asarray(picture if picture.mode in ("L", "P", "1", "I") else picture.convert("L"))
    except (OSError, UnidentifiedImageError) as error:
        raise DataError(f"--mask {text}: {error}") from None
    inside = values == int(value) if value else values != 0
    if not inside.any():
        raise DataError(f"--mask {text}: no pixel inside; the values are {np.unique(values).tolist()[:10]}")
    code = coco_mask.encode(np.asfortranarray(inside.astype(np.uint8)))
    return Mask((inside.shape[0], inside.shape[1]), code["counts"])
