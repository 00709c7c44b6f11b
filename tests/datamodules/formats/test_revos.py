"""ReVOS: expressions of three kinds, unions of masks by annotation id."""

import copy
import json
import logging
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from damage import FUZZ, damaged, dump_json, read_all
from datamodules.errors import DataError
from datamodules.formats.revos import Revos
from datamodules.types import Frames, Mask, RegionSample
from moving_squares import FRAMES, assert_on_pixels, save_picture, squares


def write_revos(root: Path, split: str = "valid", scenes: int = 3) -> None:
    """Lays `scenes` videos out as ReVOS does: a referring expression a square, one reasoning, one without a target.

    The frames are listed backwards, words are joined by underscores, and annotation ids count through all videos.
    """
    videos: dict[str, Any] = {}
    masks: dict[str, Any] = {}
    for number in range(scenes):
        scene, ids = squares(number), [number * 3 + square for square in range(3)]
        frames = [f"{frame:05d}" for frame in range(len(scene.frames))]
        for name, picture in zip(frames, scene.frames, strict=True):
            save_picture(root / "JPEGImages" / f"scene{number}" / f"{name}.jpg", picture)
        expressions: dict[str, Any] = {}
        for square, colour in enumerate(scene.colours):
            seen = scene.visible(square)
            masks[str(ids[square])] = [scene.rle(square, t) if t in seen else None for t in range(len(frames))]
            words = {"exp": f"a_{colour} square", "obj_id": [square + 1], "anno_id": [ids[square]], "type_id": 0}
            expressions[str(square)] = words
        why = {"exp": f"Which are {scene.colours[1]} or {scene.colours[0]}?", "anno_id": [ids[1], ids[0]], "type_id": 1}
        expressions["3"] = why | {"obj_id": [2, 1]}
        expressions["4"] = {"exp": "the circle", "obj_id": [], "anno_id": [], "type_id": 2}
        videos[f"scene{number}"] = {"frames": frames[::-1], "expressions": expressions}
    (root / f"meta_expressions_{split}_.json").write_text(json.dumps({"videos": videos}))
    (root / "mask_dict.json").write_text(json.dumps(masks))


def code(*lit: int) -> dict[str, Any]:
    """Run-length code of a frame of 2 x 3 pixels with the pixels `lit`, counted down the columns."""
    pixels = np.zeros(6, np.uint8)
    pixels[list(lit)] = 1
    counts = coco_mask.encode(np.asfortranarray(pixels.reshape(2, 3, order="F")))["counts"]
    return {"size": [2, 3], "counts": counts.decode()}


MASKS: dict[str, Any] = {
    "7": [None, code(), code(0), {"size": [2, 3], "counts": [1, 1, 4]}],
    "8": [None, code(5), code(4), None],
    "9": [None, None, code(), None],
}
DOCUMENT: dict[str, Any] = {
    "videos": {
        "a": {
            "frames": ["00002", "00000", "00003", "00001"],
            "expressions": {
                "0": {"exp": "left_one", "obj_id": [1], "anno_id": [7], "type_id": 0},
                "1": {"exp": "both", "obj_id": [1, 2], "anno_id": [8, 7], "type_id": 0},
                "2": {"exp": "nothing", "obj_id": [], "anno_id": [], "type_id": 2},
                "3": {"exp": "why both?", "obj_id": [1, 2], "anno_id": [7, 8], "type_id": 1},
                "4": {"exp": "the pair", "obj_id": [1, 2], "anno_id": [7, 8], "type_id": 0, "extra": None},
            },
        },
        "still": {
            "frames": ["00000"],
            "expressions": {"0": {"exp": "x", "obj_id": [1], "anno_id": [7], "type_id": 0}},
        },
    },
}


def source_of(root: Path, document: Any = DOCUMENT, masks: Any = MASKS, **options: Any) -> Revos:
    (root / "meta_expressions_train_.json").write_bytes(dump_json(document))
    (root / "mask_dict.json").write_bytes(dump_json(masks))
    return Revos(root, "train", **options)


