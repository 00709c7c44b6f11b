"""Referring expressions as MDETR flattens them: every sentence is an image of its own."""

from __future__ import annotations

import copy
import json
import pickle
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from test_refcocog import instances as coco_instances

from damage import FUZZ, damaged, dump_json, read_all
from datamodules.errors import DataError
from datamodules.formats.mdetr_refexp import MdetrRefexp
from datamodules.types import Box, Frames, Mask, Polygon, Turn
from moving_squares import HEIGHT, WIDTH, Squares, assert_on_pixels, save_picture, squares

SCENES = 3
FIRST_IMAGE = 380440


@cache
def scene_of(number: int) -> Squares:
    return squares(number)


def flattened(*, masks: bool = False) -> dict[str, Any]:
    """Two squares of every picture: one sentence about one, two about the other."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number in range(SCENES):
        for square, wording in ((1, "a {} square"), (0, "a {} square"), (1, "the {} one")):
            entry = 70_000 + len(images)
            images.append(_entry(entry, number, wording.format(scene_of(number).colours[square])))
            annotations.append(_annotation(entry, number, square, masks))
    categories = [{"supercategory": "shape", "id": 4, "name": "square"}]
    info = {"info": {"year": 2014}, "licenses": [{"id": 1}]}
    return {**info, "images": images, "annotations": annotations[::-1], "categories": categories}


def _entry(entry: int, number: int, caption: str) -> dict[str, Any]:
    return {
        "file_name": f"COCO_train2014_{FIRST_IMAGE + number:012d}.jpg",
        "height": HEIGHT,
        "width": WIDTH,
        "id": entry,
        "original_id": FIRST_IMAGE + number,
        "caption": caption,
        "dataset_name": "refcocog",
        "tokens_negative": [[0, len(caption)]],
    }


def _annotation(entry: int, number: int, square: int, masks: bool) -> dict[str, Any]:
    scene = scene_of(number)
    x0, y0, x1, y1 = scene.box(square) or (0, 0, 0, 0)
    ring = [float(value) for corner in scene.ring(square) for value in corner]
    return {
        "area": 64.0,
        "iscrowd": 0,
        "image_id": entry,
        "category_id": 4,
        "id": 9_000 + entry,
        "bbox": [float(x0), float(y0), float(x1 - x0), float(y1 - y0)],
        "original_id": 1000 + 10 * number + square,
        "tokens_positive": [[2, 5]],
    } | ({"segmentation": scene.rle(square) if square else [ring]} if masks else {})


def write_mdetr_refexp(root: Path) -> None:
    """Annotations with boxes and with masks, and the pictures that both name."""
    for number in range(SCENES):
        name = f"COCO_train2014_{FIRST_IMAGE + number:012d}.jpg"
        save_picture(root / "train2014" / name, scene_of(number).frames[0])
    (root / "finetune_refcocog_val.json").write_bytes(dump_json(flattened()))
    (root / "finetune_refcocog_val_with_mask.json").write_bytes(dump_json(flattened(masks=True)))


def _source(folder: Path, document: Any, **options: Any) -> MdetrRefexp:
    path = folder / "val.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return MdetrRefexp(path, folder, **options)


def _changed(*path: Any, value: Any) -> Any:
    changed = copy.deepcopy(flattened())
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed


@pytest.mark.parametrize(
    ("name", "prompt", "kinds"),
    [("val", "mask", (Box,)), ("val_with_mask", "mask", (Mask, Polygon)), ("val_with_mask", "box", (Box,))],
)
def test_every_sentence_is_about_the_pixels_of_its_square(tmp_path: Path, name: str, prompt: Any, kinds: Any) -> None:
    write_mdetr_refexp(tmp_path)
    source = MdetrRefexp(tmp_path / f"finetune_refcocog_{name}.json", tmp_path / "train2014", prompt=prompt)
    assert len(source) == SCENES * 3
    for sample in map(source.__getitem__, range(len(source))):
        assert isinstance(sample.regions[0].prompts[0], kinds)
        assert isinstance(sample.regions[0].track[0], (Mask, Polygon) if "mask" in name else Box)
        assert assert_on_pixels(sample, [sample.conversation[0].answer.split()[1]]) == 1
    boxed = "box in place of a mask" if prompt == "mask" else "box"
    forms = {boxed, "mask"} if Mask in kinds else {boxed}
    protocols = {f"finetune_refcocog_{name}, one reference an expression, {form}" for form in forms}
    assert {source[place].protocol for place in range(len(source))} == protocols


def test_a_sentence_by_hand(tmp_path: Path) -> None:
    sample = _source(tmp_path, flattened())[4]
    assert sample.id == "70004"
    assert sample.media == Frames((tmp_path / "COCO_train2014_000000380441.jpg",))
    assert sample.conversation == (
        Turn("Give a short description of <region>.", "a yellow square", ("a yellow square",)),
    )
    assert sample.regions[0].category == "square"
    assert sample.meta == {"image_id": 70004, "annotation_id": 79004}
    assert sample.origin == f"{tmp_path}/val.json: [4]"


def test_grouped_by_the_annotation_that_sentences_come_from(tmp_path: Path) -> None:
    source = _source(tmp_path, flattened(), references="grouped", question="what is <region>")
    assert [source[index].id for index in range(len(source))] == ["1001", "1000", "1011", "1010", "1021", "1020"]
    assert source[0].conversation == (Turn("what is <region>", "a green square", ("a green square", "the green one")),)
    assert source[1].conversation[0].references == ("a red square",)
    assert source[0].protocol == "val, all expressions of an object as references, box in place of a mask"


@pytest.mark.parametrize("prompt", ["mask", "box"])
def test_the_same_sentences_refer_to_what_refcocog_says(tmp_path: Path, prompt: Any) -> None:
    """Expressions of both files of one picture, over the objects of COCO's instances."""
    write_mdetr_refexp(tmp_path)
    path, instances = tmp_path / "finetune_refcocog_val.json", tmp_path / "instances.json"
    document = coco_instances()
    instances.write_bytes(dump_json(document))
    source = MdetrRefexp(path, tmp_path / "train2014", task="refer", instances=instances, prompt=prompt)
    assert len(source) == SCENES * 3
    for number, sample in enumerate(map(source.__getitem__, range(len(source)))):
        colours = scene_of(number // 3).colours
        order = (colours[2], colours[0], colours[1])  # as the file of instances has them
        assert assert_on_pixels(sample, order) == 3
        assert sample.label is not None and f" {order[sample.label]} " in sample.conversation[0].question
        assert sample.meta["boxes"][sample.label] == sample.meta["target"]
    assert source[0].conversation[0].question.endswith("is described by: a green square")
    form = "mask and box in place of a mask" if prompt == "mask" else "box"
    assert (source[0].task, source[0].protocol) == ("refer", f"finetune_refcocog_val, ground-truth proposals, {form}")
    boxes = tmp_path / "boxes.json"
    boxes.write_bytes(dump_json({str(FIRST_IMAGE): [[0, 0, 1, 1], source[0].meta["target"]]}))
    proposed = MdetrRefexp(path, tmp_path / "train2014", task="refer", proposals=boxes)[0]
    assert (proposed.label, proposed.protocol) == (1, "finetune_refcocog_val, proposals of boxes.json, box")
    assert proposed.meta["target"] == source[0].meta["target"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "refer"}, "task: 'refer' chooses among instances or proposals, 0 of the two are given"),
        ({"task": "refer", "instances": "a", "proposals": "b"}, "task: 'refer' chooses .* 2 of the two are given"),
        ({"instances": "a"}, "instances: only the task 'refer' has proposals"),
        ({"task": "refer", "instances": "a", "references": "grouped"}, "references: 'grouped' is for captions"),
        ({"task": "refer", "instances": "a", "question": "which?"}, "question: no .sentence. in 'which.'"),
    ],
)
def test_options_that_contradict_each_other(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=f"^{message}"):
        _source(tmp_path, flattened(), **options)


