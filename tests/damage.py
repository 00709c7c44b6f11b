"""Damaged annotation files, and what reading one may do: a sample, or one `DataError` that names the file."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from datamodules.errors import DataError
from datamodules.source import RegionSource
from datamodules.types import RegionSample

FUZZ = settings(
    max_examples=300 if os.environ.get("THOROUGH") else 100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
JUNK: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 7, 10**30, 1.5, -2.5, float("nan"), float("inf")),
    *("", " ", "x", "12", "-1", "\ud83d", "<region9>", "../../x", "a\0b"),
    *([], [[]], [0], [None], [1, 2, 3, 4], [[0, 0, 1, 1]], {}, {"id": []}, {"x": {}}),
)
"""What no field expects, and what one field expects and another does not."""


def dump_json(document: Any) -> bytes:
    return json.dumps(document).encode()


def dump_jsonl(records: Any) -> bytes:
    """One record a line; anything but a list of records is one line."""
    lines = records if isinstance(records, list) else [records]
    return b"".join(dump_json(record) + b"\n" for record in lines)


@st.composite
def damaged(draw: st.DrawFn, document: Any, dump: Callable[[Any], bytes] = dump_json) -> bytes:
    """A file of `document` with one value replaced, removed or added, or with bytes cut off or changed."""
    kind = draw(st.sampled_from(["replace", "replace", "replace", "remove", "add", "truncate", "byte"]))
    if kind in ("truncate", "byte"):
        written = bytearray(dump(document))
        place = draw(st.integers(0, len(written) - 1))
        if kind == "truncate":
            return bytes(written[:place])
        written[place] = draw(st.integers(0, 255))
        return bytes(written)
    changed = copy.deepcopy(document)
    *path, last = draw(st.sampled_from(_places(document)))
    parent = changed
    for key in path:
        parent = parent[key]
    if kind == "remove":
        del parent[last]
    elif kind == "replace":
        parent[last] = draw(st.sampled_from(JUNK))
    elif isinstance(parent, dict):
        parent[draw(st.sampled_from(["", "extra", "-1", "99999"]))] = draw(st.sampled_from(JUNK))
    else:
        parent.insert(last, draw(st.sampled_from(JUNK)))
    return dump(changed)


def read_all(source: RegionSource, folder: Path) -> list[RegionSample]:
    """Every sample that can be read; each record that cannot is one `DataError` that names a file in `folder`.

    Anything else that is raised fails the test: another exception, or an error that does not say where.
    """
    read: list[RegionSample] = []
    errors: list[str] = []
    try:
        for index in range(len(source)):
            _read(source, index, read, errors)
    except DataError as error:
        errors.append(str(error))
    nameless = [error for error in errors if str(folder) not in error]
    assert not nameless, f"errors that name no file: {nameless}"
    return read


def _read(source: RegionSource, index: int, read: list[RegionSample], errors: list[str]) -> None:
    try:
        read.append(source[index])
    except DataError as error:
        errors.append(str(error))


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    return [place for key in keys for place in [(*path, key), *_places(value[key], (*path, key))]]
