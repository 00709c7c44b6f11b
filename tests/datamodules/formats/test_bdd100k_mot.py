"""BDD100K multiple object tracking: inclusive boxes by track id, one file a video."""

import json
import logging
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from damage import FUZZ, damaged, dump_json, read_all
from datamodules.errors import DataError
from datamodules.formats.bdd100k_mot import Bdd100kMot
from datamodules.types import Box, Frames
from moving_squares import FRAMES, HEIGHT, WIDTH, assert_on_pixels, save_picture, squares


def write_bdd100k_mot(root: Path, split: str = "val", scenes: int = 3) -> None:
    """Lays `scenes` videos out as BDD100K does, every second one under the key `frames`.

    Boxes are inclusive, file names count from 1 and frame indices from 0, and a crowd covers the whole picture.
    """
    labels = root / "labels" / "box_track_20" / split
    labels.mkdir(parents=True, exist_ok=True)
    for number in range(scenes):
        scene, video = squares(number), f"b1c66a42-{number:08d}"
        frames = []
        for index, picture in enumerate(scene.frames):
            name = f"{video}-{index + 1:07d}.jpg"
            save_picture(root / "images" / "track" / split / video / name, picture)
            shown = [(str(square), scene.colours[square], scene.box(square, index)) for square in range(3)]
            boxes = [_label(f"{video[:4]}-{key}", f"{colour} square", box) for key, colour, box in shown if box]
            boxes.append(_label("crowd", "car", (0, 0, WIDTH, HEIGHT), crowd=True))
            frames.append({"name": name, "videoName": video, "frameIndex": index, "labels": boxes})
        document = {"frames": frames, "config": None} if number % 2 else frames
        (labels / f"{video}.json").write_text(json.dumps(document))


def _label(key: str, category: str, box: tuple[int, int, int, int], crowd: bool = False) -> dict[str, Any]:
    x0, y0, x1, y1 = box
    attributes = {"crowd": crowd, "occluded": False, "truncated": False}
    corners = {"x1": x0, "y1": y0, "x2": x1 - 1, "y2": y1 - 1}
    return {"id": key, "category": category, "attributes": attributes, "box2d": corners}


def label(key: Any = "a", x1: Any = 0, x2: Any = 1, crowd: Any = False, **fields: Any) -> dict[str, Any]:
    box = {"x1": x1, "y1": 0, "x2": x2, "y2": 2.5}
    return {"id": key, "category": "car", "attributes": {"crowd": crowd}, "box2d": box} | fields


def frame(index: Any, *labels: Any, **fields: Any) -> dict[str, Any]:
    name = f"v-{index}.jpg"
    return {"name": name, "videoName": "v", "frameIndex": index, "labels": list(labels)} | fields


DOCUMENT: list[dict[str, Any]] = [
    frame(1, label("a"), label("b", -4.5, 3)),
    frame(0, label("b", 2, 9), label("crowd", crowd=True)),
    frame(2, label("a", crowd=True), label("c", 1, 1, attributes=None)),
    frame(3, labels=None),
]


def source_of(root: Path, document: Any = DOCUMENT, **options: Any) -> Bdd100kMot:
    labels = root / "labels" / "box_track_20" / "train"
    labels.mkdir(parents=True, exist_ok=True)
    (labels / "v.json").write_bytes(dump_json(document))
    for index in range(5):
        path = root / "images" / "track" / "train" / "v" / f"v-{index}.jpg"
        if not path.exists():
            save_picture(path, np.zeros((6, 8, 3), np.uint8))
    return Bdd100kMot(root, "train", **options)


