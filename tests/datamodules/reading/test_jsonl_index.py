"""Byte offsets of JSON lines."""

import pickle
from pathlib import Path

import pytest

from datamodules.errors import DataError
from datamodules.reading.jsonl_index import JsonlIndex


def _build(path: Path, content: bytes) -> JsonlIndex:
    path.write_bytes(content)
    return JsonlIndex.build(path)


def test_byte_order_mark_blank_lines_and_crlf(tmp_path: Path) -> None:
    content = b'\xef\xbb\xbf\r\n{"a": 1}\r\n\n  \t\r\n["\xc3\xa9"]\n3'
    index = _build(tmp_path / "a.jsonl", content)
    assert [index.read(i) for i in range(len(index))] == [{"a": 1}, ["é"], 3]
    assert index.lines.tolist() == [2, 5, 6]
    assert index.offsets.tolist() == [content.index(b"{"), content.index(b"["), len(content) - 1]
    assert index.origin(1) == f"{tmp_path / 'a.jsonl'}:5"


def test_the_mark_and_the_first_record_on_one_line(tmp_path: Path) -> None:
    index = _build(tmp_path / "a.jsonl", b"\xef\xbb\xbf1\n2\n")
    assert (index.offsets.tolist(), index.lines.tolist()) == ([3, 5], [1, 2])
    assert [index.read(0), index.read(1)] == [1, 2]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"a": }', r"not JSON: Expecting value \(column 7\)"),
        (b"\xff\xfe", "not JSON: 'utf-8' codec can't decode"),
        (b"[" * 100_000, "not JSON: maximum recursion depth"),
        (b"1" * 5000, "not JSON: Exceeds the limit"),
    ],
)
def test_a_line_that_is_not_json_names_file_and_line(tmp_path: Path, line: bytes, problem: str) -> None:
    index = _build(tmp_path / "a.jsonl", b"{}\n\n" + line + b"\n{}\n")
    assert index.read(2) == {}
    with pytest.raises(DataError, match=rf"a\.jsonl:3: {problem}"):
        index.read(1)


def test_a_file_that_is_missing_or_empty(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.jsonl: No such file"):
        JsonlIndex.build(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match=r"a\.jsonl: no records"):
        _build(tmp_path / "a.jsonl", b"\xef\xbb\xbf\n\r\n")


def test_the_pickle_is_two_arrays_not_the_text(tmp_path: Path) -> None:
    index = _build(tmp_path / "a.jsonl", (b'"' + b"x" * 1000 + b'"\n') * 1000)
    pickled = pickle.dumps(index)
    assert len(pickled) < 1000 * 16 + 2000
    assert pickle.loads(pickled).read(999) == "x" * 1000
    with pytest.raises(IndexError):
        index.read(1000)
