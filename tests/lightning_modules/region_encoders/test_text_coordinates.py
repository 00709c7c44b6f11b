"""Boxes as text, to the letter."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from datamodules.errors import DataError
from datamodules.types import Box, Geometry, Mask, Pixels, Polygon, Region, RegionSample, Turn
from helpers import loss_mask, make_batch, sample, tiny_module
from lightning_modules import TextCoordinates

HEIGHT, WIDTH = 10, 20


def square_mask() -> Mask:
    """Rows 2 to 4, columns 4 to 8, both ends inside."""
    inside = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    inside[2:5, 4:9] = 1
    return Mask((HEIGHT, WIDTH), coco_mask.encode(inside)["counts"])


@pytest.mark.parametrize(
    ("geometry", "text"),
    [
        (Box((0, 0, 20, 10)), "[0, 0, 100, 100]"),
        (Box((2.5, 2.5, 10.1, 5)), "[12, 25, 50, 50]"),
        (Box((-0.5, 0, 20.9, 9.9)), "[0, 0, 100, 99]"),  # annotations reach over the edge
        (Polygon(((4, 2, 10, 2, 4, 8), (12, 4, 16, 4, 12, 6))), "[20, 20, 80, 80]"),
        (square_mask(), "[20, 20, 45, 50]"),
    ],
    ids=["all", "fractions", "overhang", "polygon", "mask"],
)
def test_hundredths_of_the_frame(tmp_path: Path, geometry: Geometry, text: str) -> None:
    module = tiny_module(tmp_path, region_encoder=TextCoordinates())
    frame = Pixels(np.zeros((1, HEIGHT, WIDTH, 3), np.uint8))
    batch = make_batch(module, RegionSample("a", frame, (Region.at(geometry),), (Turn("is <region> ok", "yes"),)))
    assert batch.prompts == (f"<image>is {text} ok",)
    assert module.renderer.decode(batch.input_ids[0].tolist()) == f"is {text} ok yes"
    assert not len(batch.places.placeholders)


def test_index_and_frame_are_told_where_there_are_several(tmp_path: Path) -> None:
    """The region as an answer is its index; its box is shown behind it, and not learnt."""
    module = tiny_module(tmp_path, region_encoder=TextCoordinates())
    video = Pixels(np.zeros((3, 16, 16, 3), np.uint8))
    regions = (Region.at(Box((0, 0, 8, 8)), frame=1), Region.at(Box((8, 4, 16, 16)), frame=2))
    asked = RegionSample("a", video, regions, (Turn("<region0> or <region1>", "<region1>!"),))
    batch = make_batch(module, asked)
    first, second = "[0] frame 2: [0, 0, 50, 50]", "[1] frame 3: [50, 25, 100, 100]"
    assert module.renderer.decode(batch.input_ids[0].tolist()) == f"{first} or {second} {second}!"
    assert module.renderer.decode(batch.input_ids[loss_mask(batch)].tolist()) == "[1]!"


def test_most_tokens_bounds_the_tokens_without_decoding(tmp_path: Path) -> None:
    module = tiny_module(tmp_path, region_encoder=TextCoordinates())
    process = module.processor(3)
    asked = sample(question="<region>", answer="<region>", frames=3)
    assert process.most_tokens(asked) - len(process(asked).rendered.ids) == 2 * 6  # 0, 0, 50, 50 and 100s


def test_it_travels_to_the_workers(tmp_path: Path) -> None:
    module = tiny_module(tmp_path, region_encoder=TextCoordinates())
    process = pickle.loads(pickle.dumps(module.processor(3)))
    assert process(sample()).rendered == module.processor(3)(sample()).rendered


def test_a_box_outside_the_frame_is_an_error(tmp_path: Path) -> None:
    module = tiny_module(tmp_path, region_encoder=TextCoordinates())
    with pytest.raises(DataError, match=r"sample 'a': region 0 on frame 0: .*outside the frame"):
        make_batch(module, sample(boxes=((0, 0, 30, 30),)))
