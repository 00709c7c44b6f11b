"""Rows of a CSV file that belong together."""

from __future__ import annotations

from pathlib import Path

import pytest

from datamodules.errors import DataError
from datamodules.reading.csv_rows import CsvGroups


def _first(columns: list[bytes]) -> bytes | None:
    return columns[0] or None


def test_groups_in_the_order_of_their_first_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"\xef\xbb\xbfb,1\r\n\r\na,2\n,0\nb,\xc3\xa9\na,4")
    groups = CsvGroups.build(path, _first)
    assert [groups.read(index) for index in range(len(groups))] == [[["b", "1"], ["b", "é"]], [["a", "2"], ["a", "4"]]]
    assert [groups.origin(index) for index in range(2)] == [f"{path}:1", f"{path}:3"]
    assert groups.left_out == 1


def test_errors_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    with pytest.raises(DataError, match=r"rows\.csv: No such file"):
        CsvGroups.build(path, _first)
    path.write_bytes(b"\n,1\n")
    with pytest.raises(DataError, match=r"rows\.csv: no records"):
        CsvGroups.build(path, _first)
    path.write_bytes(b"a,1\na,\xff\n")
    groups = CsvGroups.build(path, _first)
    with pytest.raises(DataError, match=r"rows\.csv:2: not UTF-8"):
        groups.read(0)
