"""Action Genome: objects that a person deals with, on some frames of a video that are counted from 1."""

from __future__ import annotations

import copy
import logging
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from damage import FUZZ, damaged, read_all
from datamodules.errors import DataError
from datamodules.formats.action_genome import ActionGenome
from datamodules.types import Box, RegionSample, Video
from moving_squares import FRAMES, Squares, assert_on_pixels, save_video, squares

OBJECTS = "object_bbox_and_relationship.pkl"
PEOPLE = "person_bbox.pkl"
LABELLED = range(0, FRAMES, 2)


def write_action_genome(root: Path) -> None:
    """`root/annotations` and `root/videos`: four videos, of which the second is for training.

    The person is the first square, the others are objects of the class `<colour>/square`.
    """
    objects: dict[str, Any] = {}
    people: dict[str, Any] = {}
    for number in range(4):
        scene = squares(number)
        save_video(root / "videos" / f"SQU{number}.mp4", scene.frames)
        for frame in LABELLED:
            key = f"SQU{number}.mp4/{frame + 1:06d}.png"
            objects[key] = [_object(scene, square, frame, key, "train" if number == 1 else "test") for square in (1, 2)]
            people[key] = _person(scene, frame)
    _write(root, objects, people)
    (root / "annotations" / "frame_list.txt").write_text("\n".join(objects))


def _object(scene: Squares, square: int, frame: int, key: str, split: str) -> dict[str, Any]:
    box = scene.box(square, frame)
    video, file = key.split("/")
    name = f"{scene.colours[square]}/square"
    return {
        "class": name,
        "bbox": None if box is None else (box[0], box[1], float(box[2] - box[0]), float(box[3] - box[1])),
        "attention_relationship": None if box is None else ["not_looking_at"],
        "spatial_relationship": None if box is None else ["on_the_side_of", "behind"],
        "contacting_relationship": None if box is None else ["not_contacting"],
        "metadata": {"tag": f"{video}/{name}/{file}", "set": split},
        "visible": box is not None,
    }


def _person(scene: Squares, frame: int) -> dict[str, Any]:
    box = scene.box(0, frame)
    found = np.zeros((0, 4), np.float32) if box is None else np.array([box], np.float32)
    return {"bbox": found, "bbox_score": np.ones(len(found), np.float32), "bbox_size": (56, 40), "bbox_mode": "xyxy"}


def _write(root: Path, objects: Any, people: Any) -> None:
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations" / OBJECTS).write_bytes(pickle.dumps(objects, 2))
    (root / "annotations" / PEOPLE).write_bytes(pickle.dumps(people, 2))


def _samples(source: ActionGenome) -> list[RegionSample]:
    return [source[index] for index in range(len(source))]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ag")
    write_action_genome(root)
    return root


def test_tracks_of_objects_land_on_their_squares(data: Path) -> None:
    samples = _samples(ActionGenome(data, "test")) + _samples(ActionGenome(data, "train"))
    assert len(samples) == 8
    assert sorted({sample.id.split(".")[0] for sample in samples[:6]}) == ["SQU0", "SQU2", "SQU3"]
    compared = [assert_on_pixels(sample, [str(sample.regions[0].category).split("/")[0]]) for sample in samples]
    assert compared == [len(LABELLED)] * 8
    absent = [geometry for sample in samples for geometry in sample.regions[0].track.values() if geometry is None]
    assert len(absent) > 3


def test_people_and_objects_land_on_their_squares(data: Path) -> None:
    samples = _samples(ActionGenome(data, "test", samples="relationship"))
    for sample in samples:
        scene = squares(int(sample.id[3]))
        person, thing = sample.regions
        assert person.category == "person"
        assert assert_on_pixels(sample, [scene.colours[0], str(thing.category).split("/")[0]]) == 2
    scenes = [squares(number) for number in (0, 2, 3)]
    both = [
        (s, square, f)
        for s in scenes
        for square in (1, 2)
        for f in LABELLED
        if s.box(0, f) is not None and s.box(square, f) is not None
    ]
    assert len(samples) == len(both) > 15


def test_an_object_by_hand(tmp_path: Path, data: Path) -> None:
    _hand(tmp_path, data)
    [sample] = _samples(ActionGenome(tmp_path, "test", videos=data / "videos"))
    assert sample.media == Video(data / "videos" / "SQU0.mp4", (0, 7))
    region = sample.regions[0]
    assert (region.prompts, region.category) == ({3: Box((50.0, 10.5, 56.0, 20.5))}, "closet/cabinet")
    assert region.track == {0: None, 3: region.prompts[3], 6: Box((1.0, 2.0, 4.0, 6.0))}
    turn = sample.conversation[0]
    assert turn.question == "What is the category of <region>?"
    assert (turn.answer, turn.references) == ("closet or cabinet", ("closet or cabinet", "closet", "cabinet"))
    assert sample.id == "SQU0.mp4/closet/cabinet"
    assert sample.origin == f"{tmp_path / 'annotations' / OBJECTS}: 'SQU0.mp4': 'closet/cabinet'"


