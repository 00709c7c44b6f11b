"""Vid-STG and the trajectories of VidOR: the writer lays the squares out as the two downloads do."""

import copy
import json
import logging
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from damage import FUZZ, damaged, read_all
from datamodules.errors import DataError
from datamodules.formats.vid_stg import VidStg
from datamodules.types import Box, Region, RegionSample, Turn, Video
from moving_squares import FRAMES, HEIGHT, WIDTH, Squares, assert_on_pixels, save_video, squares

SPANS = ((0, FRAMES), (3, 7), (2, FRAMES))  # of the three squares; the third leaves the picture after frame 4


def write_vid_stg(root: Path, split: str = "test", scenes: int = 4) -> None:
    """Three objects a scene, each with a caption and a question; the first record of a scene stands twice."""
    records = []
    for number in range(scenes):
        scene = squares(number)
        video, folder = f"{7000000000 + number}", f"{1000 + number}"
        save_video(root / "video" / folder / f"{video}.mp4", scene.frames)
        part = "validation" if split == "test" else "training"
        _write_json(root / "annotation" / part / folder / f"{video}.json", _vidor(scene, video, folder))
        told = [_record(scene, video, square) for square in range(3)]
        records += [*told, told[0] | {"questions": []}]
    _write_json(root / "annotations" / f"{split}_annotations.json", records)


