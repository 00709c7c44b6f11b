"""LVIS and PACO as Osprey selected them: the writer lays the squares out as both files do."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from damage import FUZZ, damaged, read_all
from datamodules.errors import DataError
from datamodules.formats.osprey_categories import PARTS, QUESTION, OspreyCategories
from datamodules.types import Frames, Mask, Polygon, Region, Turn
from moving_squares import HEIGHT, WIDTH, assert_on_pixels, save_picture, squares


def write_osprey_categories(root: Path, name: str = "lvis", scenes: int = 3) -> None:
    """`<name>_val_1k_category.json`, and pictures in `coco/train2017` and `coco/val2017` by turns."""
    records: list[dict[str, Any]] = []
    for number in range(scenes):
        scene, file = squares(number), f"{number:012d}.jpg"
        save_picture(root / "coco" / ("train2017", "val2017")[number % 2] / file, scene.frames[0])
        rings = [[float(value) for point in scene.ring(square) for value in point] for square in range(3)]
        shapes = [[rings[0]], scene.rle(1), [rings[2]]]
        joined = ":" if name == "paco" else "_"
        records.append(
            {
                "file_name": file,
                "height": HEIGHT,
                "width": WIDTH,
                "categories": [f"{colour}{joined}square" for colour in scene.colours],
                "annotations": [{"segmentation": shape} for shape in shapes],
            }
        )
    (root / f"{name}_val_1k_category.json").write_text(json.dumps(records))


def test_regions_land_on_their_squares(tmp_path: Path) -> None:
    write_osprey_categories(tmp_path)
    source = OspreyCategories(tmp_path / "lvis_val_1k_category.json", tmp_path / "coco")
    samples = read_all(source, tmp_path)
    assert len(samples) == 9 and len({sample.id for sample in samples}) == 9
    for number, sample in enumerate(samples):
        colour = squares(number // 3).colours[number % 3]
        assert assert_on_pixels(sample, [colour]) == 1
        assert sample.conversation == (Turn(QUESTION, f"{colour}_square"),)
        assert isinstance(sample.regions[0].prompts[0], Mask if number % 3 == 1 else Polygon)


RECORD = {
    "file_name": "7.jpg",
    "height": 40,
    "width": 56,
    "categories": ["dog:leg", "bath_mat"],
    "annotations": [{"segmentation": [[1, 2, 5, 2, 5, 6]]}, {"segmentation": [], "bbox": [1, 2, 3, 4]}],
}


def _source(folder: Path, data: bytes, **options: Any) -> OspreyCategories:
    (folder / "7.jpg").touch()
    path = folder / "paco_val_1k_category.json"
    path.write_bytes(data)
    return OspreyCategories(path, folder, **options)


def test_a_record_by_hand(tmp_path: Path) -> None:
    leg, mat = read_all(_source(tmp_path, json.dumps([RECORD]).encode(), ask_for_parts=True), tmp_path)
    assert (leg.id, mat.id, leg.task) == ("0/0", "0/1", "classify")
    assert leg.media == Frames((tmp_path / "7.jpg",))
    assert leg.regions == (Region.at(Polygon(((1.0, 2.0, 5.0, 2.0, 5.0, 6.0),))),)
    assert leg.conversation == (Turn(PARTS, "dog:leg"),)
    assert leg.protocol == "paco_val_1k_category, polygon, parts"
    assert mat.protocol == "paco_val_1k_category, box in place of a mask, parts"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"categories": ["dog"]}, "1 categories for 2 annotations"),
        ({"annotations": []}, "annotations: expected one or more, got 0"),
        ({"file_name": "8.jpg"}, "8.jpg is neither in {} nor in its train2017, val2017"),
        ({"categories": ["", "x"]}, "categories[0]: expected text, got ''"),
    ],
)
def test_a_bad_record_is_named(tmp_path: Path, changes: Any, message: str) -> None:
    source = _source(tmp_path, json.dumps([RECORD | changes]).encode())
    with pytest.raises(DataError) as error:
        source[0]
    assert str(error.value) == f"{source.path}: [0]: {message.format(tmp_path)}"


@FUZZ
@given(data=damaged([RECORD]))
def test_damaged_files(tmp_path: Path, data: bytes) -> None:
    assert len(read_all(_source(tmp_path, data), tmp_path)) <= 3
