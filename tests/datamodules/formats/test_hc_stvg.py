"""HC-STVG: the writer lays the squares out as both versions do."""

import json
import logging
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from damage import FUZZ, damaged, read_all
from datamodules.errors import DataError
from datamodules.formats.hc_stvg import BAD_FILES, HcStvg
from datamodules.types import Box, Region, RegionSample, Turn, Video
from moving_squares import FRAMES, HEIGHT, WIDTH, assert_on_pixels, save_video, squares

FIRST = (0, 2, 0)  # the frame each square is annotated from


def write_hc_stvg(root: Path, split: str = "val", version: int = 2, scenes: int = 3) -> None:
    """A video for every object of every scene, mp4 and mkv, those of the second version in packages."""
    document = {}
    for number in range(scenes):
        for square in range(3):
            name = f"{3 * number + square}_vfjywN5CN{number}Y.{'mkv' if square == 1 else 'mp4'}"
            package = root / f"video/{number + 1}" if version == 2 else root
            save_video(package / name, squares(number).frames)
            document[name] = _record(number, square, version)
    path = root / "anno_v2" / f"{split}_v2.json" if version == 2 else root / f"{split}.json"
    _write_json(path, document)


def _write_json(path: Path, document: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


def _annotated(number: int, square: int) -> list[int]:
    return [frame for frame in squares(number).visible(square) if frame >= FIRST[square]]


def _record(number: int, square: int, version: int) -> dict[str, Any]:
    scene = squares(number)
    bbox = []
    for frame in _annotated(number, square):
        x0, y0, x1, y1 = scene.box(square, frame) or (0, 0, 0, 0)
        bbox.append([x0, y0, x1 - x0, y1 - y0])
    text = f"A {scene.colours[square]} square."
    record = {
        "bbox": bbox,
        "st_time": FIRST[square] / FRAMES * 20,
        "ed_time": (FIRST[square] + len(bbox)) / FRAMES * 20,
        "img_num": FRAMES,
        "st_frame": FIRST[square] + 1,
    }
    if version == 2:
        return record | {"English": text, "Chinese": "", "img_size": [HEIGHT, WIDTH]}
    return record | {"caption": text, "width": WIDTH, "height": HEIGHT}


@pytest.mark.parametrize(("version", "split"), [(1, "train"), (1, "test"), (2, "train"), (2, "val")])
def test_every_box_lies_on_its_square(tmp_path: Path, version: Any, split: Any) -> None:
    write_hc_stvg(tmp_path, split, version)
    source = HcStvg(tmp_path, split, version=version)
    assert len(source) == 9
    compared = 0
    for index in range(len(source)):
        colour = squares(index // 3).colours[index % 3]
        compared += assert_on_pixels(source[index], [colour])
        assert source[index].conversation[0].references == (f"A {colour} square.",)
    assert compared == sum(len(_annotated(number, square)) for number in range(3) for square in range(3))


def test_clips_of_one_film_share_it(tmp_path: Path) -> None:
    write_hc_stvg(tmp_path)
    source = HcStvg(tmp_path, "val")
    films = [f"YouTube vfjywN5CN{index // 3}Y" for index in range(9)]
    assert [source[index].cluster for index in range(9)] == films


def test_a_sample_by_hand(tmp_path: Path) -> None:
    write_hc_stvg(tmp_path)
    box = Box((23, 23, 31, 31))
    assert HcStvg(tmp_path, "val")[1] == RegionSample(
        id="1_vfjywN5CN0Y.mkv",
        media=Video(tmp_path / "video/1/1_vfjywN5CN0Y.mkv", (2, 9)),
        regions=(Region.at(box, 2, "person", dict.fromkeys(range(3, 9), box)),),
        conversation=(Turn("Give a short description of <region>.", "A green square.", ("A green square.",)),),
        task="caption",
        protocol="HC-STVG v2 val",
        cluster="YouTube vfjywN5CN0Y",
        origin=f"{tmp_path}/anno_v2/val_v2.json: '1_vfjywN5CN0Y.mkv'",
    )


def test_files_may_lie_elsewhere(tmp_path: Path) -> None:
    write_hc_stvg(tmp_path)
    (tmp_path / "anno_v2/val_v2.json").rename(tmp_path / "mine.json")
    source = HcStvg(tmp_path / "no", "val", annotations=tmp_path / "mine.json", videos=tmp_path / "video/2")
    assert source[3].media == Video(tmp_path / "video/2/3_vfjywN5CN1Y.mp4", (0, 5))
    with pytest.raises(DataError) as error:
        source[0]
    assert (
        str(error.value) == f"{tmp_path}/mine.json: '0_vfjywN5CN0Y.mp4': {tmp_path}/video/2: no video 0_vfjywN5CN0Y.mp4"
    )


def test_files_are_left_out_on_request_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bad = BAD_FILES[0]
    source = _source(tmp_path, {bad: RECORD, "a.mp4": RECORD})
    assert len(source) == 2
    with caplog.at_level(logging.INFO):
        source = HcStvg(tmp_path, "val", exclude=BAD_FILES)
        assert [source[index].id for index in range(len(source))] == ["a.mp4"]
    assert caplog.messages == [f"{tmp_path}/anno_v2/val_v2.json: 1 of 2 videos excluded"]
    assert source[0].protocol == "HC-STVG v2 val, 1 excluded"
    with pytest.raises(DataError, match=r"val_v2.json: all 2 videos are excluded"):
        len(HcStvg(tmp_path, "val", exclude=[bad, "a.mp4"]))


def test_a_version_has_its_splits(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^split: 'val' is none of train, test of HC-STVG v1$"):
        HcStvg(tmp_path, "val", version=1)
    with pytest.raises(DataError, match=r"^split: 'test' is none of train, val of HC-STVG v2$"):
        HcStvg(tmp_path, "test")


def test_a_box_is_clipped_and_one_without_area_is_no_box(tmp_path: Path) -> None:
    boxes = [[0, 0, 0, 0], [-4, 30, 10, 20], [5, 5, 10, -1]]
    region = _source(tmp_path, {"a.mp4": RECORD | {"bbox": boxes}})[0].regions[0]
    assert region == Region.at(Box((0, 30, 6, 40)), 3, "person", {2: None, 4: None})


RECORD = _record(0, 1, 2)


def _source(root: Path, document: Any) -> HcStvg:
    for name in document:
        (root / str(name)).touch()
    _write_json(root / "anno_v2/val_v2.json", document)
    return HcStvg(root, "val")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"st_frame": 0}, "st_frame: expected an integer of at least 1, got 0"),
        ({"st_frame": 6}, "bbox: 7 boxes from frame 6 on, img_num is 9"),
        ({"bbox": []}, "bbox: visible on none of 0 frames"),
        ({"bbox": [[0, 0, 0, 0]] * 3}, "bbox: visible on none of 3 frames"),
        ({"bbox": [[1, 2, 3]]}, "bbox[0]: expected 4 elements, got [1, 2, 3]"),
        ({"img_size": [0, 5]}, "img_size: expected an integer of at least 1, got 0"),
        ({"English": None}, "English: expected a string, got None"),
        ({"English": "<region1>"}, "conversation[0].answer: <region1> has no region, there are 1, counted from 0"),
    ],
)
def test_a_record_that_cannot_be_used_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    source = _source(tmp_path, {"a.mp4": RECORD | change})
    with pytest.raises(DataError) as error:
        source[0]
    assert str(error.value) == f"{tmp_path}/anno_v2/val_v2.json: 'a.mp4': {message}"


