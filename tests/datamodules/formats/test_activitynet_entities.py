"""ActivityNet-Entities: boxes at the tenths of a segment, in frames that were made 720 pixels wide."""

from __future__ import annotations

import json
import logging
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from damage import FUZZ, damaged, read_all
from datamodules.errors import DataError
from datamodules.formats.activitynet_entities import ActivityNetEntities
from datamodules.shapes.encode import FRAMES_PER_SECOND
from datamodules.types import Box, RegionSample, Video
from moving_squares import FRAMES, WIDTH, Squares, assert_on_pixels, save_video, squares

ANNOTATIONS = "anet_entities_cleaned_class_thresh50_trainval.json"
SPLITS = "split_ids_anet_entities.json"
SECONDS = FRAMES / FRAMES_PER_SECOND


def write_activitynet_entities(root: Path) -> None:
    """Three videos with boxes and one without in `root`, as the repository's `data` folder, and `root/videos`."""
    names = [f"v_{number:011d}" for number in range(4)]
    annotations = {}
    for number, (name, suffix) in enumerate(zip(names, (".mp4", ".mkv", ".mp4", ".mp4"), strict=True)):
        scene = squares(number)
        save_video(root / "videos" / f"{name}{suffix}", scene.frames)
        segments = [_segment(scene, 0.0, SECONDS), _segment(scene, 0.5, 1.5)] if number < 3 else [_unboxed(scene)]
        annotations[name] = {"duration": SECONDS, "segments": {str(i): each for i, each in enumerate(segments)}}
    document = {"vocab": ["blue", "green", "red"], "annotations": annotations}
    (root / ANNOTATIONS).write_text(json.dumps(document))
    splits = {"training": names[1:2], "validation": [names[0], *names[2:]], "testing": ["v_elsewhere"]}
    (root / SPLITS).write_text(json.dumps(splits))


def _segment(scene: Squares, start: float, stop: float) -> dict[str, Any]:
    """Each square once, on the frame in the middle of another tenth of the segment, and a crowd that is no square."""
    segment = _unboxed(scene, start, stop)
    for square, colour in enumerate(scene.colours):
        tenth = (1, 4, 6)[square]
        frame = int((start + (stop - start) * (tenth + 0.5) / 10) * FRAMES_PER_SECOND)
        while (box := scene.box(square, frame)) is None:
            tenth -= 1
            frame = int((start + (stop - start) * (tenth + 0.5) / 10) * FRAMES_PER_SECOND)
        segment["process_bnd_box"].append([round(value * 720 / WIDTH) for value in box])
        segment["frame_ind"].append(tenth)
        segment["process_clss"].append([colour])
        segment["process_idx"].append([3 * square + 1])
        segment["crowds"].append(0)
    segment["process_bnd_box"].insert(1, [0, 0, 720, 400])
    segment["frame_ind"].insert(1, 9)
    segment["process_clss"].insert(1, ["square"])
    segment["process_idx"].insert(1, [2])
    segment["crowds"].insert(1, 1)
    return segment


def _unboxed(scene: Squares, start: float = 0.0, stop: float = 1.0) -> dict[str, Any]:
    tokens = [word for colour in scene.colours for word in ("a", colour, "square")]
    lists = ("process_clss", "frame_ind", "process_idx", "process_bnd_box", "crowds")
    return {"timestamps": [start, stop], "tokens": [*tokens, "", "."], **{name: [] for name in lists}}


def _source(root: Path, **options: Any) -> ActivityNetEntities:
    return ActivityNetEntities(root, "validation", videos=root / "videos", **options)


def _samples(source: ActivityNetEntities) -> list[RegionSample]:
    return [source[index] for index in range(len(source))]


def _rewrite(root: Path, **changes: Any) -> None:
    """One segment, of the first video, whose fields are `changes`."""
    document = json.loads((root / ANNOTATIONS).read_text())
    segment = document["annotations"]["v_00000000000"]["segments"]["0"] | changes
    document["annotations"] = {"v_00000000000": {"duration": SECONDS, "segments": {"0": segment}}}
    (root / ANNOTATIONS).write_text(json.dumps(document))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("anet")
    write_activitynet_entities(root)
    return root


def test_regions_of_segments_land_on_their_squares(data: Path) -> None:
    samples = _samples(_source(data))
    assert [sample.id for sample in samples] == [f"v_{video:011d}/{segment}" for video in (0, 2) for segment in (0, 1)]
    compared = [assert_on_pixels(sample, [str(r.category) for r in sample.regions], 0.96) for sample in samples]
    assert compared == [3] * 4


def test_regions_of_objects_land_on_their_squares(data: Path) -> None:
    source = ActivityNetEntities(data, "training", videos=data / "videos", samples="object")
    samples = _samples(source)
    assert [sample.id for sample in samples] == [f"v_00000000001/{s}/{b}" for s in (0, 1) for b in (0, 2, 3)]
    assert sum(assert_on_pixels(sample, [sample.conversation[0].answer], 0.96) for sample in samples) == 6


def test_a_segment_by_hand(data: Path) -> None:
    sample = _source(data)[1]
    assert sample.media == Video(data / "videos" / "v_00000000000.mp4", (2, 7))
    # (0.5 + 0.15, 0.95 and 1.15 s) x 4 frames a second
    assert [min(region.prompts) for region in sample.regions] == [2, 3, 4]
    turn = sample.conversation[0]
    assert turn.question == "Describe the clip in which <region0>, <region1> and <region2> can be seen."
    assert turn.references == (turn.answer,) == ("a red square a green square a blue square .",)
    assert (sample.task, sample.protocol) == ("caption", "ActivityNet-Entities validation, box, sentence of a segment")
    assert sample.origin == f"{data / ANNOTATIONS}: 'v_00000000000'"