def test_every_square_is_where_its_track_says(tmp_path: Path) -> None:
    write_bdd100k_mot(tmp_path)
    source = Bdd100kMot(tmp_path, "val")
    assert len(source) == 9
    compared = 0
    for index in range(9):
        colour = squares(index // 3).colours[index % 3]
        assert source[index].conversation[0].answer == f"{colour} square"
        compared += assert_on_pixels(source[index], [colour])
    assert compared == 9 * FRAMES


def test_a_sample_by_hand(tmp_path: Path) -> None:
    source = source_of(tmp_path)
    samples = {sample.id: sample for sample in map(source.__getitem__, range(len(source)))}
    assert list(samples) == ["v/b", "v/a", "v/c"]
    [b], [a], [c] = (samples[key].regions for key in samples)
    assert b.prompts == {0: Box((2.0, 0.0, 8.0, 3.5))}
    assert b.track == {**b.prompts, 1: Box((0.0, 0.0, 4.0, 3.5)), 2: None, 3: None}
    assert a.prompts == {1: Box((0.0, 0.0, 2.0, 3.5))}
    assert a.track == {0: None, **a.prompts, 3: None}, "a crowd is no single object, but it is there"
    assert list(c.prompts.values()) == [Box((1.0, 0.0, 2.0, 3.5))]
    sample = samples["v/a"]
    folder = tmp_path / "images" / "track" / "train" / "v"
    assert sample.media == Frames(tuple(folder / f"v-{index}.jpg" for index in range(4)))
    assert (sample.task, sample.conversation[0].answer, a.category) == ("answer", "car", "car")
    assert sample.conversation[0].question == "What is the category of <region>?"
    assert sample.protocol == "BDD100K MOT train, category, box"
    assert sample.origin == f"{tmp_path}/labels/box_track_20/train/v.json"


def test_crowds_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert len(source_of(tmp_path)) == 3
    assert caplog.messages == [f"{tmp_path}/labels/box_track_20/train: labels left out: 2 of crowds"]


def test_parts_of_the_download_may_lie_elsewhere(tmp_path: Path) -> None:
    source_of(tmp_path)
    folders = {"labels": tmp_path / "labels" / "box_track_20" / "train", "images": tmp_path / "images/track/train"}
    source = Bdd100kMot(tmp_path / "elsewhere", "val", question="<region>?", **folders)
    assert source[1].prompted_frames == (1,)
    assert source[1].conversation[0].question == "<region>?"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "missing key 'frames'"),
        ([], "0 frames"),
        ([frame(0, label(7))], "frame 0: labels[0].id: expected a string, got 7"),
        ([frame(0, label("a")), frame(0)], "frameIndex: 0 stands 2 times"),
        ([frame(0, label("a")), frame(1, videoName="w")], "videoName: 'v' and 'w' in one file"),
        ([frame(0, label("a"), label("a"))], "frame 0: labels[1].id: 'a' stands twice on the frame"),
        ([frame(0, label(crowd="no"))], "frame 0: labels[0].attributes.crowd: expected true or false, got 'no'"),
        ([frame(0, label(x1=5, x2=3))], "frame 0: labels[0].box2d: inverted or empty, x 5 to 4, y 0 to 3.5"),
        ([frame(0, label(x1=8, x2=9))],
         "frame 0: labels[0].box2d: box [8.0, 0.0, 10.0, 3.5] is not on the frame of width 8 and height 6"),
        ([frame(0, label(x1=None))], "frame 0: labels[0].box2d.x1: expected a finite number, got None"),
        ([frame(0, label(box2d=None))], "frame 0: labels[0].box2d: expected an object, got None"),
        ([frame(0, label(category=""))], "frame 0: labels[0].category: expected text, got ''"),
    ],
)  # fmt: skip
def test_a_record_that_cannot_be_used_is_named(tmp_path: Path, document: Any, message: str) -> None:
    source = source_of(tmp_path, document)
    assert len(source) == 1
    with pytest.raises(DataError) as error:
        source[0]
    assert str(error.value) == f"{tmp_path}/labels/box_track_20/train/v.json: {message}"


def test_a_missing_picture_and_missing_files_are_named(tmp_path: Path) -> None:
    source = source_of(tmp_path)
    picture = tmp_path / "images" / "track" / "train" / "v" / "v-0.jpg"
    picture.unlink()
    with pytest.raises(DataError, match=rf"{picture}: cannot be read as an image"):
        source[0]
    with pytest.raises(DataError, match=r"labels/box_track_20/val: no \*\.json"):
        len(Bdd100kMot(tmp_path, "val"))


def test_nothing_is_opened_before_use_and_the_pickle_is_an_index(tmp_path: Path) -> None:
    Bdd100kMot(tmp_path / "not there", "train")
    labels = [label(str(number)) for number in range(90)]
    source = source_of(tmp_path, [frame(index, *labels) for index in range(5)])
    assert len(source) == 90
    pickled = pickle.dumps(source)
    assert len(pickled) < 90 * 16 + 2000
    assert pickle.loads(pickled)[89] == source[89]


@FUZZ
@given(data=damaged(DOCUMENT[:2]))
def test_a_damaged_file_is_read_or_a_data_error(tmp_path: Path, data: bytes) -> None:
    source = source_of(tmp_path)
    (tmp_path / "labels" / "box_track_20" / "train" / "v.json").write_bytes(data)
    read_all(source, tmp_path)


@settings(FUZZ, max_examples=150)
@given(data=damaged({"frames": DOCUMENT[2:]}))
def test_a_damaged_file_of_the_newer_layout_is_read_or_a_data_error(tmp_path: Path, data: bytes) -> None:
    source = source_of(tmp_path)
    (tmp_path / "labels" / "box_track_20" / "train" / "v.json").write_bytes(data)
    read_all(source, tmp_path)


@pytest.mark.real_data
def test_the_real_file(tmp_path: Path, real_data: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = real_data / "bdd100k" / "track_sample_anns.json"
    document = json.loads(path.read_text())
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / path.name).write_bytes(path.read_bytes())
    video = tmp_path / "images" / document[0]["videoName"]
    save_picture(video / document[0]["name"], np.zeros((720, 1280, 3), np.uint8))
    source = Bdd100kMot(tmp_path, "train", labels=tmp_path / "labels", images=tmp_path / "images")
    everything = [(place, item) for place, shot in enumerate(document) for item in shot["labels"]]
    assert (len(document), len({item["id"] for _, item in everything})) == (202, 144)
    with caplog.at_level(logging.INFO):
        assert len(source) == 142, "two ids are a crowd on every frame"
    assert caplog.messages == [f"{tmp_path}/labels: labels left out: 132 of crowds"]
    for index in range(0, 142, 6):
        sample = source[index]
        assert isinstance(sample.media, Frames) and sample.media.paths[1].name == "b1c66a42-6f7d68ca-0000002.jpg"
        own = [(place, item) for place, item in everything if sample.id == f"{video.name}/{item['id']}"]
        expected: dict[int, Box | None] = dict.fromkeys(range(202))
        for place, item in own:
            x1, y1, x2, y2 = (item["box2d"][corner] for corner in ("x1", "y1", "x2", "y2"))
            expected[place] = Box((x1, y1, min(x2 + 1, 1280), min(y2 + 1, 720)))
            if item["attributes"]["crowd"]:
                del expected[place]
        [region] = sample.regions
        assert region.track == expected
        assert list(region.prompts) == [min(place for place, box in expected.items() if box is not None)]
