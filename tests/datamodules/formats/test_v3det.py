"""V3Det: COCO instances of a vast vocabulary, boxes only."""

from __future__ import annotations

import copy
import pickle
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from damage import FUZZ, damaged, dump_json, read_all
from datamodules.errors import DataError
from datamodules.formats.v3det import V3Det
from datamodules.types import Box, Frames, Turn
from moving_squares import HEIGHT, WIDTH, Squares, assert_on_pixels, save_picture, squares

SCENES = 3
NAMES = ("red", "green", "blue", "yellow", "purple", "white")


@cache
def scene_of(number: int) -> Squares:
    return squares(number)


def document() -> dict[str, Any]:
    """One class a colour; the long descriptions of the classes stand in the file as well."""
    images, annotations = [], []
    for number in range(SCENES):
        name = f"images/n0774504{number}/{number}_1.jpg"
        images.append({"id": number + 1, "file_name": name, "width": WIDTH, "height": HEIGHT})
        annotations += [_annotation(number, square) for square in range(3)]
    categories = [_category(number, name) for number, name in enumerate(NAMES)]
    return {"info": {}, "images": images, "annotations": annotations, "categories": categories}


def _annotation(number: int, square: int) -> dict[str, Any]:
    scene = scene_of(number)
    x0, y0, x1, y1 = scene.box(square) or (0, 0, 0, 0)
    box = [x0, y0, x1 - x0, y1 - y0]
    category = 1 + NAMES.index(scene.colours[square])
    ids = {"id": 1 + 3 * number + square, "image_id": number + 1, "category_id": category}
    return {**ids, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}


def _category(number: int, name: str) -> dict[str, Any]:
    info = {"name_zh": "方", "cat_info": "a colour", "cat_info_gpt": "A colour.", "novel": number > 3}
    return {"id": 1 + number, "name": f"{name.capitalize()} square", **info, "exemplar_image": "e.jpg"}


def write_v3det(root: Path) -> None:
    """Annotations of train and val, which show the same pictures here."""
    for image in document()["images"]:
        save_picture(root / image["file_name"], scene_of(image["id"] - 1).frames[0])
    for split in ("train", "val", "train_ovd_base"):
        _write(root, document(), split)


def _write(root: Path, content: Any, split: str = "val") -> None:
    (root / "annotations").mkdir(exist_ok=True)
    (root / f"annotations/v3det_2023_v1_{split}.json").write_bytes(dump_json(content))


@pytest.mark.parametrize("split", ["train", "val", "train_ovd_base"])
def test_every_class_is_about_the_pixels_of_its_square(tmp_path: Path, split: Any) -> None:
    write_v3det(tmp_path)
    source = V3Det(tmp_path, split)
    assert len(source) == SCENES * 3
    for sample in map(source.__getitem__, range(len(source))):
        assert assert_on_pixels(sample, [sample.conversation[0].answer.split()[0]]) == 1
        assert sample.protocol == f"V3Det v1 {split}, box"


def test_a_sample_by_hand(tmp_path: Path) -> None:
    _write(tmp_path, document(), "train")
    path = (tmp_path / "annotations/v3det_2023_v1_train.json").rename(tmp_path / "moved.json")
    sample = V3Det(tmp_path, "train", annotations=path, question="<region>?", balanced=True)[4]
    assert (sample.id, sample.task) == ("5", "classify")
    assert sample.media == Frames((tmp_path / "images/n07745041/1_1.jpg",))
    assert sample.conversation == (Turn("<region>?", "purple square"),)
    assert sample.regions[0].category == "Purple square"
    assert sample.meta["category_id"] == 5
    assert sample.origin == str(path)


def test_balanced_and_small_objects_as_in_every_coco_file(tmp_path: Path) -> None:
    changed = document()
    changed["annotations"][0]["bbox"] = [1, 1, 2, 2]
    _write(tmp_path, changed)
    source = V3Det(tmp_path, "val", balanced=True, min_area=5)
    weights = source.balance()
    assert weights is not None
    assert (len(source), weights.sum()) == (8, pytest.approx(1))


def test_a_box_that_sticks_out_is_clipped_and_one_outside_spoils_only_itself(tmp_path: Path) -> None:
    changed = document()
    changed["annotations"][0]["bbox"] = [-9, 5, 20, 400]
    changed["annotations"][1]["bbox"] = [9, 5, -1, 4]
    _write(tmp_path, changed)
    source = V3Det(tmp_path, "val")
    assert source[0].regions[0].prompts[0] == Box((0.0, 5.0, 11.0, HEIGHT))
    with pytest.raises(DataError) as error:
        source[1]
    assert str(error.value) == (
        f"{tmp_path}/annotations/v3det_2023_v1_val.json: annotation 2: bbox: box [9.0, 5.0, 8.0, 9.0] is not on the "
        f"frame of width {WIDTH} and height {HEIGHT}"
    )
    assert source[2].id == "3"


def test_what_travels_to_a_worker_is_an_index(tmp_path: Path) -> None:
    _write(tmp_path, document())
    source = V3Det(tmp_path, "val")
    sample = source[0]
    travelled = pickle.dumps(source)
    assert b"A colour." not in travelled
    assert pickle.loads(travelled)[0] == sample


@FUZZ
@given(data=damaged(copy.deepcopy(document())))
def test_damaged_files(tmp_path: Path, data: bytes) -> None:
    _write(tmp_path, {})
    (tmp_path / "annotations/v3det_2023_v1_val.json").write_bytes(data)
    assert len(read_all(V3Det(tmp_path, "val"), tmp_path)) <= 9