def test_records_without_names_are_one_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"val_v2.json: expected an object by video file, got an array"):
        len(_source(tmp_path, ["not named"]))


@FUZZ
@given(data=damaged({"a.mp4": RECORD, "2_b.mkv": RECORD}))
def test_damaged_files(tmp_path: Path, data: bytes) -> None:
    source = _source(tmp_path, {"a.mp4": RECORD, "2_b.mkv": RECORD})
    (tmp_path / "anno_v2/val_v2.json").write_bytes(data)
    assert len(read_all(source, tmp_path)) <= 3


@FUZZ
@given(data=damaged({"a.mp4": _record(0, 2, 1)}))
def test_damaged_files_of_the_first_version(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.mp4").touch()
    (tmp_path / "test.json").write_bytes(data)
    assert len(read_all(HcStvg(tmp_path, "test", version=1), tmp_path)) <= 2


def test_nothing_is_opened_before_use_and_the_pickle_is_an_index(tmp_path: Path) -> None:
    HcStvg(tmp_path / "nowhere", "train")
    source = _source(tmp_path, {f"{number}.mp4": RECORD for number in range(500)})
    assert len(source) == 500
    assert len(pickle.dumps(source)) < 500 * 60
    assert pickle.loads(pickle.dumps(source))[499] == source[499]
