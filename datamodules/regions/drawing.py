"""What everything that draws regions on pixels shares: colours, legible ink, and which pixels are painted."""

from __future__ import annotations

import colorsys

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from datamodules.types import Geometry, Region

Colour = tuple[float, float, float]
"""Red, green and blue in [0, 1]."""

LUMINANCE, LIGHT = (0.2126, 0.7152, 0.0722), 0.45
BLACK: Colour = (0.0, 0.0, 0.0)
WHITE: Colour = (1.0, 1.0, 1.0)


def region_colour(number: int) -> Colour:
    """Of the region with that number: apart in hue from those of its neighbours, and light enough for dark frames."""
    # steps of the golden ratio keep any few hues apart
    colour = np.array(colorsys.hsv_to_rgb((0.02 + 0.618034 * number) % 1.0, 0.85, 1.0))
    luminance = float(colour @ LUMINANCE)
    white = max(0.0, (LIGHT - luminance) / (1 - luminance))
    red, green, blue = (colour + (1 - colour) * white).tolist()
    return red, green, blue


def contrast(first: Colour, second: Colour) -> float:
    """The contrast ratio of two colours as WCAG 2 defines it, from 1 to 21; text is legible from 4.5 on."""
    darker, lighter = sorted((_luminance(first), _luminance(second)))
    return (lighter + 0.05) / (darker + 0.05)


def ink_on(ground: Colour) -> Colour:
    """Black or white, whichever can be read better; one of them always has a contrast of 4.5."""
    return max((BLACK, WHITE), key=lambda ink: contrast(ink, ground))


def shown_on(region: Region, frame: int) -> Geometry | None:
    """What shows a region on a source frame: what the user points with, elsewhere where it is known to be, or None."""
    return region.prompted_on(frame) or region.track.get(frame)


def solid(coverage: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The pixels that are covered by half, or as much as any where the region is smaller than that."""
    filled: NDArray[np.bool_] = (coverage > 0) & (coverage >= np.minimum(0.5, coverage.max()))
    return filled


def surrounding(masks: torch.Tensor, width: int) -> torch.Tensor:
    """The pixels outside of each mask within `width` of it; inside where it touches the picture's edge.

    Args:
        masks: (N, H, W) bool.
        width: In pixels.
    """
    around = torch.zeros_like(masks)
    for mask, found in zip(masks, around, strict=True):
        # far from the region there is nothing to look for, and of many regions each is a small part of the picture
        near = extent_of(mask.numpy(), width + 1)
        if near is not None:
            found[near] = _surrounding(mask[near], width)
    return around


def extent_of(mask: NDArray[np.bool_], margin: int = 0) -> tuple[slice, slice] | None:
    """The rows and columns of a mask (H, W) and of a margin as far as the picture goes; None if it is empty."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    if not rows.size:
        return None
    down, across = (slice(max(line[0] - margin, 0), line[-1] + margin + 1) for line in (rows, columns))
    return down, across


def _surrounding(mask: torch.Tensor, width: int) -> torch.Tensor:
    """The same of one mask (H, W); where it touches what it was cut to, that is the picture's edge."""
    reach = 2 * width + 1
    # along one axis after the other, which costs 2 * reach looks at each pixel instead of their square
    across = F.max_pool2d(mask[None].float(), (1, reach), stride=1, padding=(0, width))
    grown = F.max_pool2d(across, (reach, 1), stride=1, padding=(width, 0))[0] > 0
    edge = torch.ones_like(mask)
    edge[width:-width, width:-width] = False
    return (grown & ~mask) | (mask & edge)


def in_stripes(areas: torch.Tensor, width: int) -> torch.Tensor:
    """Areas that may meet -> areas that do not: where several meet they take turns along the diagonal.

    Args:
        areas: (N, H, W) bool.
        width: Of a stripe, in pixels.
    """
    rows, columns = (torch.arange(extent) for extent in areas.shape[-2:])
    # one area after the other: a sum or a cumulative one over N is many times slower
    count, rank = (torch.zeros(areas.shape[-2:], dtype=torch.int32) for _ in range(2))
    for area in areas:
        count += area
    turn = ((rows.unsqueeze(1) + columns) // width) % count.clamp(min=1)
    apart = torch.zeros_like(areas)
    for area, own in zip(areas, apart, strict=True):
        torch.logical_and(area, rank == turn, out=own)
        rank += area
    return apart


def _luminance(colour: Colour) -> float:
    """Relative luminance of an sRGB colour."""
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in colour]
    return float(np.dot(linear, LUMINANCE))
