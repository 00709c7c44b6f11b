"""Causal-VidQA answers: `{"<video>_<part>": {"prediction": 2, "answer": 2}, ...}`, options counted from 0.

A part is `d`, `e`, `p`, `pr`, `c`, `cr` or, in the order of these, `0` to `5`. Every video has all six, in any order.
The test split as first released has -1 for an unknown answer, which cannot be scored.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from datamodules.errors import DataError
from datamodules.reading import fields
from datamodules.reading.records import located
from metrics.peer_files.rows import OURS, Names, entries, index_of
from metrics.predictions import Prediction

PARTS = ("d", "e", "p", "pr", "c", "cr")
OPTIONS = tuple(ascii_uppercase[:5])


def read(path: Path, *, names: Names = OURS) -> list[Prediction]:
    """The answers as predictions that say the number of an option, their `meta` with `video` and `part`.

    Raises:
        DataError: The file cannot be read, a record is broken, or a video lacks a part or has one twice.
    """
    predictions = list(_predictions(path, names))
    _check_parts(path, predictions)
    return predictions


def _predictions(path: Path, names: Names) -> Iterator[Prediction]:
    for origin, key, value in entries(path, names):
        with located(origin):
            prediction = _prediction(key, fields.mapping(value, "record"))
        yield prediction


def _prediction(key: str, record: dict[str, Any]) -> Prediction:
    video, _, ending = key.rpartition("_")
    part = dict(zip("012345", PARTS, strict=True)).get(ending, ending)
    if not video or part not in PARTS:
        raise DataError(f"expected <video>_ and one of {', '.join(PARTS)} or 0 to 5 as the key")
    chosen, right = (index_of(fields.member(record, name), name, len(OPTIONS)) for name in ("prediction", "answer"))
    return Prediction(
        id=f"{video}_{part}",
        task="choice",
        group="",
        prompt="",
        prediction=str(chosen),
        references=(str(right),),
        options=OPTIONS,
        label=right,
        answering="number",
        protocol="Causal-VidQA answers of a file",
        meta={"video": video, "part": part},
    )


def _check_parts(path: Path, predictions: list[Prediction]) -> None:
    parts: dict[str, list[str]] = {}
    for prediction in predictions:
        parts.setdefault(prediction.meta["video"], []).append(prediction.meta["part"])
    for video, found in parts.items():
        if sorted(found) != sorted(PARTS):
            counts = f"{len(predictions)} answers about {len(parts)} videos, which have {len(PARTS)} each"
            raise DataError(f"{path}: {counts}: {video!r} has {len(found)} ({', '.join(found)})")
