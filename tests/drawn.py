"""Samples of every kind that the core has to bear, drawn by hypothesis: small, odd and mixed.

Fixtures by hand tend to be square, prompted on one frame, with a region or two and shares of 0 or 1. Drawn ones have 0
to 30 regions, prompted on different frames by what need not be where the object is, whose tracks say where that is,
that it is hidden, or nothing; boxes of fractions of pixels that reach over the edge, polygons and masks; wide and tall
frames; and conversations that mention regions several times or never.

Hypothesis draws the seed of a sample and not its every part: parts that it draws itself are zero, empty or repeated
most of the time, and a sample is small enough to be read as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from datamodules.types import Box, Geometry, Mask, NoPicture, Pixels, Polygon, Region, RegionSample, Turn

FEW = settings(max_examples=25, deadline=None, derandomize=True)
SIZES = ((8, 8), (5, 12), (12, 4), (3, 7), (11, 6))
"""(height, width) of frames."""

COUNTS = (0, 1, 1, 2, 2, 3, 5, 11, 13, 30)
"""Regions of a sample; as often ten or more as none or one."""

SEEDED = st.randoms(use_true_random=True)
MOST_FRAMES = 4  # that are read of a clip
WORDS = ("a", "red", "[1]", "is", "it", "so,", "where?", "\n")


@st.composite
def samples(draw: st.DrawFn) -> RegionSample:
    """One about an image or a clip."""
    return drawn_sample(draw(SEEDED), "a")


@st.composite
def batches(draw: st.DrawFn, most_regions: int = 30) -> list[RegionSample]:
    """Up to four samples, conversations without a picture among them."""
    seeded = draw(SEEDED)
    return [
        text_alone(seeded, name) if seeded.random() < 0.2 else drawn_sample(seeded, name, most_regions)
        for name in "abcd"[: seeded.randint(1, 4)]
    ]


def drawn_sample(draw: Random, name: str, most_regions: int = 30) -> RegionSample:
    size, frames = draw.choice(SIZES), draw.randint(1, MOST_FRAMES + 1)
    noise = np.random.default_rng(draw.randrange(100)).integers(0, 256, (frames, *size, 3), dtype=np.uint8)
    prompted = draw.sample(range(frames), draw.randint(1, min(3, frames)))
    count = min(draw.choice(COUNTS), most_regions)
    # in half of the samples nothing is unknown, or of many regions one always would be
    states = ["there", "there", "hidden", *["unknown"] * draw.randint(0, 1)]
    regions = tuple(drawn_region(draw, size, frames, prompted, states) for _ in range(count))
    return RegionSample(name, Pixels(noise), regions, turns(draw, count))


def text_alone(draw: Random, name: str) -> RegionSample:
    return RegionSample(name, NoPicture(), (), turns(draw, 0))


# --- regions --------------------------------------------------------------------------------------------------------


def drawn_region(
    draw: Random, size: tuple[int, int], frames: int, prompted: Sequence[int], states: Sequence[str]
) -> Region:
    """Prompted on one or two of the frames that the sample is `prompted` on."""
    known = {frame: draw.choice(states) for frame in range(frames)}
    track = {
        frame: geometry(draw, size) if state == "there" else None
        for frame, state in known.items()
        if state != "unknown"
    }
    prompts = {}
    for frame in draw.sample(prompted, draw.randint(1, min(2, len(prompted)))):
        place = track.get(frame)
        prompts[frame] = place if place is not None and draw.random() < 0.5 else geometry(draw, size)
        if place is None and frame in track:  # nobody points at what is hidden
            track[frame] = prompts[frame]
    return pointed_at(prompts, track, everywhere=draw.random() < 0.3)


def pointed_at(
    prompts: Mapping[int, Geometry], track: Mapping[int, Geometry | None], everywhere: bool = False
) -> Region:
    """All drawn regions are built here."""
    return Region(prompts, track, everywhere=everywhere)


def geometry(draw: Random, size: tuple[int, int]) -> Geometry:
    return draw.choice((box, polygon, mask))(draw, size)


def box(draw: Random, size: tuple[int, int]) -> Box:
    """Corners on quarters of pixels, up to half a pixel beyond the frame's edge."""
    y0, x0 = (draw.randint(-2, 4 * extent - 1) for extent in size)
    y1, x1 = (draw.randint(max(first, 0) + 1, 4 * extent + 2) for first, extent in zip((y0, x0), size, strict=True))
    return Box((x0 / 4, y0 / 4, x1 / 4, y1 / 4))


def polygon(draw: Random, size: tuple[int, int]) -> Polygon:
    """A rectangle of whole pixels, or two of them that may overlap."""
    rings = []
    for _ in range(draw.randint(1, 2)):
        y0, x0 = (draw.randint(0, extent - 1) for extent in size)
        y1, x1 = (draw.randint(first + 1, extent) for first, extent in zip((y0, x0), size, strict=True))
        rings.append(tuple(map(float, (x0, y0, x1, y0, x1, y1, x0, y1))))
    return Polygon(tuple(rings))


def mask(draw: Random, size: tuple[int, int]) -> Mask:
    """Few pixels, many or all."""
    inside = np.random.default_rng(draw.randrange(100)).random(size) < draw.choice([0.05, 0.5, 1.0])
    inside[draw.randrange(size[0]), draw.randrange(size[1])] = True
    return encoded(inside)


def encoded(inside: NDArray[np.bool_]) -> Mask:
    code = coco_mask.encode(np.asfortranarray(inside.astype(np.uint8)))
    return Mask((int(code["size"][0]), int(code["size"][1])), code["counts"])


# --- conversations --------------------------------------------------------------------------------------------------


def turns(draw: Random, count: int) -> tuple[Turn, ...]:
    return tuple(Turn(text(draw, count), f"{text(draw, count)}.") for _ in range(draw.randint(1, 3)))


def text(draw: Random, count: int) -> str:
    """Words and mentions of `count` regions: none of them, some, or one several times."""
    named = draw.sample(range(count), min(count, 2))
    mentions = ["<region>"] if count == 1 else [f"<region{number}>" for number in named]
    return draw.choice((" ", "", ", ")).join(draw.choices([*WORDS, *3 * mentions], k=draw.randint(0, 5)))
