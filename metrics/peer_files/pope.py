"""POPE: a question file and the file of its answers, each JSON lines or one array, matched line by line.

A question is `{"question_id": 1, "image": ..., "text": "Is there a snowboard in the image?", "label": "yes"}`. An
answer has its text in `answer`, or else in `text`; its other fields do not matter but for `question_id`, which has to
be the question's where both have one. Which kind of negatives were asked, `random`, `popular` or `adversarial`, is told
by a question's `category`, or else by the file's name, `coco_pope_random.json`. An answer is kept to the last blank,
because whether it reads as yes or as no can depend on it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from datamodules.errors import DataError
from datamodules.reading import fields
from datamodules.reading.records import located
from metrics.peer_files.rows import OURS, Names, identifier, records
from metrics.predictions import Prediction

KINDS = ("random", "popular", "adversarial")

_Row: TypeAlias = tuple[str, dict[str, Any]]
"""Where a record stands, and the record."""


def read(path: Path, questions: Path, *, names: Names = OURS) -> list[Prediction]:
    """The answers in `path` to the questions, in their order; the kind is a prediction's `group`.

    Raises:
        DataError: A file cannot be read, a record is broken, there are not as many answers as questions, an answer's
            `question_id` is another question's, two questions have one, or the kind is not told.
    """
    asked, answered = list(records(questions, names)), list(records(path, names))
    _check_pairs(asked, answered, f"{path}: {len(answered)} answers to the {len(asked)} questions of {questions}")
    kinds = [_kind(question, questions) for question in asked]
    counts = Counter(kinds)
    _check_distinct(asked, kinds)
    return [
        _prediction(_id(asked, number), asked[number], answered[number], kind, counts[kind])
        for number, kind in enumerate(kinds)
    ]


def _prediction(name: str, question: _Row, answer: _Row, kind: str, count: int) -> Prediction:
    with located(question[0]):
        prompt = fields.text(fields.member(question[1], "text"), "text")
        label = fields.text(fields.member(question[1], "label"), "label").lower()
        if label not in ("yes", "no"):
            raise DataError(f"label: expected yes or no, got {label!r}")
    with located(answer[0]):
        field = "answer" if "answer" in answer[1] else "text"
        said = fields.text(fields.member(answer[1], field), field)
    return Prediction(
        id=f"{kind}/{name}",
        task="yes_no",
        group=kind,
        prompt=prompt,
        prediction=said,
        references=(label,),
        protocol=f"POPE {kind}, {count} questions, answers matched by line",
    )


def _check_pairs(asked: Sequence[_Row], answered: Sequence[_Row], counts: str) -> None:
    """The first pair of different ids tells more than the number of lines: from there on all are shifted."""
    for number in range(min(len(asked), len(answered))):
        one, other = _given_id(asked[number]), _given_id(answered[number])
        if None not in (one, other) and one != other:
            raise DataError(f"{counts}: {answered[number][0]} answers question {other!r}, asked was {one!r}")
    if len(asked) != len(answered):
        alone = max(asked, answered, key=len)[min(len(asked), len(answered))]
        raise DataError(f"{counts}: nothing stands beside {alone[0]}")


def _check_distinct(asked: Sequence[_Row], kinds: Sequence[str]) -> None:
    seen: set[tuple[str, str]] = set()
    for number, kind in enumerate(kinds):
        name = _id(asked, number)
        if (kind, name) in seen:
            raise DataError(f"{asked[number][0]}: two {kind} questions have the id {name!r}")
        seen.add((kind, name))


def _id(asked: Sequence[_Row], number: int) -> str:
    """The question's id, or its line's number."""
    return _given_id(asked[number]) or f"line {number + 1}"


def _given_id(row: _Row) -> str | None:
    origin, record = row
    with located(origin):
        return identifier(record["question_id"], "question_id") if "question_id" in record else None


def _kind(question: _Row, path: Path) -> str:
    origin, record = question
    if "category" in record:
        with located(origin):
            kind = fields.text(record["category"], "category")
            if kind not in KINDS:
                raise DataError(f"category: expected one of {', '.join(KINDS)}, got {kind!r}")
            return kind
    named = [kind for kind in KINDS if kind in path.name]
    if len(named) != 1:
        raise DataError(f"{path}: expected one of {', '.join(KINDS)} in the file's name or as a question's category")
    return named[0]
