"""Pickles: annotations come out as plain values, and nothing that a pickle names is called."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datamodules.errors import DataError
from datamodules.reading.pickles import read_pickle


def _written(folder: Path, data: bytes) -> Path:
    path = folder / "refs(umd).p"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("protocol", range(pickle.DEFAULT_PROTOCOL + 1))
def test_plain_values_and_numeric_arrays_up_to_the_default_protocol(tmp_path: Path, protocol: int) -> None:
    value = {"a": [1, 2.5, None, True, "caf\u00e9"], "box": np.arange(6, dtype="<f4").reshape(2, 3), "n": np.int64(7)}
    path = _written(tmp_path, pickle.dumps(value, protocol))
    expected = {"a": [1, 2.5, None, True, "caf\u00e9"], "box": [[0, 1, 2], [3, 4, 5]], "n": 7}
    assert read_pickle(path) == expected


def test_arrays_in_the_order_of_fortran_and_tuples(tmp_path: Path) -> None:
    value = [(np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3)), 1)]
    assert read_pickle(_written(tmp_path, pickle.dumps(value))) == [[[[0, 1, 2], [3, 4, 5]], 1]]


def test_what_python_2_wrote(tmp_path: Path) -> None:
    # {'sent': 'caf\xe9', 'id': 3L} by protocol 0 of Python 2: byte strings, long integers
    assert read_pickle(_written(tmp_path, b"(dp0\nS'sent'\np1\nS'caf\\xe9'\np2\nsS'id'\np3\nL3L\ns.")) == {
        "sent": "caf\u00e9",
        "id": 3,
    }


class _Calls:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (_Calls(os.system, "touch called"), f"{os.system.__module__}.system"),
        (_Calls(eval, "1"), "eval"),
        (_Calls(np.load, "x"), "load"),
        (np.array(["text"]), "'U4'"),
        (np.array([None], dtype=object), "'O8'"),
        ({1, 2}, "set"),
    ],
)
def test_a_pickle_that_would_call_anything_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: Any, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = _written(tmp_path, pickle.dumps(value, 2))
    with pytest.raises(DataError) as error:
        read_pickle(path)
    assert str(error.value).startswith(f"{path}: ")
    assert name in str(error.value)
    assert not Path("called").exists()


def test_every_truncation_and_every_changed_byte_is_a_value_or_a_data_error(tmp_path: Path) -> None:
    written = pickle.dumps([{"ref_id": 1, "box": np.ones(3), "sentences": [{"raw": "a man"}]}], 2)
    for place in range(len(written)):
        for data in (
            written[:place],
            written[:place] + bytes([(written[place] * 7 + 13) % 256]) + written[place + 1 :],
        ):
            try:
                read_pickle(_written(tmp_path, data))
            except DataError as error:
                named = str(tmp_path) in str(error)
            else:
                named = True
            assert named


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_pickle(tmp_path / "none.p")
