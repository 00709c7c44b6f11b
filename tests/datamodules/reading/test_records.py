"""Indices over JSON documents and the samples that come out of their records."""

from __future__ import annotations

import json
import pickle
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from datamodules.errors import DataError
from datamodules.reading.fields import array, filled, mapping, member
from datamodules.reading.json_index import JsonIndex, Named, read_json
from datamodules.reading.records import RecordSource
from datamodules.types import Frames, RegionSample, Turn

TITLES = {"clip-é.mp4": ["one", "two"], "b": [], "c:d": ["three"], "\u2028": ["four"]}


class Titles(RecordSource):
    """A record is a video's list of titles, a sample is a title."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def records(self) -> JsonIndex:
        return JsonIndex.build(self.path)

    def parts(self) -> NDArray[np.int64]:
        return self.count_parts(lambda record: len(array(record.value, "titles")))

    def sample(self, record: Named, part: int) -> RegionSample:
        title = filled(array(record.value, "titles")[part], f"titles[{part}]")
        return RegionSample(f"{record.name}-{part}", Frames((Path("a.jpg"),)), (), (Turn(title),))


def _write(folder: Path, document: Any, **options: Any) -> Path:
    path = folder / "titles.json"
    path.write_text(json.dumps(document, **options), encoding="utf-8-sig")
    return path


@pytest.mark.parametrize("options", [{}, {"ensure_ascii": False}, {"indent": 3}])
def test_samples_are_the_parts_of_records_in_order(tmp_path: Path, options: dict[str, Any]) -> None:
    source = Titles(_write(tmp_path, TITLES, **options))
    read = [source[index] for index in range(len(source))]
    assert [sample.id for sample in read] == ["clip-é.mp4-0", "clip-é.mp4-1", "c:d-0", "\u2028-0"]
    assert [sample.conversation[0].question for sample in read] == ["one", "two", "three", "four"]
    assert read[2].origin == f"{tmp_path / 'titles.json'}: 'c:d'"


def test_a_record_that_cannot_be_counted_is_one_sample_that_says_why(tmp_path: Path) -> None:
    source = Titles(_write(tmp_path, {"a": ["x", " "], "b": {"no": "list"}, "c": ["y"]}))
    assert len(source) == 4
    assert source[3].id == "c-0"
    for index, problem in ((1, "'a': titles[1]: expected text, got ' '"), (2, "'b': titles: expected an array")):
        with pytest.raises(DataError) as error:
            source[index]
        assert str(error.value).startswith(f"{tmp_path / 'titles.json'}: {problem}")
    with pytest.raises(IndexError):
        source[4]


def test_a_source_travels_as_an_index(tmp_path: Path) -> None:
    source = Titles(_write(tmp_path, {f"{number:04}": ["a long title " * 50] for number in range(1000)}))
    assert len(source) == 1000
    pickled = pickle.dumps(source)
    assert len(pickled) < 60_000 < (tmp_path / "titles.json").stat().st_size
    assert pickle.loads(pickled)[999] == source[999]


def test_rows_of_an_array_or_below_a_key(tmp_path: Path) -> None:
    rows = JsonIndex.build(_write(tmp_path, [{"a": 1}, "é", [2]]))
    assert [rows.read(index) for index in range(3)] == [(0, {"a": 1}), (1, "é"), (2, [2])]
    assert rows.origin(1).endswith("titles.json: [1]")
    below = JsonIndex.build(_write(tmp_path, {"vocab": ["x"], "videos": {"v1": 5, "v2": {"é": 6}}}), "videos")
    assert below.find("v2") == {"é": 6}
    with pytest.raises(DataError, match="no 'v3' among 2 records"):
        below.find("v3")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", ":1: not JSON: Expecting '['"),
        ("[]", ": no records"),
        ("{}", ": no records"),
        ("7", ":1: not JSON: Expecting '['"),
        ("[1, 2", ":1: not JSON"),
        ('{"a": 1, 2: 3}', ":1: not JSON: Expecting property name"),
        ("[1] x", ":1: not JSON: Extra data"),
        ("[" * 5000, ": not JSON"),
    ],
)
def test_a_document_without_rows_is_named(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(DataError) as error:
        JsonIndex.build(path)
    assert str(error.value).startswith(f"{path}{problem}")


def test_a_small_file_is_read_whole(tmp_path: Path) -> None:
    assert member(mapping(read_json(_write(tmp_path, {"é": [1]})), "document"), "é") == [1]
    (tmp_path / "bad.json").write_bytes(b'{"a": "\xff"}')
    with pytest.raises(DataError, match=r"bad\.json: not JSON"):
        read_json(tmp_path / "bad.json")
    with pytest.raises(DataError, match="No such file"):
        read_json(tmp_path / "none.json")
