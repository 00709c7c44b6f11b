"""BenSMOT: the writer lays the squares out as the download does."""

import logging
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from damage import FUZZ, damaged, read_all
from datamodules.errors import DataError
from datamodules.formats.bensmot import BenSmot
from datamodules.types import Box, Frames, Region, RegionSample, Turn
from moving_squares import FRAMES, WIDTH, assert_on_pixels, save_picture, squares

TRACKS = (5, 2, 9)  # ids of the squares
ORDER = (1, 0, 2)  # the squares by ascending id, as the captions stand


def write_bensmot(root: Path, split: str = "test", scenes: int = 4) -> None:
    """A sequence a scene; every second one with 6-digit, sparse names and byte-order marks.

    A square that leaves the picture has one row more, of negative width, and then none.
    """
    for number in range(scenes):
        odd = bool(number % 2)
        folder = root / split / f"playing_{number // 2}" / f"01Ss_Kfo6ag_{number}"
        for frame, picture in enumerate(squares(number).frames):
            save_picture(folder / "imgs" / f"{_number(frame, odd):0{6 if odd else 3}d}.jpg", picture)
        encoding = "utf-8-sig" if odd else "utf-8"
        _write(folder / "gt/gt.txt", "".join(f"{','.join(map(str, row))}\n" for row in _rows(number, odd)), encoding)
        _write(folder / "instance_captions.txt", "\n".join(_captions(number)), encoding)
        _write(folder / "video_caption.txt", "Three squares.", encoding)


def _write(path: Path, text: str, encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding=encoding)


def _number(frame: int, sparse: bool) -> int:
    return 4 * frame + 3 if sparse else frame + 1


def _rows(number: int, sparse: bool) -> list[list[Any]]:
    scene = squares(number)
    rows: list[list[Any]] = []
    for square in range(3):
        visible = scene.visible(square)
        for frame in visible:
            x0, y0, x1, y1 = scene.box(square, frame) or (0, 0, 0, 0)
            rows.append([_number(frame, sparse), TRACKS[square], x0, y0, float(x1 - x0), y1 - y0, 1, 1, 1])
        if len(visible) < FRAMES:
            rows.append([_number(visible[-1] + 1, sparse), TRACKS[square], WIDTH, 13, -1, 8, 1, 1, 1])
    return sorted(rows, key=lambda row: int(row[0]))