def test_the_ten_frames_are_those_shown_in_the_middle_of_each_tenth(data: Path, tmp_path: Path) -> None:
    lists = {
        "frame_ind": list(range(10)),
        "process_bnd_box": [[90, 90, 180, 180]] * 10,
        "process_clss": [["red"]] * 10,
        "crowds": [0] * 10,
    }
    _copied(data, tmp_path)
    _rewrite(tmp_path, **lists)
    [sample] = _samples(_source(tmp_path))
    # 0.45, 1.35, 2.25 ... 8.55
    assert [min(region.prompts) for region in sample.regions] == [0, 1, 2, 3, 4, 4, 5, 6, 7, 8]
    assert sample.regions[0].prompts == {0: Box((7.0, 7.0, 14.0, 14.0))}
    with pytest.raises(DataError, match=r"no segment of the 3 videos of 'validation' can be used"):
        len(_source(tmp_path, max_frames=9))


def test_boxes_are_clipped_and_ends_past_the_last_frame_mean_the_last_frame(data: Path, tmp_path: Path) -> None:
    _copied(data, tmp_path)
    lists = {"process_bnd_box": [[-5, 90, 9999, 180]], "process_clss": [["man", "boy", "man"]], "crowds": [0]}
    _rewrite(tmp_path, timestamps=[0, 2.9], frame_ind=[9], **lists)
    [sample] = _samples(_source(tmp_path, samples="object", question="Who is <region>?"))
    assert sample.regions[0].prompts == {8: Box((0.0, 7.0, 56.0, 14.0))}
    assert sample.media.span == (0, 9)
    turn = sample.conversation[0]
    assert (turn.question, turn.answer, turn.references) == ("Who is <region>?", "man", ("man", "boy"))


def test_segments_without_boxes_are_counted(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        source = _source(data)
        assert len(source) == 4
    assert caplog.messages == [f"{data / ANNOTATIONS}: validation: 1 of 5 segments left out, without a single object"]
    assert pickle.loads(pickle.dumps(source))[0] == source[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"timestamps": [2, 1]}, "segments.0.timestamps: from 2 to 1 s"),
        ({"timestamps": [0, 99]}, "/v_00000000000.mp4: shows nothing at 14.85 s, its last frame is at 2 s"),
        ({"crowds": [0]}, "segments.0: 4 boxes, but 1 in crowds"),
        ({"crowds": [0, 2, 0, 0]}, "segments.0.crowds[1]: 2 is neither 0 nor 1"),
        ({"frame_ind": [0, 1, 2, 10]}, "segments.0.frame_ind[3]: 10 of 10 frames, counted from 0"),
        ({"process_clss": [["a"], ["a"], [], ["a"]]}, "segments.0.process_clss[2]: 0 classes"),
        ({"tokens": [1]}, "segments.0.tokens[0]: expected a string, got 1"),
        (
            {"process_bnd_box": [[800, 0, 900, 9]] * 4},
            "segments.0.process_bnd_box[0]: box [62.22222222222222, 0.0, 70.0, 0.7] "
            "is not on the frame of width 56 and height 40",
        ),
    ],
)
def test_a_segment_that_cannot_be_used_is_named(
    data: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    _copied(data, tmp_path)
    _rewrite(tmp_path, **changes)
    source = _source(tmp_path)
    assert len(source) == 1
    with pytest.raises(DataError) as error:
        source[0]
    assert str(error.value).startswith(f"{tmp_path / ANNOTATIONS}: 'v_00000000000': ")
    assert str(error.value).endswith(message)


def test_a_video_that_is_not_there_is_named(data: Path, tmp_path: Path) -> None:
    source = ActivityNetEntities(data, "training", videos=tmp_path)
    with pytest.raises(DataError, match=rf"'v_00000000001': {tmp_path}: no video v_00000000001 \(.mp4, .mkv, .webm\)"):
        source[0]
    with pytest.raises(DataError, match=r"nowhere: No such file"):
        ActivityNetEntities(data, "training", videos=tmp_path / "nowhere")[0]


def test_a_question_for_segments_needs_its_slot() -> None:
    with pytest.raises(DataError, match=r"question: 'What\?' has no \{regions\}"):
        ActivityNetEntities(Path("x"), "training", videos=Path("x"), question="What?")


DOCUMENT: dict[str, Any] = {
    "vocab": ["red"],
    "annotations": {"v_00000000000": {"duration": SECONDS, "segments": {"0": _segment(squares(0), 0.0, SECONDS)}}},
}


@FUZZ
@given(content=damaged(DOCUMENT))
def test_a_damaged_document_is_read_or_a_data_error(data: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / ANNOTATIONS).write_bytes(content)
    (tmp_path / SPLITS).write_text(json.dumps({"validation": ["v_00000000000"]}))
    assert len(read_all(ActivityNetEntities(tmp_path, "validation", videos=data / "videos"), tmp_path)) <= 1


@settings(FUZZ, max_examples=100)
@given(content=damaged({"training": ["v_00000000001"], "validation": ["v_00000000000"]}))
def test_damaged_splits_are_read_or_a_data_error(data: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / ANNOTATIONS).write_text(json.dumps(DOCUMENT))
    (tmp_path / SPLITS).write_bytes(content)
    assert len(read_all(ActivityNetEntities(tmp_path, "validation", videos=data / "videos"), tmp_path)) <= 1


def _copied(data: Path, root: Path) -> None:
    for name in (ANNOTATIONS, SPLITS):
        (root / name).write_bytes((data / name).read_bytes())
    (root / "videos").symlink_to(data / "videos")
