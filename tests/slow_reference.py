"""What the core computes, once more and slowly: pixel by pixel, character by character, region by region."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from datamodules.types import Box, Geometry, Mask, Polygon, Region, RegionSample

Array = NDArray[np.float64]
FRAME = (64, 64)  # larger than any that is drawn


# --- where regions are ----------------------------------------------------------------------------------------------


def painted(geometry: Geometry, size: tuple[int, int]) -> NDArray[np.bool_]:
    """A mask, or a polygon of axis-parallel rectangles of whole pixels, on the frame: (height, width)."""
    assert not isinstance(geometry, Box)
    if isinstance(geometry, Mask):
        return coco_mask.decode({"size": list(geometry.size), "counts": geometry.counts}).astype(bool)  # type: ignore[no-any-return]  # untyped
    inside = np.zeros(size, dtype=bool)
    for ring in geometry.rings:
        x0, x1, y0, y1 = (int(bound) for line in (ring[::2], ring[1::2]) for bound in (min(line), max(line)))
        inside[y0:y1, x0:x1] = True
    return inside


def counted(values: Array, target: int) -> Array:
    """The mean of a line's values in each of `target` equal bins, by cutting all into cells of one size."""
    return np.repeat(values, target).reshape(target, len(values)).mean(1)


def coverage(geometry: Geometry, size: tuple[int, int], side: int, fit: str) -> Array:
    """The share of every pixel of the model's square that is the region's: (side, side)."""
    scale = side / max(size)
    height, width = (side, side) if fit == "squash" else (max(1, round(extent * scale)) for extent in size)
    if isinstance(geometry, Box):  # a product of two lines, in quarters of pixels
        x0, y0, x1, y1 = (round(4 * value) for value in geometry.xyxy)
        rows, columns = np.arange(4 * size[0]), np.arange(4 * size[1])
        lines = ((rows >= y0) & (rows < y1), height), ((columns >= x0) & (columns < x1), width)
        inside = np.outer(*(counted(line.astype(np.float64), target) for line, target in lines))
    else:
        columns = np.apply_along_axis(counted, 1, painted(geometry, size).astype(np.float64), width)
        inside = np.apply_along_axis(counted, 0, columns, height)
    square = np.zeros((side, side))
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = inside
    return square


def eq_1(coverages: Sequence[Array], grid: int) -> Array:
    """Pixel by pixel divided by the number of regions there, then the mean of every token: (grid ** 2, regions)."""
    total = np.maximum(1.0, np.sum(coverages, axis=0))
    side = len(total) // grid
    tokens = [(one / total).reshape(grid, side, grid, side).mean((1, 3)).ravel() for one in coverages]
    return np.stack(tokens, axis=1)


class Weights(NamedTuple):
    """As `RegionWeights`: (T, grid ** 2, regions) twice and (T,)."""

    mark: Array
    guide: Array
    known: list[bool]


def weights(
    sample: RegionSample, frames: Sequence[int], size: tuple[int, int], side: int, grid: int, fit: str
) -> Weights:
    """Of Eq. 1 and Eq. 2."""
    nothing, known = np.zeros((side, side)), []
    marks, guides = np.zeros((2, len(frames), grid**2, len(sample.regions)))
    told: set[int] = set()
    for time, frame in enumerate(frames):
        prompts = [prompt_on(region, frame) for region in sample.regions]
        places = [region.track.get(frame) for region in sample.regions]
        told |= {number for number, prompt in enumerate(prompts) if prompt is not None}
        known.append(0 < len(told) == len(sample.regions) and all(frame in region.track for region in sample.regions))
        for weights_of, there in ((marks, prompts), (guides, places)):
            covered = [nothing if place is None else coverage(place, size, side, fit) for place in there]
            weights_of[time] = eq_1(covered, grid) if covered else 0
    return Weights(marks, guides, known)


def prompt_on(region: Region, frame: int) -> Geometry | None:
    """What the user points with on a frame; everywhere, that is the box of the track where all prompts are boxes."""
    place = region.track.get(frame)
    if frame in region.prompts or place is None or not region.everywhere:
        return region.prompts.get(frame)
    if any(not isinstance(prompt, Box) for prompt in region.prompts.values()) or isinstance(place, Box):
        return place
    rows, columns = (painted(place, FRAME if isinstance(place, Polygon) else place.size).any(axis) for axis in (1, 0))
    (y0, y1), (x0, x1) = ((line.argmax(), len(line) - line[::-1].argmax()) for line in (rows, columns))
    return Box((float(x0), float(y0), float(x1), float(y1)))


# --- what is read ---------------------------------------------------------------------------------------------------


class Letter(NamedTuple):
    """One token of a tokenizer that has one for each character, and the special ones `<s>`, `</s>`, `<image>`, ..."""

    text: str
    loss: bool = False
    slot: int = -1


LLAVA = "A chat between a curious user and an artificial intelligence assistant. "
LLAVA += "The assistant gives helpful, detailed, and polite answers to the user's questions. "
AROUND = {"plain": ("", "", "", ""), "vicuna": (LLAVA, "USER: ", "\n", " ASSISTANT:")}
"""Before the conversation, before a question, behind the picture, before an answer."""


def letters(sample: RegionSample, visual_tokens: int, style: str) -> tuple[list[Letter], int]:
    """The conversation, and where its last answer begins."""
    system, user, behind_picture, assistant = AROUND[style]
    read, start = [Letter("<s>"), *map(Letter, system)], 0
    count = len(sample.regions)
    for number, turn in enumerate(sample.conversation):
        read += map(Letter, user)
        if number == 0 and visual_tokens:
            read += [Letter("<image>")] * visual_tokens + [*map(Letter, behind_picture)]
        for text, region in pieces(turn.question):
            read += map(Letter, text)
            if region is not None:
                read += [*map(Letter, f"[{region}]" if count > 1 else ""), Letter("<region>", slot=region)]
        read += map(Letter, assistant)
        start = len(read)
        answer = f" {turn.answer}"
        for region in range(count):  # what reads as an index is one: generation shows the region behind it
            answer = answer.replace(f"[{region}]", f"<region{region}>")
        for text, region in pieces(answer):
            read += [Letter(letter, loss=True) for letter in text]
            if region is not None:
                read += [*(Letter(letter, loss=True) for letter in f"[{region}]"), Letter("<region>", slot=region)]
        read.append(Letter("</s>", loss=True))
    return read, start


def pieces(text: str) -> list[tuple[str, int | None]]:
    """Text, and the region that is mentioned behind it; None behind the last."""
    parts = re.split(r"<region([0-9]*)>", text)
    return list(zip(parts[::2], [*(int(number or 0) for number in parts[1::2]), None], strict=True))