def test_a_relationship_by_hand(tmp_path: Path, data: Path, caplog: pytest.LogCaptureFixture) -> None:
    _hand(tmp_path, data)
    source = ActionGenome(tmp_path, "test", videos=data / "videos", samples="relationship", person_boxes="xywh")
    with caplog.at_level(logging.INFO):
        [sample] = _samples(source)
    assert caplog.messages[-1] == (
        f"{tmp_path / 'annotations' / PEOPLE}: test: 1 relationships, 1 left out on frames without a person"
    )
    assert [region.prompts[3] for region in sample.regions] == [
        Box((5.0, 6.0, 12.0, 14.0)),
        Box((50.0, 10.5, 56.0, 20.5)),
    ]
    assert [min(region.prompts) for region in sample.regions] == [3, 3]
    assert sample.media.span == (3, 4)
    turn = sample.conversation[0]
    assert turn.question == "How does the person <region0> relate to <region1>?"
    assert turn.answer == "looking at, behind, in front of, touching"
    assert sample.id == "SQU0.mp4/000004.png/closet/cabinet"


def _hand(root: Path, data: Path) -> None:
    """One object: hidden, half out of the picture, in the picture where no person was found, and of no size."""
    objects: dict[str, Any] = {}
    values: dict[int, Any] = {7: (1, 2, 3, 4), 4: (50, 10.5, 20, 10), 9: (3, 3, 0, 4), 1: None}
    for number, box in values.items():
        objects[f"SQU0.mp4/{number:06d}.png"] = [
            {
                "class": "closet/cabinet",
                "bbox": box,
                "attention_relationship": ["looking_at"],
                "spatial_relationship": ["in_front_of", "behind"],
                "contacting_relationship": ["touching"],
                "metadata": {"set": "test"},
                "visible": box is not None,
            }
        ]
    people = {key: {"bbox": np.zeros((0, 4), np.float32)} for key in objects}
    people["SQU0.mp4/000004.png"]["bbox"] = np.array([[5, 6, 7, 8], [0, 0, 1, 1]], np.float32)
    _write(root, objects, people)


def test_objects_that_are_never_seen_are_counted(tmp_path: Path, data: Path, caplog: pytest.LogCaptureFixture) -> None:
    _hand(tmp_path, data)
    objects = pickle.loads((tmp_path / "annotations" / OBJECTS).read_bytes())
    hidden = objects["SQU0.mp4/000001.png"][0]
    objects["SQU0.mp4/000001.png"].append(hidden | {"class": "bag"})
    _write(tmp_path, objects, {})
    with caplog.at_level(logging.INFO):
        assert len(ActionGenome(tmp_path, "test")) == 1
    assert caplog.messages == [
        f"{tmp_path / 'annotations' / OBJECTS}: test: 1 boxes of no size left out",
        f"{tmp_path / 'annotations' / OBJECTS}: test: 1 objects, 1 left out that are never visible",
    ]


def test_the_pickle_is_an_index(tmp_path: Path, data: Path) -> None:
    scene = squares(0)
    keys = [f"SQU0.mp4/{number:06d}.png" for number in range(1, 3001)]
    _write(tmp_path, {key: [_object(scene, 1, 0, key, "test")] for key in keys}, dict.fromkeys(keys, _person(scene, 0)))
    source = ActionGenome(tmp_path, "test", videos=data / "videos", samples="relationship")
    assert len(source) == 3000
    pickled = pickle.dumps(source)
    assert len(pickled) < 3000 * 102 + 4000
    assert pickle.loads(pickled)[0] == source[0]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("bbox", None, "[0].bbox: expected 4 elements, got None"),
        ("bbox", [1, 2, float("nan"), 4], "[0].bbox: expected a finite number, got nan"),
        ("visible", 1, "[0].visible: expected true or false, got 1"),
        ("metadata", {"set": "val"}, "[0].metadata.set: 'val' is neither train nor test"),
        ("spatial_relationship", None, "[0].spatial_relationship: expected an array, got None"),
        ("class", " ", "[0].class: expected text, got ' '"),
    ],
)
def test_a_frame_that_cannot_be_used_is_named(tmp_path: Path, data: Path, field: str, value: Any, message: str) -> None:
    _hand(tmp_path, data)
    path = tmp_path / "annotations" / OBJECTS
    objects = pickle.loads(path.read_bytes())
    objects["SQU0.mp4/000007.png"][0][field] = value
    path.write_bytes(pickle.dumps(objects))
    source = ActionGenome(tmp_path, "test", videos=data / "videos")
    assert len(source) == 2
    assert source[0].regions[0].track.keys() == {0, 3}
    with pytest.raises(DataError) as error:
        source[1]
    assert str(error.value) == f"{path}: 'SQU0.mp4/000007.png': {message}"


