from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonargparse import ArgumentParser
from numpy.typing import NDArray
from PIL import Image

from datamodules.errors import DataError
from datamodules.regions.drawing import region_colour
from datamodules.regvid.labels import Label
from datamodules.regvid.mark import Mark, MarkedVideo
from datamodules.regvid.masklets import Sam2Masklets
from datamodules.regvid.overlay import paint
from datamodules.types import Box, Clip, Frames, Mask, NoPicture, Pixels, Polygon, Region, RegionSample, Turn

SIZE = (96, 128)


def frames(number: int, size: tuple[int, int] = SIZE) -> Pixels:
    rng = np.random.default_rng(0)
    return Pixels(rng.integers(0, 256, (number, *size, 3), dtype=np.uint8))


def video(*regions: Region, media: Pixels | None = None, number: int = 4) -> RegionSample:
    named = tuple(replace(region, category=region.category or "thing") for region in regions)
    return RegionSample("clip-7", media or frames(number), named, (Turn("what is there"),), origin="a.jsonl:3")


def moving(number: int, start: tuple[float, float, float, float] = (10, 20, 60, 70), step: float = 10) -> Region:
    x0, y0, x1, y1 = start
    track = {frame: Box((x0 + step * frame, y0, x1 + step * frame, y1)) for frame in range(1, number)}
    return Region.at(Box(start), track=track)


def changed(marked: MarkedVideo) -> NDArray[np.bool_]:
    """(T, H, W)."""
    differs: NDArray[np.bool_] = (marked.marked != marked.plain).any(-1)
    return differs


def shown(labels: list[Label | None]) -> list[Label]:
    return [label for label in labels if label is not None]


def plate(label: Label) -> tuple[slice, slice]:
    return slice(label.top, label.top + label.height), slice(label.left, label.left + label.width)


# --- what is drawn where ----------------------------------------------------------------------------------------------


def test_frames_are_sampled_with_the_prompted_ones_among_them() -> None:
    marked = Mark(frames=4, side=128)(video(Region.at(Box((5, 5, 40, 40)), frame=17), number=31))
    assert marked.frames == (0, 10, 17, 30)
    assert marked.video_id == "clip-7"
    assert marked.nouns == ("thing",)


def test_frames_of_the_wanted_size_are_shown_bit_for_bit() -> None:
    media = frames(3)
    marked = Mark(side=128)(video(moving(3), media=media))
    np.testing.assert_array_equal(marked.plain, media.array)
    assert marked.marked.dtype == np.uint8
    assert marked.marked.shape == marked.plain.shape


@pytest.mark.parametrize(("side", "height", "width"), [(64, 48, 64), (512, 384, 512)])
def test_frames_are_brought_to_the_longer_side(side: int, height: int, width: int) -> None:
    assert Mark(side=side)(video(moving(4))).plain.shape == (4, height, width, 3)


def test_a_box_is_told_in_pixels_of_the_shown_frame() -> None:
    region = Region.at(Box((10, 20, 60, 70)), frame=1, track={0: None, 2: Polygon(((4.0, 8, 20, 8, 20, 40),))})
    marked = Mark(side=64)(video(region))
    assert marked.source == SIZE
    assert [marked.box(0, time) for time in range(4)] == [None, (5, 10, 30, 35), (2, 4, 10, 20), None]


def test_a_region_is_drawn_only_where_it_is_known_to_be() -> None:
    prompted = Mark(side=128)(video(Region.at(Box((10, 20, 60, 70)), frame=1)))
    assert changed(prompted).any((1, 2)).tolist() == [False, True, False, False]
    tracked = Mark(side=128)(video(Region.at(Box((10, 20, 60, 70)), track={1: None, 3: Box((0, 0, 50, 50))})))
    assert changed(tracked).any((1, 2)).tolist() == [True, False, False, True]


def test_outline_and_tint_by_hand() -> None:
    """Grey ground, a box from 32 to 96: outside of it a line of 1 pixel and its dark rim, inside a tint of a half."""
    grey = Pixels(np.full((1, 128, 128, 3), 100, np.uint8))
    marked = Mark(side=128, opacity=0.5)(video(Region.at(Box((32, 32, 96, 96))), media=grey))
    colour = 255 * np.array(region_colour(0))
    row = marked.marked[0, 40]
    assert (row[:30] == 100).all()
    assert (row[30] == 0).all()
    np.testing.assert_allclose(row[31], colour, atol=0.51)
    np.testing.assert_allclose(row[32:96], np.tile(50 + colour / 2, (64, 1)), atol=0.51)
    np.testing.assert_allclose(row[96], colour, atol=0.51)
    assert (row[97] == 0).all()
    assert (row[98:] == 100).all()


