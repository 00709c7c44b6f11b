"""RefCOCOg as the refer toolbox keeps it: a pickle of references and a COCO instances file."""

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
from datamodules.formats.refcocog import RefCoco, RefCocog
from datamodules.types import Box, Frames, Mask, Polygon, Turn
from moving_squares import HEIGHT, WIDTH, Squares, assert_on_pixels, save_picture, squares

SPLITS = ("train", "val", "test")
SCENES = 3
FIRST_IMAGE = 380440


@cache
def scene_of(number: int) -> Squares:
    return squares(number)


def instances() -> dict[str, Any]:
    """Three images a split with three squares and a crowd each; the annotations of all images are mixed."""
    images, annotations = [], []
    for number in range(len(SPLITS) * SCENES):
        name = f"COCO_train2014_{FIRST_IMAGE + number:012d}.jpg"
        images.append({"id": FIRST_IMAGE + number, "file_name": name, "width": WIDTH, "height": HEIGHT, "license": 3})
    for square in (2, 0, 1):
        annotations += [_annotation(number, square) for number in range(len(images))]
    crowd = {"segmentation": {"size": [HEIGHT, WIDTH], "counts": [0, HEIGHT * WIDTH]}, "bbox": [0, 0, WIDTH, HEIGHT]}
    annotations.append({"id": 900_000, "image_id": FIRST_IMAGE, "category_id": 4, "iscrowd": 1, "area": 2240, **crowd})
    categories = [{"id": 4, "name": "square", "supercategory": "shape"}, {"id": 1, "name": "person"}]
    return {"info": {}, "images": images, "licenses": [], "annotations": annotations, "categories": categories}


def _annotation(number: int, square: int) -> dict[str, Any]:
    scene = scene_of(number)
    box = scene.box(square)
    assert box is not None
    x0, y0, x1, y1 = box
    ring = [float(value) for corner in scene.ring(square) for value in corner]
    return {
        "id": 1000 + 10 * number + square,
        "image_id": FIRST_IMAGE + number,
        "category_id": 4,
        "iscrowd": 0,
        "area": float((x1 - x0) * (y1 - y0)),
        "bbox": [float(x0), float(y0), float(x1 - x0), float(y1 - y0)],
        "segmentation": scene.rle(square) if square == 1 else [ring],
    }


def references(by: str = "umd") -> list[dict[str, Any]]:
    """Two squares of every image, with one and two sentences; google has no test split."""
    refs = []
    for number in range(len(SPLITS) * SCENES):
        split = SPLITS[number % len(SPLITS)]
        for square in (0, 1):
            texts = [f"a {scene_of(number).colours[square]} square", f"the {scene_of(number).colours[square]} one"]
            refs.append(_reference(number, square, split, texts[: square + 1]))
    return [ref for ref in refs if by == "umd" or ref["split"] != "test"]


def _reference(number: int, square: int, split: str, texts: list[str]) -> dict[str, Any]:
    ref_id = 2 * number + square
    first = 3 * number + square
    annotation = 1000 + 10 * number + square
    return {
        "ref_id": ref_id,
        "ann_id": annotation,
        "category_id": 4,
        "image_id": FIRST_IMAGE + number,
        "file_name": f"COCO_train2014_{FIRST_IMAGE + number:012d}_{annotation}.jpg",
        "split": split,
        "sent_ids": [first + count for count in range(len(texts))],
        "sentences": [
            {"sent_id": first + count, "sent": sent, "raw": f"{sent.capitalize()}.", "tokens": sent.split()}
            for count, sent in enumerate(texts)
        ],
    }


def write_refcocog(root: Path) -> None:
    """The download: three images in each of train, val and test."""
    for number in range(len(SPLITS) * SCENES):
        name = f"COCO_train2014_{FIRST_IMAGE + number:012d}.jpg"
        save_picture(root / "images/mscoco/images/train2014" / name, scene_of(number).frames[0])
    _write(root, instances(), references(), references("google"))


def _write(root: Path, document: Any, umd: Any, google: Any = None) -> None:
    folder = root / "refcocog"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "instances.json").write_bytes(dump_json(document))
    (folder / "refs(umd).p").write_bytes(pickle.dumps(umd, 2))
    (folder / "refs(google).p").write_bytes(pickle.dumps(google, 2))


def _changed(document: Any, *path: Any, value: Any) -> Any:
    changed = copy.deepcopy(document)
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed


