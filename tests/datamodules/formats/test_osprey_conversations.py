"""Osprey-style conversations: several regions, counted from 1 in the text."""

import json
import logging
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given

from damage import FUZZ, damaged, read_all
from datamodules.errors import DataError
from datamodules.formats.osprey_conversations import OspreyConversations
from datamodules.types import Box, Frames, Mask, Polygon, RegionSample, Turn
from moving_squares import HEIGHT, WIDTH, assert_on_pixels, save_picture, squares


def write_osprey_conversations(root: Path, scenes: int = 3) -> None:
    """`osprey_conversation.json` and the pictures in `train2017`, under their names there."""
    records: list[dict[str, Any]] = []
    for number in range(scenes):
        scene = squares(number)
        save_picture(root / "train2017" / f"{number:012d}.jpg", scene.frames[0])
        ring = [value for point in scene.ring(0) for value in point]
        shapes = [[ring], scene.rle(1), []]
        boxes = [scene.box(square) or (0, 0, 0, 0) for square in range(3)]
        annotation = [
            {"bbox": [x0, y0, x1 - x0, y1 - y0], "segmentation": shape}
            for (x0, y0, x1, y1), shape in zip(boxes, shapes, strict=True)
        ]
        said = ["What is <region1>?", f"<region1> is a {scene.colours[0]} square.", "And <region3>?", "One as well."]
        picture = {"file_name": f"COCO_train2014_{number:012d}.jpg", "height": HEIGHT, "width": WIDTH}
        records.append({"id": number, **picture, "annotation": annotation, "conversations": _said(said)})
    (root / "osprey_conversation.json").write_text(json.dumps(records))


def _said(texts: list[str]) -> list[dict[str, str]]:
    return [{"from": ("human", "gpt")[number % 2], "value": text} for number, text in enumerate(texts)]


@pytest.mark.parametrize("prompt", ["mask", "box"])
def test_regions_land_on_their_squares(tmp_path: Path, prompt: Literal["mask", "box"]) -> None:
    write_osprey_conversations(tmp_path)
    path = tmp_path / "osprey_conversation.json"
    samples = read_all(OspreyConversations(path, tmp_path / "train2017", prompt=prompt), tmp_path)
    compared = sum(assert_on_pixels(sample, squares(number).colours) for number, sample in enumerate(samples))
    assert compared == 9
    kinds = (Polygon, Mask, Box) if prompt == "mask" else (Box, Box, Box)
    for number, sample in enumerate(samples):
        assert tuple(type(region.prompts[0]) for region in sample.regions) == kinds
        assert tuple(type(region.track[0]) for region in sample.regions) == (Polygon, Mask, Box)
        assert sample.conversation == (
            Turn("What is <region0>?", f"<region0> is a {squares(number).colours[0]} square."),
            Turn("And <region2>?", "One as well."),
        )


RECORD: dict[str, Any] = {
    "file_name": "COCO_train2014_000000000009.jpg",
    "height": 10,
    "width": 20,
    "annotation": [
        {"bbox": [1, 2, 3, 4], "segmentation": [[1, 2, 3, 4, 5, 6]]},
        {"bbox": [1, 2, 3.5, 9], "segmentation": {"size": [10, 20], "counts": [32, 3, 165]}},
    ],
    "conversations": _said(["What is <region1> near?", "<region2>", "Why?", "So."]),
}


def _one(folder: Path, *, record: Any = None, **options: Any) -> RegionSample:
    path = folder / "conversation.json"
    path.write_text(json.dumps([RECORD | (record or {})]))
    return OspreyConversations(path, Path("/train2017"), **options)[0]


