"""COCO instances in words: counts, places, and what is at a place, worked by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_coco_instances import write_coco

from datamodules.errors import DataError
from datamodules.formats import CocoInWords
from datamodules.types import RegionSample, Turn

RIGHT = {
    "how many red": "1",
    "how many green": "1",
    "where is a red": "top left",
    "where is a green": "bottom",
    "what is at the top left": "red",
    "what is at the bottom": "green",
}
"""Images of 60 x 40: a red square around (10, 10), a green one around (37.5, 27.5). At all other places is nothing."""


def _source(folder: Path, **options: Any) -> CocoInWords:
    write_coco(folder)
    return CocoInWords(folder / "instances_val.json", folder / "images", **options)


def _turns(source: CocoInWords) -> list[Turn]:
    return [turn for index in range(len(source)) for turn in source[index].conversation]


def test_answers_are_those_of_the_annotations(tmp_path: Path) -> None:
    turns = _turns(_source(tmp_path, size=40))
    assert {turn.question for turn in turns} >= set(RIGHT)
    for turn in turns:
        assert turn.answer == RIGHT.get(turn.question, "outside"), turn


def test_names_stand_for_categories(tmp_path: Path) -> None:
    turns = _turns(_source(tmp_path, size=40, names={"Red": "ring"}))
    words = " ".join(f"{turn.question} {turn.answer}" for turn in turns)
    assert "red" not in words
    assert Turn("how many ring", "1") in turns


def test_a_sample_is_the_same_whoever_reads_it(tmp_path: Path) -> None:
    """Images come in turn; later rounds ask something else of them."""
    source = _source(tmp_path, size=8)
    again = CocoInWords(source.annotations, source.images, size=8)
    read: list[RegionSample] = [source[index] for index in range(8)]
    assert [again[index] for index in reversed(range(8))] == read[::-1]
    assert [sample.media for sample in read[:4]] == [sample.media for sample in read[4:]]
    assert [sample.conversation for sample in read[:4]] != [sample.conversation for sample in read[4:]]
    assert not any(sample.regions for sample in read)


def test_what_cannot_be_asked_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"names has 'blue', categories are Red, green"):
        _ = _source(tmp_path, names={"blue": "ring"})[0]
    with pytest.raises(DataError, match="turns is 0"):
        CocoInWords(Path(), Path(), turns=0)