def _write_json(path: Path, document: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


def _tid(square: int) -> int:
    return 4 - square


def _objects() -> list[dict[str, Any]]:
    return [{"tid": _tid(square), "category": "ball/sports_ball"} for square in (2, 1, 0)]


def _vidor(scene: Squares, video: str, folder: str) -> dict[str, Any]:
    trajectories = []
    for frame in range(FRAMES):
        boxes = []
        for square in range(3):
            if (box := scene.box(square, frame)) is not None:
                corners = dict(zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
                boxes.append({"tid": _tid(square), "bbox": corners, "generated": frame % 2, "tracker": "none"})
        trajectories.append(boxes)
    return {
        "version": "VERSION 1.0",
        "video_id": video,
        "video_path": f"{folder}/{video}.mp4",
        "frame_count": FRAMES,
        "fps": 29.97,
        "width": WIDTH,
        "height": HEIGHT,
        "subject/objects": _objects(),
        "trajectories": trajectories,
        "relation_instances": [],
    }


def _record(scene: Squares, video: str, square: int) -> dict[str, Any]:
    first, last = SPANS[square]
    target = {"type": "object", "target_id": _tid(square)}
    return {
        "vid": video,
        "fps": 29.97,
        "frame_count": FRAMES,
        "width": WIDTH,
        "height": HEIGHT,
        "subject/objects": _objects(),
        "used_segment": {"begin_fid": 0, "end_fid": FRAMES - 1},
        "used_relation": {
            "subject_tid": _tid(square),
            "object_tid": _tid(0),
            "predicate": "next_to",
            "begin_fid": first,
            "end_fid": last,
        },
        "temporal_gt": {"begin_fid": first, "end_fid": last},
        "captions": [{"description": f"a {scene.colours[square]} square"} | target],
        "questions": [{"description": f"what is {scene.colours[square]}?"} | target],
    }


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_every_box_lies_on_its_square(tmp_path: Path, split: Any) -> None:
    write_vid_stg(tmp_path, split)
    source = VidStg(tmp_path, split)
    assert len(source) == 12
    compared = 0
    for index in range(len(source)):
        scene = squares(index // 3)
        colour = scene.colours[index % 3]
        sample = source[index]
        compared += assert_on_pixels(sample, [colour])
        assert sample.conversation[0].answer == f"a {colour} square"
        assert sample.media.span == SPANS[index % 3]
    assert compared == 4 * sum(last - first for first, last in SPANS)


def test_a_sample_by_hand(tmp_path: Path) -> None:
    write_vid_stg(tmp_path)
    assert VidStg(tmp_path, "test")[2] == RegionSample(
        id="7000000000/2/0",
        media=Video(tmp_path / "video/1000/7000000000.mp4", (2, 9)),
        regions=(
            Region.at(
                geometry=Box((43, 13, 49, 21)),
                frame=2,
                category="ball/sports_ball",
                track={
                    3: Box((45, 13, 49, 21)),
                    4: Box((47, 13, 49, 21)),
                    5: None,
                    6: None,
                    7: None,
                    8: None,
                },
            ),
        ),
        conversation=(Turn("Give a short description of <region>.", "a blue square", ("a blue square",)),),
        task="caption",
        protocol="Vid-STG test, declarative, duplicates dropped",
        origin=f"{tmp_path}/annotations/test_annotations.json: [2]",
    )


def test_the_choices_are_named_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_vid_stg(tmp_path)
    with caplog.at_level(logging.INFO):
        assert len(VidStg(tmp_path, "test")) == 12
    assert caplog.messages == [
        f"{tmp_path}/annotations/test_annotations.json: 12 declarative sentences, 4 duplicates dropped"
    ]
    kept = VidStg(tmp_path, "test", duplicates="keep", end="inclusive")
    assert len(kept) == 16
    assert len({kept[index].id for index in range(16)}) == 16
    assert kept[0].protocol == "Vid-STG test, declarative, duplicates kept, last frame inclusive"
    questions = VidStg(tmp_path, "test", sentences="interrogative", duplicates="keep")
    assert [questions[index].conversation[0].references for index in range(2)] == [
        ("what is red?",),
        ("what is green?",),
    ]
    assert len(questions) == 12  # the duplicates have no question


def test_an_inclusive_end_stops_at_the_end_of_the_video(tmp_path: Path) -> None:
    write_vid_stg(tmp_path)
    source = VidStg(tmp_path, "test", end="inclusive")
    assert [source[index].media.span for index in range(3)] == [(0, 9), (3, 8), (2, 9)]
    assert max(source[1].regions[0].track) == 7


def test_the_region_is_given_where_its_object_first_shows(tmp_path: Path) -> None:
    vidor, record = copy.deepcopy(VIDOR), copy.deepcopy(RECORDS)
    vidor["trajectories"].reverse()
    sample = _source(tmp_path, record, vidor)[2]
    assert sample.prompted_frames == (4,)
    assert [frame for frame, box in sample.regions[0].track.items() if box is None] == [2, 3]


def test_a_box_is_clipped_and_one_without_area_is_no_box(tmp_path: Path) -> None:
    vidor = copy.deepcopy(VIDOR)
    boxes = [vidor["trajectories"][frame][0]["bbox"] for frame in range(3)]
    boxes[0] |= {"xmin": 20, "xmax": 20}
    boxes[1] |= {"xmin": -3, "ymax": HEIGHT + 9}
    boxes[2] |= {"xmin": WIDTH, "xmax": WIDTH + 5}
    region = _source(tmp_path, RECORDS, vidor)[0].regions[0]
    assert region.prompts == {1: Box((0, 5, 29, HEIGHT))}
    assert (region.track[0], region.track[2]) == (None, None)


def test_vidor_may_lie_elsewhere(tmp_path: Path) -> None:
    write_vid_stg(tmp_path / "vidor")
    (tmp_path / "vidor/annotations").rename(tmp_path / "annotations")
    assert_on_pixels(VidStg(tmp_path, "test", vidor=tmp_path / "vidor")[0], ["red"])


VIDOR = _vidor(squares(0), "7000000000", "1000")
RECORDS = [_record(squares(0), "7000000000", square) for square in range(3)]


def _source(root: Path, records: Any = RECORDS, vidor: Any = VIDOR) -> VidStg:
    _write_json(root / "annotation/validation/1000/7000000000.json", vidor)
    _write_json(root / "annotations/test_annotations.json", records)
    return VidStg(root, "test")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vid": "7"}, "no '7' among the 1 videos of {root}/annotation/validation"),
        ({"vid": 7}, "vid: expected a string, got 7"),
        (
            {"temporal_gt": {"begin_fid": 4, "end_fid": 10}},
            "temporal_gt: [4, 10) is not within the video's 9 frames",
        ),
        ({"temporal_gt": {"begin_fid": 4, "end_fid": 4}}, "temporal_gt: [4, 4) is not within the video's 9 frames"),
        ({"captions": [{"description": " ", "target_id": 4}]}, "captions[0].description: expected text, got ' '"),
        (
            {"captions": [{"description": "a", "target_id": 7}]},
            "{root}/annotation/validation/1000/7000000000.json: tid 7 is none of its 3 subject/objects",
        ),
        (
            {"frame_count": 20, "temporal_gt": {"begin_fid": 4, "end_fid": 12}},
            "{root}/annotation/validation/1000/7000000000.json: "
            "trajectories of 9 frames, the span in question is [4, 12)",
        ),
        (
            {"temporal_gt": {"begin_fid": 6, "end_fid": 9}, "captions": [{"description": "a", "target_id": 2}]},
            "{root}/annotation/validation/1000/7000000000.json: tid 2: visible on none of 3 frames",
        ),
    ],
)
def test_a_record_that_cannot_be_used_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    source = _source(tmp_path, [RECORDS[1], RECORDS[0] | change])
    assert len(source) == 2
    with pytest.raises(DataError) as error:
        source[1]
    where = f"{tmp_path}/annotations/test_annotations.json: [1]: "
    assert str(error.value) == where + message.replace("{root}", str(tmp_path))


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ({"a": {}}, "expected an array of records, got an object"),
        ([], "no records"),
        ([RECORDS[0] | {"captions": []}], "0 declarative sentences"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, records: Any, message: str) -> None:
    with pytest.raises(DataError) as error:
        len(_source(tmp_path, records))
    assert str(error.value) == f"{tmp_path}/annotations/test_annotations.json: {message}"


def test_no_vidor_is_one_error(tmp_path: Path) -> None:
    _write_json(tmp_path / "annotations/val_annotations.json", RECORDS)
    with pytest.raises(DataError, match=r"\[0\]: .*annotation/training: has no <folder>/<video>\.json"):
        VidStg(tmp_path, "val")[0]


@FUZZ
@given(data=damaged(RECORDS))
def test_damaged_records(tmp_path: Path, data: bytes) -> None:
    source = _source(tmp_path)
    (tmp_path / "annotations/test_annotations.json").write_bytes(data)
    assert len(read_all(source, tmp_path)) <= 4


@FUZZ
@given(data=damaged(VIDOR))
def test_damaged_trajectories(tmp_path: Path, data: bytes) -> None:
    source = _source(tmp_path)
    (tmp_path / "annotation/validation/1000/7000000000.json").write_bytes(data)
    assert len(read_all(source, tmp_path)) <= 3


def test_nothing_is_opened_before_use_and_the_pickle_is_an_index(tmp_path: Path) -> None:
    VidStg(tmp_path / "nowhere", "train")
    source = _source(tmp_path, RECORDS * 500)
    source.duplicates = "keep"
    assert len(source) == 1500
    pickled = pickle.dumps(source)
    assert len(pickled) < 1500 * 60
    assert pickle.loads(pickled)[1499] == source[1499]