def _scene(image_id: int) -> tuple[str, ...]:
    return scene_of(image_id - FIRST_IMAGE).colours


@pytest.mark.parametrize("prompt", ["mask", "box"])
@pytest.mark.parametrize(("split", "by"), [("train", "google"), ("val", "google"), ("val", "umd"), ("test", "umd")])
def test_every_sentence_is_about_the_pixels_of_its_square(tmp_path: Path, split: Any, by: Any, prompt: Any) -> None:
    write_refcocog(tmp_path)
    source = RefCocog(tmp_path, split, by=by, prompt=prompt)
    compared = 0
    for sample in map(source.__getitem__, range(len(source))):
        assert isinstance(sample.regions[0].prompts[0], (Box,) if prompt == "box" else (Mask, Polygon))
        assert isinstance(sample.regions[0].track[0], (Mask, Polygon))
        compared += assert_on_pixels(sample, [sample.conversation[-1].answer.split()[1]])
    assert compared == len(source) == SCENES * 3
    # the polygons are the squares' four corners
    forms = {"box"} if prompt == "box" else {"mask", "box in place of a mask"}
    assert {source[index].protocol for index in range(9)} == {
        f"RefCOCOg {by} {split}, one reference an expression, {form}" for form in forms
    }


def test_a_sentence_by_hand(tmp_path: Path) -> None:
    _write(tmp_path, instances(), references())
    sample = RefCocog(tmp_path, "val")[2]
    assert (sample.id, sample.task) == ("5", "caption")
    assert sample.conversation == (
        Turn("Give a short description of <region>.", "the purple one", ("the purple one",)),
    )
    assert sample.regions[0].category == "square"
    assert sample.media == Frames((tmp_path / "images/mscoco/images/train2014/COCO_train2014_000000380441.jpg",))
    assert sample.meta == {"image_id": 380441, "annotation_id": 1011, "ref_id": 3}
    assert sample.origin == f"{tmp_path}/refcocog/refs(umd).p: [3]"


@pytest.mark.parametrize(
    ("dataset", "by", "split", "read"),
    [
        ("refcoco", None, "testA", "RefCOCO unc testA"),
        ("refcoco", "google", "test", "RefCOCO google test"),
        ("refcoco+", "unc", "testB", "RefCOCO+ unc testB"),
        ("refcocog", None, "val", "RefCOCOg umd val"),
    ],
)
def test_the_three_data_sets(tmp_path: Path, dataset: Any, by: Any, split: Any, read: str) -> None:
    """The same records in other folders, and other splits."""
    whose = read.split()[1]
    splits = {"unc": ("val", "testA", "testB"), "google": ("train", "val", "test")}.get(whose, SPLITS)
    named = [{**ref, "split": splits[SPLITS.index(ref["split"])]} for ref in references()]
    folder = tmp_path / dataset
    folder.mkdir(exist_ok=True)
    (folder / "instances.json").write_bytes(dump_json(instances()))
    (folder / f"refs({whose}).p").write_bytes(pickle.dumps(named, 2))
    for task in ("caption", "refer"):
        source = RefCoco(tmp_path, split, dataset=dataset, by=by, task=task, prompt="box")
        assert len(source) == SCENES * 3
        kept = SPLITS[splits.index(split)]
        for sample in map(source.__getitem__, range(len(source))):
            number = sample.meta["image_id"] - FIRST_IMAGE
            assert SPLITS[number % len(SPLITS)] == kept
            [square] = [ref["ann_id"] % 10 for ref in named if int(sample.id) in ref["sent_ids"]]
            shown = sample.regions[sample.label or 0].prompts[0]
            assert isinstance(shown, Box) and shown.xyxy == scene_of(number).box(square)
            assert sample.protocol.startswith(f"{read}, ") and sample.task == task


def test_grouped_one_sample_an_object_with_all_its_sentences(tmp_path: Path) -> None:
    _write(tmp_path, instances(), references())
    source = RefCocog(tmp_path, "val", references="grouped", prompt="box", images=tmp_path / "elsewhere")
    assert len(source) == SCENES * 2
    assert source[1].id == "3"
    assert source[1].conversation[0].answer == "a purple square"
    assert source[1].conversation[0].references == ("a purple square", "the purple one")
    assert source[1].protocol == "RefCOCOg umd val, all expressions of an object as references, box"
    assert source[1].media == Frames((tmp_path / "elsewhere/COCO_train2014_000000380441.jpg",))