def _captions(number: int) -> list[str]:
    colours = squares(number).colours
    return [f"woman{count}: A {colours[square]} square: it is plain." for count, square in enumerate(ORDER)]


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_box_lies_on_its_square(tmp_path: Path, split: Any) -> None:
    write_bensmot(tmp_path, split)
    source = BenSmot(tmp_path, split)
    assert len(source) == 12
    compared = 0
    for index in range(len(source)):
        colour = squares(index // 3).colours[ORDER[index % 3]]
        compared += assert_on_pixels(source[index], [colour])
        assert source[index].conversation[0].references == (f"A {colour} square: it is plain.",)
    assert compared == 4 * (FRAMES + FRAMES + 6)


def test_a_sample_by_hand(tmp_path: Path) -> None:
    folder = _sequence(tmp_path, ROWS, CAPTIONS)
    assert BenSmot(tmp_path, "test")[1] == RegionSample(
        id="dancing/a_0/7",
        media=Frames(tuple(folder / "imgs" / name for name in PICTURES), (1, 5)),
        regions=(
            Region.at(
                geometry=Box((0.0, 2.0, 8.0, 8.0)),
                frame=2,
                category="woman",
                # the pictures 3, 4, 10 and 11; without a row of 10, on a frame that has none at all, nothing is known
                track={1: None, 4: Box((50.0, 2.0, 56.0, 40.0))},
            ),
        ),
        conversation=(Turn("Give a short description of <region>.", "She: dances.", ("She: dances.",)),),
        task="caption",
        protocol="BenSMOT test",
        origin=str(folder),
    )


def test_a_frame_with_rows_of_others_alone_does_not_show_an_object(tmp_path: Path) -> None:
    _sequence(tmp_path, [*ROWS, [10, 3, 0, 0, 5, 5]], CAPTIONS)
    assert BenSmot(tmp_path, "test")[1].regions[0].track[3] is None


def test_counts_that_differ_are_an_error_or_cut(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_bensmot(tmp_path)
    folder = _sequence(tmp_path, ROWS, [*CAPTIONS, "man2: One too many."])
    source = BenSmot(tmp_path, "test")
    assert len(source) == 15
    with pytest.raises(DataError) as error:
        source[0]
    assert str(error.value) == f"{folder}: instance_captions.txt has 3 captions, gt/gt.txt 2 tracks"
    with caplog.at_level(logging.INFO):
        source = BenSmot(tmp_path, "test", mismatch="truncate")
        assert len(source) == 14
    assert caplog.messages == [
        f"{tmp_path}/test: 5 sequences",
        f"{tmp_path}/test: captions and tracks differ in number in 1 sequences, 1 left out",
    ]
    assert source[1].id == "dancing/a_0/7"
    assert source[0].protocol == "BenSMOT test, captions and tracks cut to the fewer"


def test_sequences_without_captions_are_an_error_or_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_bensmot(tmp_path, scenes=2)
    missing = tmp_path / "test/playing_0/01Ss_Kfo6ag_0/instance_captions.txt"
    missing.unlink()
    source = BenSmot(tmp_path, "test")
    assert len(source) == 4
    with pytest.raises(DataError) as error:
        source[0]
    assert str(error.value) == f"{missing}: No such file or directory"
    with caplog.at_level(logging.INFO):
        source = BenSmot(tmp_path, "test", missing="skip")
        assert len(source) == 3
    assert caplog.messages == [f"{tmp_path}/test: 1 sequences, 1 without instance_captions.txt skipped"]
    assert source[0].protocol == "BenSMOT test, sequences without captions skipped"


PICTURES = ("000001.jpg", "000003.jpg", "000004.jpg", "000010.jpg", "000011.jpg")
ROWS: list[Any] = [
    [3, 7, 50, 2, -1, 6, 1],
    [1, 3, 4, 5, 6, 7, 1],
    [4, 7, -2, 2, 10, 6, 1],
    [11, 7, 50, 2, 20, 90.5, 1],
]
CAPTIONS: list[Any] = ["man0: He sings.", "woman1: She: dances."]


def _dump_rows(rows: Any) -> bytes:
    lines = rows if isinstance(rows, list) else [rows]
    return _dump_lines([",".join(map(str, line)) if isinstance(line, list) else line for line in lines])


def _dump_lines(lines: Any) -> bytes:
    texts = lines if isinstance(lines, Sequence) and not isinstance(lines, str) else [lines]
    return "\n".join(map(str, texts)).encode(errors="surrogatepass")


def _sequence(root: Path, rows: Any, captions: Any) -> Path:
    folder = root / "test/dancing/a_0"
    for name in PICTURES:
        if not (folder / "imgs" / name).exists():
            save_picture(folder / "imgs" / name, squares(0).frames[0])
    (folder / "gt").mkdir(exist_ok=True)
    (folder / "gt/gt.txt").write_bytes(_dump_rows(rows))
    (folder / "instance_captions.txt").write_bytes(_dump_lines(captions))
    return folder


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[3, 7, 1, 2, 3]], "gt/gt.txt: line 1: expected frame, id, x, y, width, height, got 5 values"),
        ([["", 7, 1, 2, 3, 4]], "gt/gt.txt: line 1: frame: expected an integer of at least 1, got ''"),
        ([[0, 7, 1, 2, 3, 4]], "gt/gt.txt: line 1: frame: expected an integer of at least 1, got 0"),
        ([ROWS[1], [1, "x", 1, 2, 3, 4]], "gt/gt.txt: line 2: id: expected an integer, got 'x'"),
        ([[1, 7, "nan", 2, 3, 4]], "gt/gt.txt: line 1: box: expected a finite number, got nan"),
        ([[1, 7, "a", 2, 3, 4]], "gt/gt.txt: line 1: box: expected a finite number, got 'a'"),
        ([*ROWS, ROWS[0]], "gt/gt.txt: line 5: frame 3 of id 7 stands twice"),
        (
            [ROWS[0], [2, 7, 1, 2, 3, 4], [1, 9, 1, 1, 1, 1]],
            "gt/gt.txt: frame 2 is none of the 5 pictures in imgs",
        ),
        ([[1, 3, 0, 0, 0, 5], [1, 7, 1, 2, 3, 4]], "gt/gt.txt: id 3: visible on none of 1 frames"),
    ],
)
def test_rows_that_cannot_be_used_are_named(tmp_path: Path, rows: Any, message: str) -> None:
    folder = _sequence(tmp_path, rows, CAPTIONS)
    with pytest.raises(DataError) as error:
        BenSmot(tmp_path, "test")[0]
    assert str(error.value).replace(": gt/", "/gt/") == f"{folder}/{message}"


