"""VideoRefer-Bench-Q: multiple choice about the objects of a folder of frames."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from damage import FUZZ, damaged, read_all
from datamodules.errors import DataError
from datamodules.formats.videorefer_bench_q import VideoReferBenchQ
from datamodules.types import Frames, Turn, Video
from moving_squares import FRAMES, assert_on_pixels, squares
from videorefer_files import FOLDERS, SAMPLED, write_videorefer_bench_q

CODE = {"size": [4, 6], "counts": [3, 2, 19]}
OBJECT = {"0": {"segmentation": CODE}, "57": {"segmentation": CODE}, "60": {"segmentation": None}}
LATE = {"3": {"segmentation": [[0, 0, 2, 0, 2, 2]]}, "57": {"segmentation": CODE}}
RECORD: dict[str, Any] = {
    "id": 12,
    "video": "DAVIS/JPEGImages/480p/aerobatics",
    "Question": "Does <object3><region> meet <object11> <region>?",
    "type": "Sequential  Questions",
    "options": ["(A) A helmet", " (B)  <object11> meets <object3> ", "(C) no"],
    "Answer": "(B) whatever",
    "frame_idx": "57",
    "annotation": [OBJECT, LATE],
}
REQUEST = "Answer with the option's letter from the given choices directly."


def _source(folder: Path, record: Any = RECORD, **options: Any) -> VideoReferBenchQ:
    path = folder / "VideoRefer-Bench-Q.json"
    path.write_text(json.dumps([record]))
    return VideoReferBenchQ(path, folder, **options)


@pytest.mark.parametrize(("mode", "frame"), [("single_frame", 2), ("multi_frame", 0)])
def test_masks_lie_on_their_squares(tmp_path: Path, mode: Any, frame: int) -> None:
    write_videorefer_bench_q(tmp_path)
    source = VideoReferBenchQ(tmp_path / "VideoRefer-Bench-Q.json", tmp_path, mode=mode)
    assert len(source) == 6
    for index in range(6):
        sample = source[index]
        asked = (1,) if index % 2 == 0 else (2, 0)
        colours = [squares(index // 2).colours[square] for square in asked]
        assert assert_on_pixels(sample, colours) == len(SAMPLED) * len(asked)
        assert sample.prompted_frames == (frame,)
        names = tuple(tmp_path / FOLDERS[index // 2] / f"{number:05d}.jpg" for number in range(FRAMES))
        assert sample.media == Frames(names)


def test_a_record_by_hand(tmp_path: Path) -> None:
    sample = _source(tmp_path)[0]
    options = ("A helmet", "<region1> meets <region0>", "no")
    assert (sample.id, sample.task, sample.group) == ("12", "choice", "sequential questions")
    assert (sample.options, sample.label, sample.answering) == (options, 1, "letter")
    asked = f"Does <region0> meet <region1>? (A) A helmet (B) <region1> meets <region0> (C) no. {REQUEST}"
    assert sample.conversation == (Turn(asked, "B", ("B",)),)
    assert sample.protocol == "VideoRefer-Bench-Q, single_frame mask"
    assert [min(region.prompts) for region in sample.regions] == [57, 57]
    assert set(sample.regions[0].track) == {0, 57, 60}


def test_by_likelihood(tmp_path: Path) -> None:
    sample = _source(tmp_path, answering="likelihood")[0]
    assert sample.answering == "likelihood"
    assert sample.conversation == (Turn("Does <region0> meet <region1>?", "<region1> meets <region0>"),)


def test_each_object_on_the_first_frame_that_shows_it(tmp_path: Path) -> None:
    assert [min(region.prompts) for region in _source(tmp_path, mode="multi_frame")[0].regions] == [0, 3]


def test_one_object_without_a_name(tmp_path: Path) -> None:
    record = RECORD | {"Question": "Is <region> new?", "options": ["(A) yes", "(B) no"], "annotation": [OBJECT]}
    assert _source(tmp_path, record, answering="likelihood")[0].conversation[0].question == "Is <region0> new?"


def test_a_folder_of_frames_or_a_video(tmp_path: Path) -> None:
    assert _source(tmp_path)[0].media == Video(tmp_path / "DAVIS/JPEGImages/480p/aerobatics")
    folder = tmp_path / "DAVIS/JPEGImages/480p/aerobatics"
    folder.mkdir(parents=True)
    with pytest.raises(DataError, match=r"aerobatics: 0 pictures in the folder"):
        _source(tmp_path)[0]
    for number in (11, 2, 100):
        (folder / f"{number:05d}.jpg").touch()
    (folder / "._00002.jpg").touch()
    with pytest.raises(DataError, match=r"regions\[0\]: prompted on frame 57, outside the frames \[0, 3\)"):
        _source(tmp_path)[0]
    media = _source(tmp_path, RECORD | {"annotation": [OBJECT, {"0": LATE["57"]}], "frame_idx": "0"})[0].media
    assert isinstance(media, Frames)
    assert [path.name for path in media.paths] == ["00002.jpg", "00011.jpg", "00100.jpg"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"annotation": [OBJECT]}, "2 <region> in the text, but annotation has 1 objects"),
        ({"annotation": []}, "2 <region> in the text, but annotation has 0 objects"),
        (
            {"Question": "<object3><region> <object3><region>", "options": ["(A) a", "(B) b"]},
            "<object3> names 2 of the 2 objects",
        ),
        ({"options": ["(A) <object5>", "(B) b"]}, "<object5> stands before none of the 2 <region>"),
        ({"options": ["(A) <region1>", "(B) b"]}, "<region1> in the text, expected <region>"),
        ({"options": ["(A) a", "b"]}, "options[1]: expected '(B) ...', got 'b'"),
        ({"options": ["(A) a", "(C) b"]}, "options[1]: expected '(B) ...', got '(C) b'"),
        ({"options": ["(A) "]}, "options[0]: expected text, got ''"),
        ({"options": []}, "options: 0, expected 1 to 26"),
        ({"Answer": "(D) b"}, "Answer: expected '(A) ...' to '(C) ...', got '(D) b'"),
        ({"Answer": "B"}, "Answer: expected '(A) ...' to '(C) ...', got 'B'"),
        ({"frame_idx": "3"}, "annotation[0]: not visible on the prompted frame 3, but on [0, 57]"),
        (
            {"annotation": [OBJECT, {"57": {"segmentation": []}}]},
            "annotation[1]: not visible on the prompted frame 57, but on []",
        ),
        ({"type": None}, "type: expected a string, got None"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as error:
        _source(tmp_path, RECORD | change)[0]
    assert str(error.value) == f"{tmp_path}/VideoRefer-Bench-Q.json: [0]: {message}"


@FUZZ
@given(data=damaged([RECORD, RECORD | {"id": "13"}]))
def test_a_damaged_file_is_read_or_one_error_a_record(tmp_path: Path, data: bytes) -> None:
    source = VideoReferBenchQ(tmp_path / "q.json", tmp_path / "nothing here", mode="multi_frame")
    source.path.write_bytes(data)
    assert len(read_all(source, tmp_path)) <= 3
