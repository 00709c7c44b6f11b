"""Pictures and words of the page: frames for the browser, heat maps over frames, answers with coloured mentions."""

from __future__ import annotations

import base64
import html
import io
import re

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datamodules.prompting.placeholders import PLACEHOLDER
from datamodules.regions.drawing import Colour, region_colour
from experiments.visualize.heat import DIMMED, FAINTEST
from lightning_modules.looking import Looked

LARGEST = 960
"""Most pixels of a side that are sent to the browser."""
SMALLEST = 256
"""Least pixels of the longer side of a heat map."""


def css(colour: Colour) -> str:
    """`#ff5a36`."""
    return "#" + "".join(f"{round(255 * part):02x}" for part in colour)


def data_url(pixels: NDArray[np.uint8]) -> str:
    """(H, W, 3) uint8 as a picture in an address, at most `LARGEST` wide and high."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((LARGEST, LARGEST))
    written = io.BytesIO()
    picture.save(written, "PNG")
    return "data:image/png;base64," + base64.b64encode(written.getvalue()).decode()


def coloured(text: str, num_regions: int) -> str:
    """HTML of a question or answer: what names a region has its colour."""
    parts: list[str] = []
    end = 0
    for mention in PLACEHOLDER.finditer(text):
        number = int(mention[1] or 0)
        parts.append(html.escape(text[end : mention.start()]))
        name = f"[{number}]" if number < num_regions else html.escape(mention[0])
        shade = css(region_colour(number))
        parts.append(f'<span style="background:{shade};color:#111;border-radius:4px;padding:0 4px">{name}</span>')
        end = mention.end()
    return re.sub(r"\n", "<br>", "".join([*parts, html.escape(text[end:])]))


def heat_over(pixels: NDArray[np.uint8], looked: Looked, time: int, regions: list[int]) -> Image.Image:
    """One frame, dimmed, under the heat of some regions, each in its colour and scaled by its peak.

    Args:
        pixels: (H, W, 3) uint8, the frame.
        looked: What the model sees; it has heat.
        time: The frame's place in the clip.
        regions: Their numbers.
    """
    assert looked.heat is not None
    picture = Image.fromarray(pixels)
    picture.thumbnail((LARGEST, LARGEST))
    times = -(-SMALLEST // max(picture.size))
    frame = np.asarray(picture, dtype=np.float32).repeat(times, 0).repeat(times, 1) / 255
    shown = np.repeat(frame.mean(-1, keepdims=True) * DIMMED, 3, axis=-1)
    for number in regions:
        heat = looked.heat[number, time]
        cells = _on_pixels(heat / max(float(heat.max()), FAINTEST), looked, shown.shape[:2])
        shown += cells[..., None] * (np.array(region_colour(number), np.float32) - shown)
    return Image.fromarray(np.rint(255 * shown.clip(0, 1)).astype(np.uint8))


def _on_pixels(cells: NDArray[np.float32], looked: Looked, size: tuple[int, int]) -> NDArray[np.float32]:
    """(R, C) values of tokens -> (H, W) of a frame's pixels; 0 where no token is."""
    placement = looked.view.placement
    rows = _cells_of(looked.view.rows, placement.top, placement.height, size[0])
    columns = _cells_of(looked.view.columns, placement.left, placement.width, size[1])
    seen: NDArray[np.float32] = cells[rows.clip(0)][:, columns.clip(0)] * ((rows >= 0)[:, None] & (columns >= 0))
    return seen


def _cells_of(spans: tuple[tuple[int, int], ...], start: int, extent: int, pixels: int) -> NDArray[np.int64]:
    """The cell that each of a frame's pixels falls into, along one side; -1 for none."""
    places = start + (np.arange(pixels) + 0.5) * extent / pixels
    cells = np.full(pixels, -1)
    for number, (low, high) in enumerate(spans):
        cells[(places >= low) & (places < high)] = number
    return cells
