"""Captions against references: COCO's files and plain text give what the metric gives, whatever the order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attempts import attempt, write_lines
from damage import FUZZ, damaged
from datamodules.errors import DataError
from metrics import score_captions
from metrics.peer_files.caption import read
from metrics.saved import score_files as score

CAPTIONS = {"7": "a red car on the road", "12": "two dogs run", "3": ""}
REFERENCES = {
    "7": ("a red car is driving on the road", "the car"),
    "12": ("two dogs are running", "dogs"),
    "3": ("a cat", "the cat sleeps"),
}


def results() -> list[Any]:
    return [{"image_id": int(name), "caption": caption} for name, caption in CAPTIONS.items()]


def annotations() -> dict[str, Any]:
    rows = [(int(name), text) for name, texts in REFERENCES.items() for text in texts]
    listed = [
        {"id": number, "image_id": name, "caption": text} for number, (name, text) in enumerate(rows[::2] + rows[1::2])
    ]
    return {"images": [{"id": int(name)} for name in REFERENCES], "annotations": listed, "info": {}}


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_coco_files_score_like_their_texts(tmp_path: Path) -> None:
    files = write(tmp_path / "results.json", results()), write(tmp_path / "annotations.json", annotations())
    scores = score("caption", [files[0]], [files[1]])
    names = ("meteor", "cider", "bleu", "rouge_l")
    expected = score_captions(CAPTIONS, REFERENCES, names)
    assert {name: item.value for name, item in scores.items()} == expected
    assert {item.n for item in scores.values()} == {3}


def test_bleu_by_hand(tmp_path: Path) -> None:
    """Nine words said; of "a red car on the road" all six occur, of "two dogs run" two: unigrams 8 of 9."""
    files = write(tmp_path / "results.json", results()), write(tmp_path / "annotations.json", annotations())
    bleu = score("caption", [files[0]], [files[1]])["bleu_1"].value
    # closest lengths of references: 6 words have 8 or 2 beside them, 3 have 4 or 1, 0 have 2 or 3
    assert bleu == pytest.approx(8 / 9 * 2.718281828459045 ** (1 - (8 + 4 + 2) / 9), rel=1e-6)


def test_plain_text_gives_the_same_predictions(tmp_path: Path) -> None:
    said = write_lines(tmp_path / "said.txt", [f"{text} \r" for text in CAPTIONS.values()])
    columns = zip(*REFERENCES.values(), strict=True)
    beside = [write_lines(tmp_path / f"reference{n}.txt", column) for n, column in enumerate(columns)]
    from_text = read(said, *beside)
    from_coco = read(write(tmp_path / "results.json", results()), write(tmp_path / "annotations.json", annotations()))
    assert [(item.prediction, item.references) for item in from_text] == [
        (item.prediction, item.references) for item in from_coco
    ]
    assert [item.id for item in from_text] == ["1", "2", "3"]


def test_blank_lines_are_references_left_out(tmp_path: Path) -> None:
    said = write_lines(tmp_path / "said.txt", ["a dog", "a line\u2028separator is no line"])
    one, two = write_lines(tmp_path / "1.txt", ["a dog", ""]), write_lines(tmp_path / "2.txt", ["the dog", "a cat"])
    assert [item.references for item in read(said, one, two)] == [("a dog", "the dog"), ("a cat",)]
    with pytest.raises(DataError, match=r"said.txt:2: 0 references, all are blank"):
        read(said, one)


def test_text_files_of_different_length_are_an_error(tmp_path: Path) -> None:
    said = write_lines(tmp_path / "said.txt", ["a", "b", "c"])
    beside = write_lines(tmp_path / "reference.txt", ["a", "b"])
    with pytest.raises(DataError, match=r"said.txt: 3 captions, .*reference.txt has 2 references: line 3 is only in"):
        read(said, beside)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (results()[:2], r"predictions of 2 samples, .*annotations.json has 3: '3' has no prediction"),
        ([*results(), {"image_id": 8, "caption": "x"}], r"of 4 samples, .* has 3: '8' is only among the predictions"),
        ([*results(), results()[0]], r"results.json: \[3\]: image_id: a second caption of 7, expected one each"),
        ([{"image_id": 7}], r"results.json: \[0\]: missing key 'caption'"),
        ([{"image_id": 7.5, "caption": "x"}], r"\[0\]: image_id: expected an integer, got 7.5"),
    ],
)
def test_coco_files_that_do_not_fit_are_an_error(tmp_path: Path, said: list[Any], message: str) -> None:
    files = write(tmp_path / "results.json", said), write(tmp_path / "annotations.json", annotations())
    with pytest.raises(DataError, match=message):
        read(*files)


@pytest.mark.parametrize("count", [0, 2])
def test_coco_captions_have_one_file_of_annotations(tmp_path: Path, count: int) -> None:
    with pytest.raises(DataError, match=f"need 1 file of annotations, {count} were given"):
        read(write(tmp_path / "results.json", results()), *[tmp_path / "annotations.json"] * count)


@FUZZ
@given(data=damaged(results()))
def test_damaged_results_end_in_one_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(data)
    beside = write(tmp_path / "annotations.json", annotations())
    attempt(lambda: read(path, beside), tmp_path)


@FUZZ
@given(data=damaged(annotations()))
def test_damaged_annotations_end_in_one_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "annotations.json"
    path.write_bytes(data)
    said = write(tmp_path / "results.json", results())
    attempt(lambda: read(said, path), tmp_path)


@FUZZ
@given(data=st.binary(max_size=30))
def test_damaged_text_ends_in_one_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "said.txt"
    path.write_bytes(data)
    beside = write_lines(tmp_path / "reference.txt", ["a", "b"])
    attempt(lambda: read(path, beside), tmp_path)
