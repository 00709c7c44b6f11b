"""Regions pointed at on every frame of their tracks: marks, words and drawings are then on all of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pycocotools.mask import encode

from datamodules.batching.dataset import RegionDataset
from datamodules.batching.processor import Processed, RegionProcessor
from datamodules.batching.sampling import Draw
from datamodules.errors import DataError
from datamodules.types import Box, Geometry, Mask, Pixels, PromptedFrames, Region, RegionSample, Turn
from helpers import GRID, WAYS, Listed, make_batch, marks, tiny_module, way_name
from lightning_modules import RegionEncoder, TextCoordinates, VisualMarker

TRACK = {1: Box((4, 0, 12, 8)), 2: None, 3: Box((8, 8, 16, 16))}


def moving() -> RegionSample:
    """Prompted on frame 0; on frames 1 and 3 it is elsewhere, on frame 2 hidden, and the other region's are unknown."""
    pixels = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    regions = (Region.at(Box((0, 0, 8, 8)), track=TRACK), Region.at(Box((8, 8, 16, 16)), frame=3))
    return RegionSample("a", Pixels(pixels), regions, (Turn("<region0> <region1>", "x"),))


def twice() -> RegionSample:
    """Of two regions the first is pointed at on frames 0 and 3, the second on frame 1."""
    box, there = Box((0, 0, 8, 8)), Box((8, 8, 16, 16))
    return replace(moving(), regions=(Region({0: box, 3: there}), Region({1: there})))


def square_mask() -> Mask:
    """Of 5 x 4 pixels of 16 x 16."""
    inside = np.zeros((16, 16), np.uint8, order="F")
    inside[2:7, 3:7] = 1
    return Mask((16, 16), encode(inside)["counts"])


def process(folder: Path, way: RegionEncoder) -> RegionProcessor:
    return tiny_module(folder, region_encoder=way).processor(4)


def by_frame(weights: NDArray[np.float32], frames: int = 4) -> NDArray[np.float32]:
    """(V, N) of a square for every frame -> (T, G * G, N)."""
    return weights.reshape(frames, GRID**2, -1)


def pixels(processed: Processed) -> torch.Tensor:
    """(T, 3, S, S)."""
    return processed.visual.inputs["pixel_values"]


def test_where_it_is_pointed_at_by_hand() -> None:
    own, everywhere = moving(), moving().prompted_everywhere()
    assert [own.regions[0].prompted_on(frame) for frame in range(4)] == [Box((0, 0, 8, 8)), None, None, None]
    assert [everywhere.regions[0].prompted_on(frame) for frame in range(4)] == [Box((0, 0, 8, 8)), *TRACK.values()]
    assert [everywhere.regions[1].prompted_on(frame) is None for frame in range(4)] == [True, True, True, False]


def test_marks_lie_wherever_the_regions_are_known_to_be(tmp_path: Path) -> None:
    """Eq. 1 then has the weights of Eq. 2, which do not change."""
    processed = process(tmp_path, marks())
    own, everywhere = processed(moving()).weights, processed(moving().prompted_everywhere()).weights
    np.testing.assert_array_equal(everywhere.guide, own.guide)
    np.testing.assert_array_equal(everywhere.mark, own.guide)
    assert by_frame(own.mark)[1].sum() == 0 < by_frame(everywhere.mark)[1].sum()


def test_a_box_is_written_for_every_frame(tmp_path: Path) -> None:
    shown = process(tmp_path, TextCoordinates())(moving().prompted_everywhere()).region_texts
    assert shown[0].text == "frame 1: [0, 0, 50, 50], frame 2: [25, 0, 75, 50], frame 4: [50, 50, 100, 100]"
    assert shown[1].text == "frame 4: [50, 50, 100, 100]"


def test_a_marker_is_drawn_on_every_frame(tmp_path: Path) -> None:
    processed = process(tmp_path, VisualMarker("tint"))
    plain = pixels(process(tmp_path, marks())(moving()))
    changed = [
        (pixels(processed(sample)) != plain).any(1).sum((1, 2)).tolist()
        for sample in (moving(), moving().prompted_everywhere())
    ]
    assert changed == [[64, 0, 0, 64], [64, 64, 0, 64]]