def changed(document: Any, *path: Any, value: Any) -> Any:
    """The document with the value at `path` replaced."""
    result = copy.deepcopy(document)
    place = result
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return result


def pixels(geometry: Any) -> list[int]:
    """The lit pixels of a mask, counted down the columns."""
    assert isinstance(geometry, Mask)
    decoded = coco_mask.decode({"size": list(geometry.size), "counts": geometry.counts})
    lit: list[int] = np.flatnonzero(decoded.ravel(order="F")).tolist()
    return lit


def test_every_square_is_where_its_expression_says(tmp_path: Path) -> None:
    write_revos(tmp_path)
    source = Revos(tmp_path, "valid", kinds=("referring",))
    assert len(source) == 9
    compared = 0
    for index in range(9):
        scene, square = squares(index // 3), index % 3
        sample = source[index]
        assert sample.conversation[0].answer == f"a {scene.colours[square]} square"
        compared += assert_on_pixels(sample, [scene.colours[square]])
    assert compared == 9 * FRAMES


def test_several_annotations_are_one_region(tmp_path: Path) -> None:
    write_revos(tmp_path)
    source = Revos(tmp_path, "valid", kinds=["reasoning"])
    assert len(source) == 3
    for number in range(3):
        [region] = source[number].regions
        both = squares(number).masks[:2].any(axis=0)
        for frame in range(FRAMES):
            mask = region.track[frame]
            assert isinstance(mask, Mask)
            code = {"size": list(mask.size), "counts": mask.counts}
            assert np.array_equal(coco_mask.decode(code), both[frame])


def test_a_sample_by_hand(tmp_path: Path) -> None:
    sample = source_of(tmp_path)[1]
    [region] = sample.regions
    assert sample.media == Frames(tuple(tmp_path / "JPEGImages" / "a" / f"0000{number}.jpg" for number in range(4)))
    assert list(region.prompts) == [1]
    assert pixels(region.prompts[1]) == [5]
    assert {frame: mask and pixels(mask) for frame, mask in region.track.items()} == {
        0: None,
        1: [5],
        2: [0, 4],
        3: [1],
    }
    assert (sample.id, sample.task, sample.group) == ("a/1", "caption", "referring")
    assert sample.conversation[0].question == "Give a short description of <region>."
    assert sample.conversation[0].references == ("both",)
    assert sample.protocol == "ReVOS train, referring and reasoning expressions, one reference an expression, mask"
    assert sample.origin == f"{tmp_path}/meta_expressions_train_.json: 'a'"


def test_kinds_are_chosen_and_what_is_left_out_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        source = source_of(tmp_path)
        assert [source[index].id for index in range(len(source))] == ["a/0", "a/1", "a/3", "a/4"]
    path = tmp_path / "meta_expressions_train_.json"
    assert caplog.messages == [f"{path}: expressions left out: 1 without a target, 1 of videos of less than 2 frames"]
    reasoning = source_of(tmp_path, kinds=["reasoning"])
    assert [reasoning[index].group for index in range(len(reasoning))] == ["reasoning"]


def test_grouped_references_are_all_of_one_kind_for_the_same_object(tmp_path: Path) -> None:
    source = source_of(tmp_path, references="grouped")
    samples = [source[index] for index in range(len(source))]
    assert [(sample.id, sample.conversation[0].references) for sample in samples] == [
        ("a/object 7/referring", ("left one",)),
        ("a/object 7+8/referring", ("both", "the pair")),
        ("a/object 7+8/reasoning", ("why both?",)),
    ]
    assert samples[1].conversation[0].answer == "both"
    assert "all expressions of an object as references" in samples[0].protocol


@pytest.mark.parametrize("options", [{"kinds": []}, {"kinds": ["riddle"]}, {"question": "what is <region1>?"}])
def test_options_that_mean_nothing_are_refused(tmp_path: Path, options: Any) -> None:
    with pytest.raises(DataError):
        Revos(tmp_path, "train", **options)


EXPRESSION = ("videos", "a", "expressions", "0")


@pytest.mark.parametrize(
    ("document", "masks", "message"),
    [
        (changed(DOCUMENT, *EXPRESSION, "exp", value=" "), MASKS, "expressions.0.exp: expected text, got ' '"),
        (changed(DOCUMENT, *EXPRESSION, "type_id", value=3), MASKS, "expressions.0.type_id: 3 is none of 0 to 2"),
        (changed(DOCUMENT, *EXPRESSION, "type_id", value=True), MASKS,
         "expressions.0.type_id: expected an integer of at least 0, got True"),
        (changed(DOCUMENT, *EXPRESSION, "anno_id", value=[]), MASKS,
         "expressions.0.anno_id: expected one object or more, got 0"),
        (changed(DOCUMENT, *EXPRESSION, "anno_id", value=[5]), MASKS,
         "{root}/mask_dict.json: no '5' among 3 records"),
        (changed(DOCUMENT, *EXPRESSION, "anno_id", value=[9]), MASKS,
         "expressions.0: object 9: visible on none of 4 frames"),
        (changed(DOCUMENT, *EXPRESSION, "exp", value="<region5>"), MASKS,
         "conversation[0].answer: <region5> has no region, there are 1, counted from 0"),
        (DOCUMENT, changed(MASKS, "7", value=[None]),
         "{root}/mask_dict.json: '7': expected 4 elements, got [None]"),
        (DOCUMENT, changed(MASKS, "7", 2, value={"size": [2, 3], "counts": [7]}),
         "{root}/mask_dict.json: '7'[2]: runs of 7 pixels, the size 2 x 3 has 6"),
    ],
)  # fmt: skip
def test_a_record_that_cannot_be_used_is_named(tmp_path: Path, document: Any, masks: Any, message: str) -> None:
    source = source_of(tmp_path, document, masks)
    with pytest.raises(DataError) as error:
        source[0]
    where = f"{tmp_path}/meta_expressions_train_.json: 'a'"
    assert str(error.value) == f"{where}: {message.format(root=tmp_path)}"


def test_masks_of_two_sizes_make_no_union(tmp_path: Path) -> None:
    source = source_of(tmp_path, masks=changed(MASKS, "8", 2, value={"size": [3, 2], "counts": [1, 5]}))
    with pytest.raises(DataError, match=r"expressions.1: frame 2: masks of 2 x 3 and 3 x 2 pixels"):
        source[1]


def test_missing_masks_are_said_before_any_sample(tmp_path: Path) -> None:
    source = source_of(tmp_path)
    (tmp_path / "mask_dict.json").unlink()
    with pytest.raises(DataError, match=r"mask_dict\.json: No such file"):
        len(source)


def test_nothing_is_opened_before_use_and_the_pickle_is_an_index(tmp_path: Path) -> None:
    Revos(tmp_path / "not there", "train")
    source = source_of(tmp_path, masks=MASKS | {str(number): [code(0)] * 400 for number in range(100, 200)})
    assert len(source) == 4
    pickled = pickle.dumps(source)
    assert len(pickled) < 6000
    again: RegionSample = pickle.loads(pickled)[0]
    assert again == source[0]


@FUZZ
@given(data=damaged(DOCUMENT), grouped=st.booleans())
def test_damaged_expressions_are_read_or_a_data_error(tmp_path: Path, data: bytes, grouped: bool) -> None:
    source = source_of(tmp_path, references="grouped" if grouped else "single")
    (tmp_path / "meta_expressions_train_.json").write_bytes(data)
    read_all(source, tmp_path)


@settings(FUZZ, max_examples=150)
@given(data=damaged(MASKS))
def test_damaged_masks_are_read_or_a_data_error(tmp_path: Path, data: bytes) -> None:
    source = source_of(tmp_path)
    (tmp_path / "mask_dict.json").write_bytes(data)
    read_all(source, tmp_path)
