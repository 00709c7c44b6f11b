"""AVA-Kinetics: people in whole movies and in trimmed clips, a row for each of their actions."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from damage import FUZZ, read_all
from datamodules.errors import DataError
from datamodules.formats.ava_kinetics import AvaKinetics
from datamodules.shapes.encode import FRAMES_PER_SECOND
from datamodules.shapes.figure import COLOURS
from datamodules.types import Box, RegionSample, Video
from moving_squares import HEIGHT, WIDTH, Squares, assert_on_pixels, save_video, squares

NAMES = sorted(COLOURS)
ROWS = "ava_train_v2.2.csv"
LABELS = "ava_action_list_v2.2.pbtxt"


def write_ava_kinetics(root: Path) -> None:
    """Two movies and a clip in `root/videos`; in `root` the CSV file and the list of actions."""
    rows = []
    for number, (video, file, start) in enumerate(
        (("-5KQ66BBWC4", "-5KQ66BBWC4.mkv", 0), ("a_b-c123456", "a_b-c123456.mp4", 0), ("clip_000001", "", 12))
    ):
        scene = squares(number)
        save_video(root / "videos" / (file or f"dancing/{video}_{start:06d}_{start + 10:06d}.mp4"), scene.frames)
        rows += [row for second in (1, 2) for row in _rows(video, start + second, scene, second * FRAMES_PER_SECOND)]
    (root / ROWS).write_text("\n".join([*rows, "empty______,0904,,,,,", ""]))
    blocks = (
        f'label {{\n  name: "be a {name} square"\n  label_id: {i}\n  label_type: PERSON_MOVEMENT\n}}'
        for i, name in enumerate([*NAMES, "stand (a, or b)"], 1)
    )
    (root / LABELS).write_text("\n".join(blocks))


def _rows(video: str, second: int, scene: Squares, frame: int) -> list[str]:
    """Its colour is each square's first action; one more action of all squares follows in rows of their own."""
    rows: tuple[list[str], list[str]] = [], []
    for square, colour in enumerate(scene.colours):
        if (box := scene.box(square, frame)) is not None:
            share = np.array(box) / (WIDTH, HEIGHT, WIDTH, HEIGHT)
            where = f"{video},{second:04d}," + ",".join(f"{value:.3f}" for value in share)
            rows[0].append(f"{where},{len(NAMES) + 1},{square}")
            rows[1].append(f"{where},{NAMES.index(colour) + 1},{square}")
    return rows[0] + rows[1]


def _source(root: Path, **options: Any) -> AvaKinetics:
    return AvaKinetics(root / ROWS, root / "videos", actions=root / LABELS, **options)


def _samples(source: AvaKinetics) -> list[RegionSample]:
    return [source[index] for index in range(len(source))]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ava")
    write_ava_kinetics(root)
    return root


def test_people_of_movies_and_clips_land_on_their_squares(data: Path) -> None:
    samples = _samples(_source(data))
    colours = [sample.conversation[0].answer.split()[2] for sample in samples]
    assert sum(assert_on_pixels(s, [colour], 0.97) for s, colour in zip(samples, colours, strict=True)) == 15
    assert {sample.prompted_frames for sample in samples} == {(4,), (8,)}
    assert len({sample.id for sample in samples}) == 15
    assert {sample.cluster for sample in samples} == {
        "YouTube -5KQ66BBWC4",
        "YouTube a_b-c123456",
        "YouTube clip_000001",
    }


def test_a_person_by_hand(data: Path, tmp_path: Path) -> None:
    (tmp_path / ROWS).write_text("clip_000001,0013,-0.1,0.250,0.5,0.75,2\nclip_000001,0013,-0.1,0.250,0.5,0.75,1\n")
    (tmp_path / "list.csv").write_text("1,stand\n2,talk to (e.g., self)\n")
    [sample] = _samples(AvaKinetics(tmp_path / ROWS, data / "videos", actions=tmp_path / "list.csv", window=0.6))
    # the second after the clip's start, 0.6 s before and after it: frames are shown at 0, 0.25, 0.5 ...
    assert sample.media == Video(data / "videos" / "dancing" / "clip_000001_000012_000022.mp4", (1, 7))
    assert sample.regions[0].prompts == {4: Box((0.0, 10.0, 28.0, 30.0))}
    assert sample.conversation[0].question == "What is <region> doing?"
    assert sample.conversation[0].answer == "stand; talk to (e.g., self)"
    assert sample.meta == {"action_ids": [1, 2]}
    assert sample.id == "clip_000001,0013,-0.1,0.250,0.5,0.75"
    assert sample.origin == f"{tmp_path / ROWS}:1"


def test_the_window_ends_with_the_file(data: Path) -> None:
    assert {sample.media.span for sample in _samples(_source(data))} == {(0, 9), (2, 9)}
    assert {sample.media.span for sample in _samples(_source(data, window=0.0))} == {(4, 5), (8, 9)}