def test_other_errors_of_a_frame(tmp_path: Path, data: Path) -> None:
    _hand(tmp_path, data)
    path = tmp_path / "annotations" / OBJECTS
    objects = pickle.loads(path.read_bytes())
    twice = objects["SQU0.mp4/000004.png"] * 2
    outside = [twice[0] | {"class": "bag", "bbox": (60, 1, 2, 3)}]
    frames = {
        "SQU0.mp4/000004.png": twice,
        "SQU0.mp4/000000.png": twice[:1],
        "x.png": [],
        "SQU0.mp4/000005.png": outside,
    }
    path.write_bytes(pickle.dumps(frames))
    source = ActionGenome(tmp_path, "test", videos=data / "videos")
    messages = []
    for index in range(len(source)):
        with pytest.raises(DataError) as error:
            source[index]
        messages.append(str(error.value).removeprefix(f"{path}: "))
    assert messages == [
        "'SQU0.mp4': 'bag': frame 000005.png: box [60.0, 1.0, 62.0, 4.0] is not on the frame of width 56 and height 40",
        "'SQU0.mp4/000004.png': [1].class: 'closet/cabinet' twice on the frame",
        "'SQU0.mp4/000000.png': frame 0, they are counted from 1",
        "'x.png': expected the name of a frame like 'VIDEO.mp4/000089.png'",
    ]


def test_errors_of_people_are_named(tmp_path: Path, data: Path) -> None:
    _hand(tmp_path, data)
    people = tmp_path / "annotations" / PEOPLE
    people.write_bytes(pickle.dumps({"SQU0.mp4/000004.png": {"bbox": [[1, 2, 3]]}}))
    source = ActionGenome(tmp_path, "test", videos=data / "videos", samples="relationship")
    messages = []
    for index in range(len(source)):
        with pytest.raises(DataError) as error:
            source[index]
        messages.append(str(error.value).removeprefix(f"{people}: "))
    assert messages == [
        "'SQU0.mp4/000004.png': bbox[0]: expected 4 elements, got [1, 2, 3]",
        "missing key 'SQU0.mp4/000007.png'",
    ]


def test_a_file_that_is_no_table_is_named(tmp_path: Path, data: Path) -> None:
    _write(tmp_path, [], {})
    with pytest.raises(DataError, match=r"relationship\.pkl: expected frames by name, got \[\]"):
        len(ActionGenome(tmp_path, "test"))
    _write(tmp_path, {}, {})
    with pytest.raises(DataError, match=r"relationship\.pkl: no record of the split 'test' among 0 frames"):
        len(ActionGenome(tmp_path, "test"))


def _small() -> tuple[Any, Any]:
    scene, key = squares(0), "SQU0.mp4/000001.png"
    return {key: [_object(scene, 1, 0, key, "test")]}, {key: _person(scene, 0)}


SMALL = _small()


def _pickled(value: Any) -> bytes:
    return pickle.dumps(value, 2)


@FUZZ
@given(content=damaged(SMALL[0], _pickled))
def test_damaged_objects_are_read_or_a_data_error(data: Path, tmp_path: Path, content: bytes) -> None:
    _write(tmp_path, *copy.deepcopy(SMALL))
    (tmp_path / "annotations" / OBJECTS).write_bytes(content)
    for samples in ("object", "relationship"):
        assert len(read_all(ActionGenome(tmp_path, "test", videos=data / "videos", samples=samples), tmp_path)) <= 2


@FUZZ
@given(content=damaged({"SQU0.mp4/000001.png": {"bbox": [[1.0, 2.0, 3.0, 4.0]], "bbox_size": [56, 40]}}, _pickled))
def test_damaged_people_are_read_or_a_data_error(data: Path, tmp_path: Path, content: bytes) -> None:
    _write(tmp_path, *copy.deepcopy(SMALL))
    (tmp_path / "annotations" / PEOPLE).write_bytes(content)
    assert len(read_all(ActionGenome(tmp_path, "test", videos=data / "videos", samples="relationship"), tmp_path)) <= 1
