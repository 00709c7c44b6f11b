"""VideoRefer-Bench-Q answers: a record a question, JSON lines or one array.

`{"id": 3, "pred": "(A)", "Answer": "(A) A helmet", "type": "Basic Questions", "options": ["(A) A helmet", ...]}`: what
the model said is in `pred` or `prediction`, the right letter stands in parentheses in `Answer` or is all of it, `type`
is the kind of question. `id` may be left out, as the benchmark's own scripts do: the record's number takes its place.
Without `options` every letter is one.
"""

from __future__ import annotations

import re
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from datamodules.errors import DataError
from datamodules.reading import fields
from datamodules.reading.records import located
from metrics.peer_files.rows import OURS, Names, identifier, records
from metrics.predictions import Prediction


def read(path: Path, *, names: Names = OURS) -> list[Prediction]:
    """The answers as predictions in the order of the file, their `group` the type of question.

    Raises:
        DataError: The file cannot be read, a record is broken, or two records have one id.
    """
    predictions: dict[str, Prediction] = {}
    for number, (origin, record) in enumerate(records(path, names), start=1):
        with located(origin):
            prediction = _prediction(record, number)
            if prediction.id in predictions:
                raise DataError(f"id: a second record of {prediction.id!r}")
        predictions[prediction.id] = prediction
    return list(predictions.values())


def _prediction(record: dict[str, Any], number: int) -> Prediction:
    said = fields.only_key(record, ("pred", "prediction"))
    options = _options(record)
    label = _label(fields.text(fields.member(record, "Answer"), "Answer"), len(options))
    return Prediction(
        id=identifier(record["id"], "id") if "id" in record else f"record {number}",
        task="choice",
        group=fields.filled(fields.member(record, "type"), "type"),
        prompt=fields.text(record.get("Question", ""), "Question"),
        prediction=fields.text(record[said], said),
        references=(ascii_uppercase[label],),
        options=options,
        label=label,
        answering="letter",
        protocol="VideoRefer-Bench-Q answers of a file",
    )


def _options(record: dict[str, Any]) -> tuple[str, ...]:
    if "options" not in record:
        return tuple(ascii_uppercase)
    options = fields.array(record["options"], "options")
    if not 0 < len(options) <= len(ascii_uppercase):
        raise DataError(f"options: expected 1 to {len(ascii_uppercase)}, got {len(options)}")
    return tuple(fields.text(option, f"options[{number}]") for number, option in enumerate(options))


def _label(answer: str, count: int) -> int:
    found = re.search(r"\(([A-Z])\)", answer) or re.fullmatch(r"\s*([A-Za-z])\.?\s*", answer)
    if found is None:
        raise DataError(f"Answer: expected a letter like '(A)', got {answer!r}")
    label = ascii_uppercase.index(found[1].upper())
    if label >= count:
        raise DataError(f"Answer: {found[1]} is none of {count} options")
    return label