def test_every_region_of_equal_ones_can_be_seen() -> None:
    box = Box((20, 20, 100, 80))
    marked = Mark(side=128)(video(Region.at(box), Region.at(box), number=1)).marked[0]
    for number in range(2):
        colour = np.round(255 * np.array(region_colour(number), dtype=np.float32))
        assert (marked[:18] == colour).all(-1).sum() + (marked[19] == colour).all(-1).sum() > 20


def test_an_image_is_a_video_of_one_frame(tmp_path: Path) -> None:
    Image.fromarray(frames(1).array[0]).save(tmp_path / "a.png")
    image = RegionSample("a", Frames((tmp_path / "a.png",)), (Region.at(Box((1, 1, 60, 60)), category="cat"),), ())
    assert Mark(side=128)(image).marked.shape == (1, *SIZE, 3)


def test_marking_twice_gives_the_same_bits() -> None:
    asked = video(moving(4), Region.at(Box((30, 30, 34, 34)), frame=2))
    np.testing.assert_array_equal(Mark()(asked).marked, Mark()(asked).marked)


# --- numbers ----------------------------------------------------------------------------------------------------------


def crowd(number: int, seed: int) -> NDArray[np.bool_]:
    rng = np.random.default_rng(seed)
    masks = np.zeros((2, number, 120, 160), dtype=np.bool_)
    for time, region in np.ndindex(2, number):
        y, x, height, width = rng.integers(0, 80), rng.integers(0, 120), *rng.integers(3, 40, 2)
        masks[time, region, y : y + height, x : x + width] = True
    return masks


@pytest.mark.parametrize("seed", range(3))
def test_every_number_can_be_read_in_full_on_any_ground(seed: int) -> None:
    """A plate looks the same on black, on white and on noise: nothing shines through and nothing lies on it."""
    masks = crowd(16, seed)
    noise = np.random.default_rng(seed).integers(0, 256, (2, 120, 160, 3), dtype=np.uint8)
    grounds = [np.zeros_like(noise), np.full_like(noise, 255), noise]
    (black, labels), (white, _), (noisy, _) = (paint(ground, masks, 0.08, 0.2) for ground in grounds)
    for time, placed in enumerate(labels):
        for number, label in enumerate(shown(placed)):
            there = black[time][plate(label)]
            np.testing.assert_array_equal(there, white[time][plate(label)])
            np.testing.assert_array_equal(there, noisy[time][plate(label)])
            inside = there[1:-1, 1:-1].reshape(-1, 3)
            colour = np.round(255 * np.array(region_colour(number), dtype=np.float32))
            assert (inside == colour).all(1).mean() > 0.3
            assert (inside == 0).all(1).mean() > 0.05  # the digits
        assert all(_disjoint(first, second) for first, second in combinations(shown(placed), 2))


def _disjoint(first: Label, second: Label) -> bool:
    canvas = np.zeros((120, 160), dtype=np.int64)
    for label in (first, second):
        canvas[plate(label)] += 1
    return int(canvas.max()) == 1


def test_digits_are_the_regions_indices_counted_from_one() -> None:
    """Two plates differ in their digits and colour alone, and ten is wider than nine."""
    masks = np.zeros((1, 10, 100, 400), dtype=np.bool_)
    for number in range(10):
        masks[0, number, 20:80, 40 * number : 40 * number + 36] = True
    _, (labels,) = paint(np.zeros((1, 100, 400, 3), np.uint8), masks, 0.2, 0.0)
    widths = [label.width for label in shown(labels)]
    assert len(set(widths[:9])) == 1
    assert widths[9] > widths[8]
    assert {label.height for label in shown(labels)} == {labels[0].height if labels[0] else 0}


