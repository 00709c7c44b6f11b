"""Visual Genome's own region descriptions."""

from __future__ import annotations

import copy
import json
import pickle
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from damage import FUZZ, damaged, dump_json, read_all
from datamodules.errors import DataError
from datamodules.formats.visual_genome import VisualGenomeRegions
from datamodules.types import Box, Frames, Turn
from moving_squares import HEIGHT, WIDTH, Squares, assert_on_pixels, save_picture, squares

SCENES = 4
PAIR = ("VG_100K", "VG_100K_2")


@cache
def scene_of(number: int) -> Squares:
    return squares(number)


def image_data() -> list[dict[str, Any]]:
    """Every image's size, in another order than the descriptions."""
    addresses = {"url": "https://example.org/1.jpg", "coco_id": None, "flickr_id": 5}
    ids = reversed(range(SCENES))
    return [{"image_id": 2_400_001 + n, "width": WIDTH, "height": HEIGHT, **addresses} for n in ids]


def region_descriptions() -> list[dict[str, Any]]:
    """Three regions an image; some phrases end in a blank."""
    return [{"id": 2_400_001 + n, "regions": [_region(n, square) for square in range(3)]} for n in range(SCENES)]


def _region(number: int, square: int) -> dict[str, Any]:
    scene = scene_of(number)
    x0, y0, x1, y1 = scene.box(square) or (0, 0, 0, 0)
    return {
        "region_id": 5_000 + 3 * number + square,
        "width": x1 - x0,
        "height": y1 - y0,
        "image_id": 2_400_001 + number,
        "phrase": f"a {scene.colours[square]} square" + " " * square,
        "x": x0,
        "y": y0,
    }


def write_visual_genome(root: Path) -> None:
    """The two annotation files, and the pictures in their two folders in turn."""
    for number in range(SCENES):
        save_picture(root / PAIR[number % 2] / f"{2_400_001 + number}.jpg", scene_of(number).frames[0])
    _write(root, region_descriptions(), image_data())


def _write(root: Path, descriptions: Any, sizes: Any) -> None:
    (root / "region_descriptions.json").write_bytes(dump_json(descriptions))
    (root / "image_data.json").write_bytes(dump_json(sizes))


def _with_pictures(root: Path) -> None:
    for number in range(SCENES):
        (root / PAIR[0]).mkdir(exist_ok=True)
        (root / PAIR[0] / f"{2_400_001 + number}.jpg").touch()


def _changed(*path: Any, value: Any) -> Any:
    changed = copy.deepcopy(region_descriptions())
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed


def test_every_phrase_is_about_the_pixels_of_its_square(tmp_path: Path) -> None:
    write_visual_genome(tmp_path)
    source = VisualGenomeRegions(tmp_path)
    assert len(source) == SCENES * 3
    for sample in map(source.__getitem__, range(len(source))):
        assert assert_on_pixels(sample, [sample.conversation[0].answer.split()[1]]) == 1
    assert len({source[index].id for index in range(len(source))}) == len(source)


def test_a_region_by_hand(tmp_path: Path) -> None:
    write_visual_genome(tmp_path)
    sample = VisualGenomeRegions(tmp_path)[5]
    assert sample.id == "5005"
    assert sample.media == Frames((tmp_path / "VG_100K_2/2400002.jpg",))
    assert sample.conversation == (Turn("Give a short description of <region>.", "a red square", ("a red square",)),)
    assert sample.meta == {"image_id": 2400002, "region_id": 5005}
    assert sample.protocol == "Visual Genome region descriptions, one reference a region, box"
    assert sample.origin == f"{tmp_path}/region_descriptions.json: [1]"


def test_pictures_may_be_merged_or_elsewhere(tmp_path: Path) -> None:
    _write(tmp_path, region_descriptions(), image_data())
    save_picture(tmp_path / "merged/2400001.jpg", scene_of(0).frames[0])
    source = VisualGenomeRegions(tmp_path, images=tmp_path / "merged", question="<region>?")
    assert source[0].media == Frames((tmp_path / "merged/2400001.jpg",))
    assert source[0].conversation[0].question == "<region>?"
    with pytest.raises(DataError, match=r"2400002\.jpg is neither in .*merged nor in its VG_100K, VG_100K_2"):
        source[3]