def test_a_conversation_by_hand(tmp_path: Path) -> None:
    sample = _one(tmp_path, prompt="box")
    assert (sample.id, sample.task, sample.group) == ("COCO_train2014_000000000009-0", "answer", "")
    assert sample.media == Frames((Path("/train2017/000000000009.jpg"),))
    # the second box leaves the frame, which is 10 high
    assert [region.prompts[0] for region in sample.regions] == [Box((1.0, 2.0, 4.0, 6.0)), Box((1.0, 2.0, 4.5, 10.0))]
    assert sample.conversation == (Turn("What is <region0> near?", "<region1>"), Turn("Why?", "So."))
    assert sample.protocol == "Osprey conversations, conversation.json, box"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("COCO_val2014_000000000042.jpg", "/train2017/000000000042.jpg"),
        ("000000000042.jpg", "/train2017/000000000042.jpg"),
        ("train2017/part_1/a_b.jpg", "/train2017/train2017/part_1/a_b.jpg"),
    ],
)
def test_names_of_2014_are_those_of_2017_but_for_their_beginning(tmp_path: Path, name: str, path: str) -> None:
    assert _one(tmp_path, record={"file_name": name}).media == Frames((Path(path),))
    whole = _one(tmp_path, record={"file_name": name}, coco_2014_names=True)
    assert whole.media == Frames((Path("/train2017") / name,))


def test_regions_may_be_counted_from_0(tmp_path: Path) -> None:
    said = _said(["Is <region0> near <region1>?", "Yes."])
    assert _one(tmp_path, record={"conversations": said}, first_region=0).conversation[0].question == (
        "Is <region0> near <region1>?"
    )
    with pytest.raises(DataError, match=r"conversations\[0\]: <region0> has no region, there are 2, counted from 1"):
        _one(tmp_path, record={"conversations": said})


def test_one_region_may_go_without_number(tmp_path: Path) -> None:
    record = {"annotation": RECORD["annotation"][:1], "conversations": _said(["What is <region>?", "A dog."])}
    assert _one(tmp_path, record=record).conversation[0].question == "What is <region>?"


def test_records_without_a_word_are_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "conversation.json"
    path.write_text(json.dumps([RECORD, RECORD | {"conversations": []}, RECORD]))
    with caplog.at_level(logging.INFO):
        samples = read_all(OspreyConversations(path, tmp_path), tmp_path)
    assert [sample.id[-2:] for sample in samples] == ["-0", "-2"]
    assert f"{path}: 3 records, 1 without a conversation left out" in caplog.text


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (
            {"conversations": _said(["<region3>?", "a"])},
            "conversations[0]: <region3> has no region, there are 2, counted from 1",
        ),
        (
            {"conversations": _said(["a", "<region" + "9" * 5000 + ">"])},
            "conversations[1]: <region" + "9" * 5000 + "> has no region, there are 2, counted from 1",
        ),
        ({"conversations": _said(["<region>?", "a"])}, "conversation[0].question: <region> needs a number, there are"),
        ({"conversations": _said(["a"])}, "conversations: 1 messages, human and gpt come in pairs"),
        ({"height": 11}, "annotation[1].segmentation: 10 x 20 pixels (height x width), its image 11 x 20"),
        ({"width": None}, "width: expected an integer of at least 1, got None"),
        (
            {"annotation": [{"bbox": [20, 0, 2, 2]}] * 2},
            "annotation[0].bbox: box [20.0, 0.0, 22.0, 2.0] is not on the frame of width 20 and height 10",
        ),
        (
            {"annotation": [{"bbox": [0, 0, 1, 1], "segmentation": "x"}]},
            "annotation[0].segmentation: expected an object, got 'x'",
        ),
    ],
)
def test_a_bad_record_is_named(tmp_path: Path, record: Any, message: str) -> None:
    with pytest.raises(DataError) as error:
        _one(tmp_path, record=record)
    assert str(error.value).startswith(f"{tmp_path / 'conversation.json'}: [0]: {message}")


@FUZZ
@given(data=damaged([RECORD, RECORD | {"conversations": []}]))
def test_damaged_files(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "conversation.json"
    path.write_bytes(data)
    assert len(read_all(OspreyConversations(path, tmp_path), tmp_path)) <= 3
