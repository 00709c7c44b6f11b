"""The Causal-VidQA dictionary: both styles of keys, any order, the numbers of a hand-made file."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attempts import attempt
from damage import FUZZ, damaged
from datamodules.errors import DataError
from metrics import CausalVidQa
from metrics.peer_files.causal_vidqa import read
from metrics.saved import score_files as score

# right or wrong of d, e, p, pr, c, cr; the second video's name ends like a key of the other style
RIGHT = {"I3lGH_9Rieg_000001_000011": "111101", "x_0": "100110", "y": "011111", "z_d": "001100"}
PARTS = ["d", "e", "p", "pr", "c", "cr"]


def document(endings: list[str]) -> dict[str, Any]:
    return {
        f"{video}_{ending}": {"prediction": 4 if mark == "1" else 1, "answer": 4}
        for video, marks in RIGHT.items()
        for ending, mark in zip(endings, marks, strict=True)
    }


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("endings", [PARTS, list("012345")])
def test_the_numbers_of_a_file(tmp_path: Path, endings: list[str]) -> None:
    entries = list(document(endings).items())
    random.Random(0).shuffle(entries)
    scores = score("causal_vidqa", [write(tmp_path / "answers.json", dict(entries))])
    values = {name: item.value for name, item in scores.items()}
    # of the four videos in turn: D 1100, E 1010, PA 1011, PR 1111, P both 1011, CA 0110, CR 1010, C both 0010
    by_hand = {"d": 0.5, "e": 0.5, "p_a": 0.75, "p_r": 1.0, "p_ar": 0.75, "c_a": 0.5, "c_r": 0.5, "c_ar": 0.25}
    assert {name: values[name] for name in by_hand} == by_hand
    assert values["all"] == 0.5
    assert all(item.n == 4 for item in scores.values())
    # it said that a letter had been extracted from a generated text
    assert scores["p_ar"].protocol == (
        "Causal-VidQA P, both right; option whose number the file gives; Causal-VidQA answers of a file"
    )


def test_order_and_style_make_no_difference(tmp_path: Path) -> None:
    named = read(write(tmp_path / "named.json", document(PARTS)))
    backwards = dict(reversed(document(list("012345")).items()))
    assert sorted(read(write(tmp_path / "numbered.json", backwards)), key=lambda item: item.id) == sorted(
        named, key=lambda item: item.id
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y_d": None}, r"'y_d': record: expected an object, got None"),
        ({"y_d": {"prediction": 1}}, r"'y_d': missing key 'answer'"),
        ({"y_d": {"prediction": 5, "answer": 1}}, r"'y_d': prediction: 5 of 5 options, counted from 0"),
        ({"y_d": {"prediction": 0, "answer": -1}}, r"'y_d': answer: -1 of 5 options, counted from 0"),
        ({"y_x": {"prediction": 0, "answer": 1}}, r"'y_x': expected <video>_ and one of d, e, p, pr, c, cr or 0 to 5"),
        ({"y_0": {"prediction": 0, "answer": 1}}, r"25 answers about 4 videos, which have 6 each: 'y' has 7 \(d,"),
        ({"w_cr": {"prediction": 0, "answer": 1}}, r"25 answers about 5 videos, which have 6 each: 'w' has 1 \(cr\)"),
    ],
)
def test_what_does_not_fit_is_an_error(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        read(write(tmp_path / "answers.json", document(PARTS) | change))
    assert str(error.value).startswith(f"{tmp_path / 'answers.json'}: ")


def test_a_key_that_is_there_twice_is_an_error(tmp_path: Path) -> None:
    text = json.dumps(document(PARTS))
    (tmp_path / "answers.json").write_text(f'{text[:-1]}, "y_d": {{"prediction": 0, "answer": 1}}}}')
    with pytest.raises(DataError, match="'y_d': the key is there twice"):
        read(tmp_path / "answers.json")


@FUZZ
@given(data=damaged(document(PARTS)))
def test_damage_ends_in_one_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "damaged.json"
    path.write_bytes(data)
    attempt(lambda: read(path), tmp_path, CausalVidQa())


@FUZZ
@given(data=st.binary(max_size=40))
def test_noise_ends_in_one_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "noise.json"
    path.write_bytes(data)
    assert not attempt(lambda: read(path), tmp_path)