def test_a_region_may_be_pointed_at_on_several_frames(tmp_path: Path) -> None:
    """A clip shows them all, and everything that tells which object is meant says so on each."""
    sample = twice()
    assert sample.prompted_frames == (0, 1, 3)
    written = process(tmp_path, TextCoordinates())(sample).region_texts
    assert written[0].text == "frame 1: [0, 0, 50, 50], frame 4: [50, 50, 100, 100]"
    assert written[1].text == "frame 2: [50, 50, 100, 100]"
    weights = process(tmp_path, marks())(sample).weights
    assert (by_frame(weights.mark).sum(1) > 0).tolist() == [[True, False], [False, True], [False, False], [True, False]]
    plain = pixels(process(tmp_path, marks())(sample))
    tinted = pixels(process(tmp_path, VisualMarker("tint"))(sample))
    assert (tinted != plain).any(1).sum((1, 2)).tolist() == [64, 64, 0, 64]
    with pytest.raises(DataError, match="3 frames are prompted, but 2 are sampled"):
        tiny_module(tmp_path).processor(2)(sample)


def test_pointed_at_everywhere_with_what_it_is_pointed_at_with() -> None:
    """With boxes around its masks if all that is pointed with are boxes, and else with the masks themselves."""
    box, mask = Box((0, 0, 2, 2)), square_mask()
    track = {0: mask, 1: None, 2: mask, 3: box}
    regions = (Region({0: box}, track, everywhere=True), Region({0: mask, 3: box}, track, everywhere=True))
    assert [regions[0].prompted_on(frame) for frame in range(5)] == [box, None, mask.bounds, box, None]
    assert [regions[1].prompted_on(frame) for frame in range(5)] == [mask, None, mask, box, None]
    assert [region.first_prompted for region in regions] == [0, 0]
    late = Region({3: box}, {2: mask, 1: None})
    assert (late.first_prompted, replace(late, everywhere=True).first_prompted) == (3, 2)


@pytest.mark.parametrize("way", WAYS, ids=way_name)
def test_what_is_pointed_with_is_all_that_is_told(way: RegionEncoder, tmp_path: Path) -> None:
    """The mask behind a box is for the guide head to learn, and reaches the model in no other way."""
    module = tiny_module(tmp_path, region_encoder=way).eval()
    media = Pixels(np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3), dtype=np.uint8))
    tracks: tuple[dict[int, Geometry | None], ...] = ({}, {0: square_mask()})
    batches = [
        make_batch(
            module, RegionSample("a", media, (Region({0: Box((0, 0, 8, 12))}, track),), (Turn("<region>", "x"),))
        )
        for track in tracks
    ]
    told, known = (module.backbone(batch).logits for batch in batches)
    assert torch.equal(told, known)
    assert [batch.guide_weights.sum().item() for batch in batches] == [0.0, 20 / 16]


@pytest.mark.parametrize("way", WAYS, ids=way_name)
def test_the_length_is_known_beforehand(way: RegionEncoder, tmp_path: Path) -> None:
    """A token budget must not be exceeded; words may turn out to be fewer."""
    processed = process(tmp_path, way)
    for sample in (moving(), moving().prompted_everywhere(), twice()):
        assert len(processed(sample).rendered.ids) <= processed.most_tokens(sample)


@pytest.mark.parametrize(("prompted_frames", "frames"), [("own", [0, 3]), ("all", [0, 1, 3])])
def test_the_data_set_asks_for_it(prompted_frames: PromptedFrames, frames: list[int], tmp_path: Path) -> None:
    data = RegionDataset({"one": Listed(moving())}, process(tmp_path, marks()), prompted_frames=prompted_frames)
    marked = by_frame(data[Draw(0, 0)].weights.mark).sum((1, 2))
    assert marked.nonzero()[0].tolist() == frames
