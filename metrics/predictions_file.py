"""`predictions.jsonl`, as `test` leaves it, `validate` and `predict` under their own names: a prediction a line."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

from datamodules.errors import DataError
from datamodules.reading import fields
from datamodules.reading.jsonl_index import JsonlIndex
from datamodules.reading.records import located
from metrics.predictions import Chosen, Prediction

_REQUIRED = {item.name for item in dataclasses.fields(Prediction)[:6]}


def read(path: Path) -> list[Prediction]:
    """The predictions of a file, in its order.

    Raises:
        DataError: The file cannot be read or is empty, or a line is no prediction.
    """
    index = JsonlIndex.build(path)
    predictions = []
    for number in range(len(index)):
        with located(index.origin(number)):
            predictions.append(_prediction(fields.mapping(index.read(number), "prediction")))
    return predictions


def is_one(path: Path) -> bool:
    """Whether the file's first line has what every prediction has; a file that cannot be read has not."""
    try:
        record = JsonlIndex.build(path).read(0)
    except DataError:
        return False  # whoever expects another format says what is wrong with it
    return isinstance(record, dict) and record.keys() >= _REQUIRED


def _prediction(record: dict[str, Any]) -> Prediction:
    fields.known_keys(record, _READ.keys())
    for name in sorted(_REQUIRED):
        fields.member(record, name)
    return Prediction(**{name: _READ[name](value, name) for name, value in record.items()})


def _texts(value: object, where: str) -> tuple[str, ...]:
    return tuple(fields.text(item, f"{where}[{number}]") for number, item in enumerate(fields.array(value, where)))


def _references(value: object, where: str) -> tuple[str, ...]:
    if not (texts := _texts(value, where)):
        raise DataError(f"{where}: expected 1 or more, got 0")
    return texts


def _numbers(value: object, where: str) -> tuple[float, ...]:
    return tuple(fields.number(item, f"{where}[{number}]") for number, item in enumerate(fields.array(value, where)))


def _lengths(value: object, where: str) -> tuple[int, ...]:
    return tuple(
        fields.integer(item, f"{where}[{number}]", 0) for number, item in enumerate(fields.array(value, where))
    )


def _label(value: object, where: str) -> int | None:
    return None if value is None else fields.integer(value, where)


def _one_of(*choices: str) -> Callable[[object, str], str]:
    def read(value: object, where: str) -> str:
        if value not in choices:
            raise DataError(f"{where}: expected one of {', '.join(choices)}, got {value!r:.80}")
        return str(value)

    return read


def _meta(value: object, where: str) -> dict[str, Any]:
    """Of `meta` only the numbers that metrics compute with; what is missing is found by the metric that needs it."""
    meta = fields.mapping(value, where)
    if "image_id" in meta:
        fields.integer(meta["image_id"], f"{where}.image_id")
    if "bbox" in meta:
        for number, item in enumerate(fields.array(meta["bbox"], f"{where}.bbox", 4)):
            fields.number(item, f"{where}.bbox[{number}]")
    if "guide_tokens" in meta:
        for name in ("guide_tokens", "guide_hits"):
            fields.integer(fields.member(meta, name, where), f"{where}.{name}", 0)
    return meta


_READ: Mapping[str, Callable[[object, str], Any]] = {
    "id": fields.text,
    "task": fields.filled,
    "group": fields.text,
    "prompt": fields.text,
    "prediction": fields.text,
    "references": _references,
    "options": _texts,
    "label": _label,
    "option_scores": _numbers,
    "option_lengths": _lengths,
    "answering": _one_of(*get_args(Chosen)),
    "protocol": fields.text,
    "cluster": fields.text,
    "meta": _meta,
}
assert _READ.keys() == {item.name for item in dataclasses.fields(Prediction)}, "a field is read or there is none"