@pytest.mark.parametrize("prompt", ["mask", "box"])
def test_refer_among_all_single_objects_of_the_image(tmp_path: Path, prompt: Any) -> None:
    write_refcocog(tmp_path)
    source = RefCocog(tmp_path, "test", task="refer", prompt=prompt)
    assert len(source) == SCENES * 3
    compared = 0
    for sample in map(source.__getitem__, range(len(source))):
        colours = _scene(sample.meta["image_id"])
        order = (colours[2], colours[0], colours[1])
        compared += assert_on_pixels(sample, order)
        assert sample.options == ("<region0>", "<region1>", "<region2>")
        assert sample.label is not None
        assert f" {order[sample.label]} " in sample.conversation[0].question
        assert sample.conversation[0].answer == sample.options[sample.label]
        assert sample.meta["boxes"][sample.label] == sample.meta["target"]
        json.dumps(sample.meta)
    assert compared == 27
    form = "mask and box in place of a mask" if prompt == "mask" else "box"
    assert source[0].protocol == f"RefCOCOg umd test, ground-truth proposals, {form}"
    assert source[0].conversation[0].question == (
        "Which of <region0> <region1> <region2> is described by: a white square"
    )


def test_proposals_of_a_file_take_the_best_overlap(tmp_path: Path) -> None:
    _write(tmp_path, instances(), references())
    x0, y0, x1, y1 = scene_of(1).box(0) or (0, 0, 0, 0)
    boxes = [[-3, -3, 9, 9], [x0 + 4, y0, x1, y1], [x0 + 1, y0, x1, y1 + 1]]
    proposals = tmp_path / "proposals.json"
    proposals.write_bytes(dump_json({"380441": boxes, "380444": [[0, 0, 1, 1]]}))
    question = "{sentence}? {regions}"
    source = RefCocog(tmp_path, "val", task="refer", proposals=proposals, question=question)
    assert source[0].label == 2
    assert source[0].meta["boxes"] == [[0, 0, 9, 9], *map(list, boxes[1:])]
    assert source[0].meta["target"] == [x0, y0, x1, y1]
    assert source[0].conversation[0].question == "a yellow square? <region0> <region1> <region2>"
    assert source[0].protocol == "RefCOCOg umd val, proposals of proposals.json, box"
    assert (source[3].label, source[3].options, source[3].conversation[0].answer) == (None, ("<region0>",), "")
    with pytest.raises(DataError, match=r"proposals\.json: no '380447' among 2 records"):
        source[6]


def test_an_object_without_pixels_is_no_proposal(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    document = instances()
    document["annotations"][1]["bbox"] = [5, 5, 0, 3]
    _write(tmp_path, document, references())
    with caplog.at_level("INFO"):
        source = RefCocog(tmp_path, "val", task="refer")
        assert source[0].options == ("<region0>", "<region1>")
    assert "27 single objects, 1 without a pixel on their image" in caplog.text


def test_boxes_that_stick_out_are_clipped(tmp_path: Path) -> None:
    document = instances()
    document["annotations"][10]["bbox"] = [-5.5, 30, 100, 100]
    _write(tmp_path, document, references())
    assert RefCocog(tmp_path, "val", prompt="box")[0].regions[0].prompts[0] == Box((0.0, 30.0, WIDTH, HEIGHT))


def test_a_sentence_that_mentions_a_region_is_an_error(tmp_path: Path) -> None:
    _write(tmp_path, instances(), _changed(references(), 2, "sentences", 0, "sent", value="{regions} <region5>"))
    with pytest.raises(DataError, match="<region5> has no region"):
        RefCocog(tmp_path, "val", task="refer")[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "test", "by": "google"}, "split: google has no 'test', only train, val"),
        ({"split": "testA"}, "split: umd has no 'testA', only train, val, test"),
        ({"by": "unc"}, "by: RefCOCOg is split by umd and google, not by 'unc'"),
        ({"references": "grouped", "task": "refer"}, "references: 'grouped' is for captions, a sentence refers alone"),
        ({"proposals": "x.json"}, "proposals: only the task 'refer' has any"),
        ({"question": "which?", "task": "refer"}, "question: no {sentence} in 'which?'"),
        ({"question": "<region1>"}, "question: <region1> has no region, there are 1, counted from 0"),
    ],
)
def test_options_that_contradict_each_other(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as error:
        RefCocog(tmp_path, **{"split": "val", **options})
    assert str(error.value) == message


REF = 2  # the first of val


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ((REF,), [], "[2]: record: expected an object, got []"),
        ((REF, "sentences"), [], "[2]: sentences: expected one or more, got 0"),
        ((REF, "sentences", 0), {}, "[2]: sentences[0]: missing key 'sent'"),
        ((REF, "sentences", 0, "sent"), " ", "[2]: sentences[0].sent: expected text, got ' '"),
        ((REF, "sentences", 0, "sent_id"), "1", "[2]: sentences[0].sent_id: expected an integer, got '1'"),
        ((REF, "split"), "valid", "[2]: split: 'valid' is none of train, val, test"),
        ((REF, "split"), None, "[2]: split: expected a string, got None"),
        ((REF, "image_id"), 5, "[2]: image_id: 5, its annotation 1010 is of image 380441"),
    ],
)
def test_a_broken_reference_is_named_and_the_others_are_read(
    tmp_path: Path, path: tuple[Any, ...], value: Any, message: str
) -> None:
    _write(tmp_path, instances(), _changed(references(), *path, value=value))
    source = RefCocog(tmp_path, "val")
    with pytest.raises(DataError) as error:
        source[0]
    assert str(error.value) == f"{tmp_path}/refcocog/refs(umd).p: {message}"
    assert source[1].id == "4"