def test_boxes_that_stick_out_are_clipped(tmp_path: Path) -> None:
    changed = _changed(0, "regions", 0, "x", value=-2)
    changed[0]["regions"][0]["height"] = 500
    _write(tmp_path, changed, image_data())
    _with_pictures(tmp_path)
    box = VisualGenomeRegions(tmp_path)[0].regions[0].prompts[0]
    assert isinstance(box, Box)
    assert (box.xyxy[0], box.xyxy[3]) == (0.0, HEIGHT)


def test_images_without_regions_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _write(tmp_path, _changed(0, "regions", value=[]), image_data())
    _with_pictures(tmp_path)
    with caplog.at_level("INFO"):
        source = VisualGenomeRegions(tmp_path)
        assert (len(source), source[0].id) == (9, "5003")
    assert "9 regions of 4 images, 1 image without" in caplog.text


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ((0,), 7, "[0]: record: expected an object, got 7"),
        ((0, "id"), 3, "[0]: regions[0].image_id: 2400001 in the record of image 3"),
        ((0, "regions"), None, "[0]: regions: expected an array, got None"),
        ((0, "regions", 0, "phrase"), "", "[0]: regions[0].phrase: expected text, got ''"),
        ((0, "regions", 0, "width"), 0, "[0]: regions[0]: empty, width 0 and height 8"),
        (
            (0, "regions", 0, "y"),
            40,
            f"[0]: regions[0]: box [19.0, 40.0, 27.0, 48.0] is not on the frame of width {WIDTH} and height {HEIGHT}",
        ),
    ],
)
def test_a_broken_record_is_named_and_the_others_are_read(
    tmp_path: Path, path: tuple[Any, ...], value: Any, message: str
) -> None:
    _write(tmp_path, _changed(*path, value=value), image_data())
    _with_pictures(tmp_path)
    source = VisualGenomeRegions(tmp_path)
    with pytest.raises(DataError) as error:
        source[0]
    assert str(error.value) == f"{tmp_path}/region_descriptions.json: {message}"
    assert source[len(source) - 1].id == "5011"


def test_an_image_without_a_size(tmp_path: Path) -> None:
    _write(tmp_path, region_descriptions(), image_data()[:3])
    _with_pictures(tmp_path)
    with pytest.raises(DataError) as error:
        VisualGenomeRegions(tmp_path)[0]
    assert str(error.value) == (
        f"{tmp_path}/region_descriptions.json: [0]: {tmp_path}/image_data.json: no image 2400001 among 3"
    )


def test_what_travels_to_a_worker_has_no_text(tmp_path: Path) -> None:
    write_visual_genome(tmp_path)
    source = VisualGenomeRegions(tmp_path)
    sample = source[0]
    travelled = pickle.dumps(source)
    assert b"red" not in travelled
    assert pickle.loads(travelled)[0] == sample


@FUZZ
@given(data=damaged(region_descriptions()[:2]))
def test_damaged_descriptions(tmp_path: Path, data: bytes) -> None:
    _write(tmp_path, [], image_data())
    _with_pictures(tmp_path)
    (tmp_path / "region_descriptions.json").write_bytes(data)
    assert len(read_all(VisualGenomeRegions(tmp_path), tmp_path)) <= 6


@FUZZ
@given(data=damaged(image_data()[2:]))
def test_damaged_sizes(tmp_path: Path, data: bytes) -> None:
    _write(tmp_path, region_descriptions()[:2], [])
    _with_pictures(tmp_path)
    (tmp_path / "image_data.json").write_bytes(data)
    assert len(read_all(VisualGenomeRegions(tmp_path), tmp_path)) <= 6


def test_a_byte_order_mark(tmp_path: Path) -> None:
    write_visual_genome(tmp_path)
    for name in ("region_descriptions.json", "image_data.json"):
        path = tmp_path / name
        path.write_text(json.dumps(json.loads(path.read_text())), encoding="utf-8-sig")
    assert len(VisualGenomeRegions(tmp_path)) == 12