@pytest.mark.parametrize(
    ("captions", "message"),
    [
        (["He sings.", "woman1: She"], "line 1: expected 'label: caption', got 'He sings.'"),
        (["man0: He sings.", "", "12: She"], "line 3: expected 'label: caption', got '12: She'"),
        (["man0: ", "woman1: She"], "line 1: expected 'label: caption', got 'man0: '"),
    ],
)
def test_captions_that_cannot_be_used_are_named(tmp_path: Path, captions: Any, message: str) -> None:
    folder = _sequence(tmp_path, ROWS, captions)
    source = BenSmot(tmp_path, "test")
    assert len(source) == 1
    with pytest.raises(DataError) as error:
        source[0]
    assert str(error.value) == f"{folder}/instance_captions.txt: {message}"


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"/train: has no folders <activity>/<sequence>"):
        len(BenSmot(tmp_path, "train"))
    folder = _sequence(tmp_path, [], [])
    with pytest.raises(DataError, match=r"a_0: instance_captions.txt has 0 captions, gt/gt.txt 0 tracks"):
        BenSmot(tmp_path, "test")[0]
    _sequence(tmp_path, ROWS, CAPTIONS)
    save_picture(folder / "imgs/011.jpg", squares(0).frames[0])
    with pytest.raises(DataError, match=r"a_0/imgs: 000011.jpg and 011.jpg are both frame 11"):
        BenSmot(tmp_path, "test")[0]


@FUZZ
@given(data=damaged(ROWS, _dump_rows))
def test_damaged_tracks(tmp_path: Path, data: bytes) -> None:
    folder = _sequence(tmp_path, ROWS, CAPTIONS)
    (folder / "gt/gt.txt").write_bytes(data)
    assert len(read_all(BenSmot(tmp_path, "test"), tmp_path)) <= 2
    assert len(read_all(BenSmot(tmp_path, "test", mismatch="truncate"), tmp_path)) <= 2


@FUZZ
@given(data=damaged(CAPTIONS, _dump_lines))
def test_damaged_captions(tmp_path: Path, data: bytes) -> None:
    folder = _sequence(tmp_path, ROWS, CAPTIONS)
    (folder / "instance_captions.txt").write_bytes(data)
    assert len(read_all(BenSmot(tmp_path, "test"), tmp_path)) <= 2


def test_nothing_is_opened_before_use_and_the_pickle_is_an_index(tmp_path: Path) -> None:
    BenSmot(tmp_path / "nowhere", "train")
    write_bensmot(tmp_path)
    source = BenSmot(tmp_path, "test")
    assert len(source) == 12
    assert len(pickle.dumps(source)) < 2000
    assert pickle.loads(pickle.dumps(source))[11] == source[11]