def test_a_reference_to_a_crowd_is_named(tmp_path: Path) -> None:
    _write(tmp_path, instances(), _changed(references(), REF, "ann_id", value=900_000))
    with pytest.raises(DataError) as error:
        RefCocog(tmp_path, "val")[0]
    assert str(error.value) == (
        f"{tmp_path}/refcocog/refs(umd).p: [2]: "
        f"{tmp_path}/refcocog/instances.json: no annotation 900000 among 27 single objects"
    )


def test_a_file_without_the_split_or_without_references(tmp_path: Path) -> None:
    _write(tmp_path, instances(), references("google"), {"refs": []})
    with pytest.raises(DataError, match=r"refs\(umd\)\.p: 0 references of the split 'test'"):
        len(RefCocog(tmp_path, "test"))
    with pytest.raises(DataError, match=r"refs\(google\)\.p: expected an array, got \{'refs'"):
        len(RefCocog(tmp_path, "val", by="google"))


def test_what_travels_to_a_worker_has_no_text(tmp_path: Path) -> None:
    _write(tmp_path, instances(), references())
    source = RefCocog(tmp_path, "val")
    sample = source[0]
    travelled = pickle.dumps(source)
    assert b"yellow" not in travelled
    assert pickle.loads(travelled)[0] == sample


SMALL = instances() | {"images": instances()["images"][1:5:3], "annotations": instances()["annotations"][1:27:9]}


@FUZZ
@given(data=damaged(references()[:6], lambda value: pickle.dumps(value, 2)))
def test_damaged_references(tmp_path: Path, data: bytes) -> None:
    _write_once(tmp_path)
    (tmp_path / "refcocog" / "refs(umd).p").write_bytes(data)
    assert len(read_all(RefCocog(tmp_path, "val"), tmp_path)) <= 4
    assert len(read_all(RefCocog(tmp_path, "val", references="grouped"), tmp_path)) <= 3


@FUZZ
@given(data=damaged(SMALL))
def test_damaged_instances(tmp_path: Path, data: bytes) -> None:
    _write_once(tmp_path)
    (tmp_path / "refcocog" / "instances.json").write_bytes(data)
    assert len(read_all(RefCocog(tmp_path, "val", task="refer"), tmp_path)) <= 3


@FUZZ
@given(data=damaged({"380441": [[1, 2, 30, 20], [0, 0, 4.5, 9]]}))
def test_damaged_proposals(tmp_path: Path, data: bytes) -> None:
    _write_once(tmp_path)
    proposals = tmp_path / "proposals.json"
    proposals.write_bytes(data)
    read_all(RefCocog(tmp_path, "val", task="refer", proposals=proposals), tmp_path)


def _write_once(root: Path) -> None:
    """Three squares and two references to them."""
    if not (root / "refcocog").is_dir():
        _write(root, SMALL, references()[REF : REF + 2])