def test_numbers_are_sized_with_the_frame_and_shrink_where_there_is_no_room() -> None:
    def height(side: int, masks: NDArray[np.bool_]) -> int:
        grown = np.kron(masks, np.ones((1, 1, side // 50, side // 50), dtype=np.bool_))
        _, (labels,) = paint(np.zeros((1, side, side, 3), np.uint8), grown, 0.25, 0.2)
        return shown(labels)[0].height

    alone = np.ones((1, 1, 50, 50), dtype=np.bool_)
    assert height(400, alone) == pytest.approx(2 * height(200, alone), rel=0.05)
    assert height(200, np.repeat(alone, 16, 1)) < height(200, alone)


def test_a_region_keeps_colour_and_place_of_its_number() -> None:
    masks = np.zeros((4, 1, 90, 120), dtype=np.bool_)
    for time in range(4):
        masks[time, 0, 20:70, 5 + 15 * time : 55 + 15 * time] = True
    painted, labels = paint(np.full((4, 90, 120, 3), 90, np.uint8), masks, 0.15, 0.2)
    first = shown(labels[0])[0]
    for time in range(4):
        (label,) = shown(labels[time])
        assert (label.top, label.left) == (first.top, first.left + 15 * time)
        np.testing.assert_array_equal(painted[time][plate(label)], painted[0][plate(first)])


def test_a_number_beside_its_region_is_led_to_it() -> None:
    masks = np.zeros((1, 1, 60, 60), dtype=np.bool_)
    masks[0, 0, 30:33, 30:33] = True
    painted, ((label,),) = paint(np.full((1, 60, 60, 3), 90, np.uint8), masks, 0.2, 0.0)
    assert label is not None and label.beside
    colour = np.round(255 * np.array(region_colour(0), dtype=np.float32))
    y, x = label.anchor
    assert (painted[0, y, x] == colour).all()


# --- what cannot be marked --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("regions", "problem"),
    [
        ((), "has no region to mark"),
        ((moving(4), Region.at(Box((0, 0, 9, 9)), category=" ")), "region 1 has no category"),
        ((Region.at(Box((0, 0, 400, 9))),), r"region 0 on frame 0: box .* lies outside the frame of width 128"),
        ((Region.at(Mask((9, 9), b"a1"), track={}),), r"mask of 9 x 9 on a frame of 96 x 128"),
        ((Region.at(Polygon(((5.0, 5, 5, 5, 5, 5),))),), "region 0 is empty on its prompted frame 0"),
        (tuple(Region.at(Box((0, 0, 9, 9)), frame=frame) for frame in range(4)), "4 frames are prompted, but 3 are"),
        (tuple(Region.at(Box((0, 0, 128, 96))) for _ in range(40)), "40 numbers of"),
    ],
)
def test_what_is_wrong_is_told_with_the_sample(regions: tuple[Region, ...], problem: str) -> None:
    with pytest.raises(DataError, match=rf"a.jsonl:3: sample 'clip-7': .*{problem}"):
        Mark(frames=3, side=64)(video(*regions))


def test_text_alone_cannot_be_marked() -> None:
    asked = replace(video(Region.at(Box((0, 0, 9, 9)))), media=NoPicture())
    with pytest.raises(DataError, match="no picture to mark"):
        Mark()(asked)


@pytest.mark.parametrize("options", [{"frames": 0}, {"side": 0}, {"label": 0.0}, {"label": 0.6}, {"opacity": 1.5}])
def test_options_out_of_range(options: dict[str, float]) -> None:
    with pytest.raises(DataError, match=rf"mark: .*{next(iter(options))} "):
        Mark(**options)  # type: ignore[arg-type]  # one of several types


# --- masklets ---------------------------------------------------------------------------------------------------------


class Sliding:
    """Finds every region 20 pixels further right with every frame."""

    options: Mapping[str, Any] = {}

    def __call__(self, clip: Clip, regions: tuple[Region, ...]) -> tuple[Mapping[int, Mask | None], ...]:
        return tuple({frame: self._mask(region, frame) for frame in clip.frames} for region in regions)

    def _mask(self, region: Region, frame: int) -> Mask:
        from pycocotools import mask as coco_mask

        (prompt,) = region.prompts.values()
        assert isinstance(prompt, Box)
        x0, y0, x1, y1 = (round(value) for value in prompt.xyxy)
        inside = np.zeros(SIZE, dtype=np.uint8, order="F")
        inside[y0:y1, x0 + 20 * frame : x1 + 20 * frame] = 1
        return Mask(SIZE, coco_mask.encode(inside)["counts"])


def test_a_region_is_shown_as_it_is_pointed_at_and_then_where_it_is() -> None:
    """On its prompted frame the box is told that somebody drew, not the mask that a masklet found."""
    box, place = Box((10, 20, 40, 60)), Box((12, 24, 20, 30))
    marked = Mark(side=128)(video(Region({0: box}, {0: place, 1: place}), number=3))
    assert [marked.box(0, time) for time in range(3)] == [box.xyxy, place.xyxy, None]


def test_masklets_are_drawn_and_handed_on() -> None:
    marked = Mark(side=128, masklets=Sliding())(video(Region.at(Box((10, 20, 40, 60))), number=3))
    assert changed(marked).any((1, 2)).all()
    assert [marked.box(0, time) for time in range(3)] == [
        (10, 20, 40, 60), (30, 20, 60, 60), (50, 20, 80, 60),
    ]  # fmt: skip
    assert sorted(marked.regions[0].track) == [0, 1, 2]


def test_masklets_come_from_a_configuration() -> None:
    parser = ArgumentParser()
    parser.add_class_arguments(Mark, "mark")
    options = ["--mark.masklets=datamodules.regvid.masklets.Sam2Masklets", "--mark.masklets.model=some/folder"]
    made = parser.instantiate_classes(parser.parse_args([*options, "--mark.frames=8"])).mark
    assert made.frames == 8
    assert isinstance(made.masklets, Sam2Masklets)
    assert made.masklets.model == "some/folder"