def test_grouped_is_refused_where_the_file_does_not_say_what_belongs_together(tmp_path: Path) -> None:
    document = flattened()
    del document["annotations"][8]["original_id"]
    source = _source(tmp_path, document, references="grouped")
    with pytest.raises(DataError) as error:
        len(source)
    assert str(error.value) == (
        f"{tmp_path}/val.json: annotation 79000: no original_id, without which nobody can tell which of COCO's objects"
        " it is"
    )
    assert _source(tmp_path, document)[0].id == "70000"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("images", 0, "caption"), None, "[0]: caption: expected a string, got None"),
        (("annotations", 8, "image_id"), 70001, "[0]: image 70000 has 0 annotations, an expression has 1"),
        (("annotations", 7, "image_id"), 70000, "[0]: image 70000 has 2 annotations, an expression has 1"),
        (("annotations", 8, "iscrowd"), 1, "[0]: image 70000 has 0 annotations, an expression has 1"),
        (
            ("annotations", 8, "bbox"),
            [60, 0, 5, 5],
            f"annotation 79000: bbox: box [60.0, 0.0, 65.0, 5.0] is not on the frame of width {WIDTH} and height"
            f" {HEIGHT}",
        ),
    ],
)
@pytest.mark.parametrize("references", ["single", "grouped"])
def test_a_broken_entry_is_named_and_the_others_are_read(
    tmp_path: Path, path: tuple[Any, ...], value: Any, message: str, references: Any
) -> None:
    source = _source(tmp_path, _changed(*path, value=value), references=references, prompt="box")
    with pytest.raises(DataError) as error:
        source[0]
    assert str(error.value).startswith(f"{tmp_path}/val.json: ")
    assert message in str(error.value)
    assert source[len(source) - 1].conversation


def test_what_travels_to_a_worker_has_no_text(tmp_path: Path) -> None:
    source = _source(tmp_path, flattened(), references="grouped")
    sample = source[0]
    travelled = pickle.dumps(source)
    assert b"the green one" not in travelled
    assert pickle.loads(travelled)[0] == sample


DOCUMENT = flattened(masks=True) | {
    "images": flattened()["images"][:3],
    "annotations": flattened(masks=True)["annotations"][-3:],
}


@FUZZ
@given(data=damaged(DOCUMENT))
def test_damaged_files(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "val.json"
    path.write_bytes(data)
    assert len(read_all(MdetrRefexp(path, tmp_path), tmp_path)) <= 4
    assert len(read_all(MdetrRefexp(path, tmp_path, references="grouped", prompt="box"), tmp_path)) <= 4