def test_rows_without_a_box_are_counted(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert len(_source(data)) == 15
    assert caplog.messages == [f"{data / ROWS}: 15 people, 1 rows without a box left out"]


def test_the_pickle_is_an_index(data: Path, tmp_path: Path) -> None:
    rows = "".join(f"clip_000001,0013,0.1,0.1,0.5,0.{number:05d},1\n" for number in range(20_000, 30_000))
    (tmp_path / ROWS).write_text(rows)
    source = AvaKinetics(tmp_path / ROWS, data / "videos", actions=data / LABELS)
    assert len(source) == 10_000
    source[0]
    pickled = pickle.dumps(source)
    assert len(pickled) < 10_000 * 40 + 3000
    assert pickle.loads(pickled)[9_999] == source[9_999]


def test_actions_of_the_activitynet_challenge_are_listed_as_items(data: Path, tmp_path: Path) -> None:
    (tmp_path / "list.pbtxt").write_text(
        'item {\n  name: "bend/bow (at the waist)"\n  id: 1\n}\nitem { id: 2 name: "x" }'
    )
    (tmp_path / ROWS).write_bytes(b"\xef\xbb\xbfclip_000001,0013,0.1,0.1,0.5,0.5,1\r\n")
    [sample] = _samples(AvaKinetics(tmp_path / ROWS, data / "videos", actions=tmp_path / "list.pbtxt"))
    assert sample.conversation[0].answer == "bend/bow (at the waist)"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("clip_000001,0013,0.1,0.1,0.5", "5 columns, expected 7 or 8"),
        ("clip_000001,x,0.1,0.1,0.5,0.5,1", "timestamp: expected a number, got 'x'"),
        ("clip_000001,13,0.1,0.1,nan,0.5,1", "box: expected a finite number, got nan"),
        ("clip_000001,13,0.5,0.1,0.1,0.5,1", "box: inverted or empty, x 0.5 to 0.1, y 0.1 to 0.5"),
        (
            "clip_000001,13,1.5,0.5,2,1,1",
            "box [84.0, 20.0, 112.0, 40.0] is not on the frame of width 56 and height 40",
        ),
        ("clip_000001,13,0.1,0.1,0.5,0.6,", "action_id: expected an integer, got ''"),
        ("clip_000001,13,0.1,0.1,0.5,0.6,99", f"action_id: 99 is none of the {len(NAMES) + 1} actions in"),
        ("clip_000001,23,0.1,0.1,0.5,0.5,1", "no video clip_000001, nor a clip of it with second 23"),
        ("clip_000001,16,0.1,0.1,0.5,0.5,1", "shows nothing at 4 s, its last frame is at 2 s"),
        ("clip_\0,16,0.1,0.1,0.5,0.5,1", "nor a clip of it with second 16"),
        ("-5KQ66BBWC4,-1,0.1,0.1,0.5,0.5,1", "shows nothing at -1 s, its last frame is at 2 s"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(data: Path, tmp_path: Path, row: str, message: str) -> None:
    (tmp_path / ROWS).write_text(f"\nclip_000001,13,0.1,0.1,0.5,0.5,1\n{row}\n")
    source = AvaKinetics(tmp_path / ROWS, data / "videos", actions=data / LABELS)
    assert (len(source), source[0].origin) == (2, f"{tmp_path / ROWS}:2")
    with pytest.raises(DataError) as error:
        source[1]
    assert str(error.value).startswith(f"{tmp_path / ROWS}:3: ")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ": 0 actions"),
        ("1,stand\nx,sit\n", ":2: expected an id and a name, got 'x,sit'"),
        ("1,stand\n1,sit\n", ": action 1 is both 'stand' and 'sit'"),
        ("1,\n", ":1: expected an id and a name, got '1,'"),
        ('label { name: "x" }', ": label 1: expected an id and a name, got 'name: \"x\"'"),
    ],
)
def test_a_list_of_actions_that_cannot_be_used_is_named(data: Path, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "list").write_text(text)
    source = AvaKinetics(data / ROWS, data / "videos", actions=tmp_path / "list")
    with pytest.raises(DataError) as error:
        source[0]
    assert str(error.value).endswith(f"{tmp_path / 'list'}{message}")


FILE = b"clip_000001,0013,0.1,0.1,0.5,0.5,1,4\nclip_000001,0014,0.2,0.1,0.5,0.5,2,4\nclip_000001,0014,,,,,,\n"
TEXTS = st.sampled_from(
    [b"", b" ", b"-1", b"x", b"nan", b"inf", b"1e999", b"9" * 30, b"9" * 5000, b"\0", b"\xff", b",,"]
)


@FUZZ
@given(st.data())
def test_a_damaged_file_is_read_or_a_data_error(data: Path, tmp_path: Path, choice: st.DataObject) -> None:
    rows = [line.split(b",") for line in FILE.splitlines()]
    row = choice.draw(st.sampled_from(rows))
    row[choice.draw(st.integers(0, 7))] = choice.draw(TEXTS)
    content = b"\n".join(b",".join(row) for row in rows)
    (tmp_path / ROWS).write_bytes(content[: choice.draw(st.sampled_from([len(content), len(content) // 2, 9]))])
    source = AvaKinetics(tmp_path / ROWS, data / "videos", actions=data / LABELS)
    assert len(read_all(source, tmp_path)) <= 3
