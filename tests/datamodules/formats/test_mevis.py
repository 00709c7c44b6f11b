"""MeViS: expressions about motion, often of several objects at once."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from pycocotools import mask as coco_mask

from damage import FUZZ, damaged, dump_json, read_all
from datamodules.errors import DataError
from datamodules.formats.mevis import Mevis
from datamodules.types import Mask
from moving_squares import FRAMES, assert_on_pixels, save_picture, squares


def write_mevis(root: Path, split: str = "valid_u", scenes: int = 3) -> None:
    """Lays `scenes` videos out as MeViS does: two expressions a square and one for two squares together."""
    videos: dict[str, Any] = {}
    masks: dict[str, Any] = {}
    for number in range(scenes):
        scene, video = squares(number), f"{number:012x}"
        names = [f"{frame:05d}" for frame in range(len(scene.frames))]
        for name, picture in zip(names, scene.frames, strict=True):
            save_picture(root / split / "JPEGImages" / video / f"{name}.jpg", picture)
        expressions: dict[str, Any] = {}
        for square, colour in enumerate(scene.colours):
            seen, anno = scene.visible(square), 100 + 3 * number + square
            masks[str(anno)] = [scene.rle(square, t) if t in seen else None for t in range(len(names))]
            for exp in (f"a {colour} square", f"the square that is {colour}"):
                expressions[str(len(expressions))] = {"exp": exp, "obj_id": [square], "anno_id": [anno]}
        pair = [100 + 3 * number + square for square in (0, 2)]
        expressions["6"] = {"exp": "two squares", "obj_id": [0, 2], "anno_id": pair}
        videos[video] = {"expressions": expressions, "vid_id": number, "frames": names}
    (root / split / "meta_expressions.json").write_text(json.dumps({"videos": videos}))
    (root / split / "mask_dict.json").write_text(json.dumps(masks))


CODE = {"size": [2, 3], "counts": [1, 2, 3]}
MASKS: dict[str, Any] = {"1": [None, CODE], "2": [CODE, {"size": [2, 3], "counts": [6]}]}
DOCUMENT: dict[str, Any] = {
    "videos": {
        "v": {
            "vid_id": 3,
            "frames": ["00000", "00001"],
            "expressions": {
                "0": {"exp": "going left", "obj_id": [4], "anno_id": [1]},
                "1": {"exp": "all", "obj_id": [4, 5], "anno_id": [1, 2]},
            },
        }
    }
}


def source_of(root: Path, document: Any = DOCUMENT, masks: Any = MASKS, **options: Any) -> Mevis:
    (root / "train").mkdir(exist_ok=True)
    (root / "train" / "meta_expressions.json").write_bytes(dump_json(document))
    (root / "train" / "mask_dict.json").write_bytes(dump_json(masks))
    return Mevis(root, "train", **options)


def test_every_square_is_where_its_expression_says(tmp_path: Path) -> None:
    write_mevis(tmp_path)
    source = Mevis(tmp_path, "valid_u")
    assert len(source) == 3 * 7
    compared = 0
    for index in range(len(source)):
        scene, expression = squares(index // 7), index % 7
        if expression == 6:
            [region] = source[index].regions
            ((frame, prompt),) = region.prompts.items()
            assert isinstance(prompt, Mask)
            code = {"size": list(prompt.size), "counts": prompt.counts}
            assert np.array_equal(coco_mask.decode(code), scene.masks[[0, 2], frame].any(axis=0))
        else:
            compared += assert_on_pixels(source[index], [scene.colours[expression // 2]])
    assert compared == 18 * FRAMES


def test_grouped_references(tmp_path: Path) -> None:
    write_mevis(tmp_path)
    source = Mevis(tmp_path, "valid_u", references="grouped")
    assert len(source) == 3 * 4
    sample = source[1]
    assert sample.id == "000000000000/object 101"
    assert sample.conversation[0].answer == "a green square"
    assert sample.conversation[0].references == ("a green square", "the square that is green")
    assert sample.protocol == "MeViS valid_u, all expressions of an object as references, mask"
    assert sample.group == ""


def test_the_prompted_frame_is_the_first_that_shows_the_object(tmp_path: Path) -> None:
    source = source_of(tmp_path, question="Describe <region>.")
    assert [source[index].prompted_frames for index in range(2)] == [(1,), (0,)]
    assert source[0].regions[0].track == {0: None, **source[0].regions[0].prompts}
    assert source[0].conversation[0].question == "Describe <region>."
    assert source[0].media.span is None


@pytest.mark.parametrize(
    ("videos", "message"),
    [
        ({"frames": ["0", "1"]}, "missing key 'expressions'"),
        ({"frames": "01", "expressions": {}}, "frames: expected an array, got '01'"),
        ({"frames": ["0", 1], "expressions": {}}, "frames[1]: expected a string, got 1"),
        ({"frames": ["0", "0"], "expressions": {}}, "frames: 2, of which 1 are different"),
        ({"frames": ["0", "1"], "expressions": {"5": {"exp": "x"}}}, "expressions.5: missing key 'anno_id'"),
        ({"frames": ["0", "1"], "expressions": {"5": {"exp": "x", "anno_id": ["1"]}}},
         "expressions.5.anno_id: expected an integer, got '1'"),
    ],
)  # fmt: skip
def test_a_record_that_cannot_be_used_is_named(tmp_path: Path, videos: Any, message: str) -> None:
    source = source_of(tmp_path, {"videos": {"v": videos}})
    assert len(source) == 1
    with pytest.raises(DataError) as error:
        source[0]
    assert str(error.value) == f"{tmp_path}/train/meta_expressions.json: 'v': {message}"


@FUZZ
@given(data=damaged(DOCUMENT))
def test_damaged_expressions_are_read_or_a_data_error(tmp_path: Path, data: bytes) -> None:
    source = source_of(tmp_path)
    (tmp_path / "train" / "meta_expressions.json").write_bytes(data)
    read_all(source, tmp_path)


@settings(FUZZ, max_examples=150)
@given(data=damaged(MASKS))
def test_damaged_masks_are_read_or_a_data_error(tmp_path: Path, data: bytes) -> None:
    source = source_of(tmp_path)
    (tmp_path / "train" / "mask_dict.json").write_bytes(data)
    read_all(source, tmp_path)
