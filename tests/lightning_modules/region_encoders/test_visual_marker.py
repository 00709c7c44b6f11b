"""Drawn markers, pixel by pixel."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules.errors import DataError
from datamodules.prompting.drawn_markers import COLOURS, DrawnMarkers, Marker
from datamodules.types import Box, Clip, Region
from helpers import loss_mask, make_batch, sample, tiny_module
from lightning_modules import NoRegionEncoder, VisualMarker

SIDE = 12
RED, GREEN = (torch.tensor(COLOURS[name]) for name in ("red", "green"))


def drawn(marker: Marker, *boxes: tuple[float, float, float, float], side: int = SIDE) -> torch.Tensor:
    """Boxes on one grey picture: (S, S, 3)."""
    clip = Clip(np.full((1, side, side, 3), 100, np.uint8), (0,))
    return torch.from_numpy(DrawnMarkers(marker).draw(clip, tuple(Region.at(Box(box)) for box in boxes)).pixels[0])


def spelt(picture: torch.Tensor) -> list[str]:
    """A letter a pixel, `.` where nothing is drawn."""
    letters = {colour: name[0] for name, colour in COLOURS.items()} | {(100, 100, 100): "."}
    return ["".join(letters[tuple(pixel)] for pixel in row) for row in picture.tolist()]


def test_an_outline_goes_round_the_region() -> None:
    assert spelt(drawn("outline", (2, 3, 5, 5)))[1:7] == [
        "............",
        ".rrrrr......",
        ".r...r......",
        ".r...r......",
        ".rrrrr......",
        "............",
    ]


def test_an_outline_runs_inside_where_the_region_touches_the_edge() -> None:
    assert spelt(drawn("outline", (0, 0, 3, 2)))[:4] == ["rrrr........", "r..r........", "rrrr........", "............"]
    whole = spelt(drawn("outline", (0, 0, 12, 12)))
    assert whole == ["r" * 12, *["r" + "." * 10 + "r"] * 10, "r" * 12]


def test_markers_that_meet_share_the_pixels() -> None:
    """Two regions of the same place: both are to be seen."""
    assert spelt(drawn("outline", (2, 3, 5, 5), (2, 3, 5, 5)))[2:6] == [
        ".grgrg......",
        ".r...r......",
        ".g...g......",
        ".rgrgr......",
    ]


def test_a_tint_is_half_of_its_colour() -> None:
    picture = drawn("tint", (2, 3, 5, 5), (8, 0, 12, 12))
    expected = torch.full((SIDE, SIDE, 3), 100, dtype=torch.uint8)
    expected[3:5, 2:5] = torch.tensor([178, 50, 50])  # of 177.5, to even
    expected[:, 8:] = torch.tensor([50, 150, 50])
    assert torch.equal(picture, expected)


def test_lines_are_three_pixels_wide_at_336() -> None:
    row = drawn("outline", (100, 100, 200, 200), side=336)[150]
    assert (row == RED).all(-1).nonzero().flatten().tolist() == [97, 98, 99, 200, 201, 202]


def test_a_region_smaller_than_half_a_pixel_is_drawn() -> None:
    assert spelt(drawn("outline", (4.1, 4.1, 4.4, 4.4)))[3:6] == ["...rrr......", "...r.r......", "...rrr......"]


@pytest.mark.parametrize("marker", ["outline", "tint"])
def test_the_prompted_frame_alone_is_drawn_on(tmp_path: Path, marker: Marker) -> None:
    """What the model sees of the other frames is as with every other encoder; colours are named in the text."""
    module = tiny_module(tmp_path, region_encoder=VisualMarker(marker))
    plain = tiny_module(tmp_path, region_encoder=NoRegionEncoder(scale=1.0))
    two = sample(
        boxes=((0, 0, 8, 8), (8, 8, 16, 16)), question="is <region1> on <region0>", answer="<region0>", frames=3
    )
    regions = (two.regions[0], Region.at(two.regions[1].prompts[0], frame=2))
    two = type(two)(two.id, two.media, regions, two.conversation)
    marked, unmarked = make_batch(module, two), make_batch(plain, two)
    changed = (marked.inputs["pixel_values"] != unmarked.inputs["pixel_values"]).any(1)
    assert changed.flatten(1).any(1).tolist() == [True, False, True]
    assert not changed[0, 9:, 9:].any() and not changed[2, :7, :7].any()
    words = {"outline": "the region outlined in", "tint": "the region tinted"}[marker]
    first, second = f"[0] {words} red", f"[1] {words} green"
    assert module.renderer.decode(marked.input_ids[0].tolist()) == f"is {second} on {first} {first}"
    assert module.renderer.decode(marked.input_ids[loss_mask(marked)].tolist()) == "[0]"


def test_more_regions_than_colours_names_the_sample(tmp_path: Path) -> None:
    module = tiny_module(tmp_path, region_encoder=VisualMarker())
    boxes = tuple((float(place), 0.0, place + 1.0, 1.0) for place in range(13))
    busy = sample("busy", boxes=boxes, question="<region0>")
    for use in (module.processor(1), module.processor(1).most_tokens):
        with pytest.raises(DataError, match="'busy': 13 regions, but markers have 12 colours"):
            use(busy)


def test_it_travels_to_the_workers(tmp_path: Path) -> None:
    module = tiny_module(tmp_path, region_encoder=VisualMarker("tint"))
    process = pickle.loads(pickle.dumps(module.processor(3)))
    both = (one(sample()).visual.inputs["pixel_values"] for one in (process, module.processor(3)))
    assert torch.equal(*both)


def test_the_frames_that_were_read_stay_as_they_were() -> None:
    """What a picture of the sample shows, and another epoch reads from memory, has no marker on it."""
    clip = Clip(np.full((1, SIDE, SIDE, 3), 100, np.uint8), (0,))
    assert DrawnMarkers().draw(clip, (Region.at(Box((2, 0, 5, 2))),)).pixels.max() == 255
    assert (clip.pixels == 100).all()
