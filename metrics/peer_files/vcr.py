"""VCR's leaderboard table with the annotations that hold the labels, `val.jsonl`.

The table is CSV with `annot_id` and 20 scores, `answer_0` to `answer_3` and, for each of the four answers a question
could go on from, `rationale_conditioned_on_a0_0` to `rationale_conditioned_on_a3_3`. The most likely answer is chosen,
and the most likely rationale of those given the TRUE answer, whatever answer was chosen. Scores may be probabilities
or logarithms of them: only their order counts.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Any, Literal, TypeAlias

from datamodules.errors import DataError
from datamodules.reading import fields
from datamodules.reading.records import located
from metrics.peer_files.rows import OURS, Names, check_same_ids, index_of, read_text, records
from metrics.predictions import Prediction

Part: TypeAlias = Literal["answer", "rationale"]
OPTIONS = tuple(ascii_uppercase[:4])
_GROUPS = ("answer", *(f"rationale_conditioned_on_a{answer}" for answer in range(len(OPTIONS))))
_COLUMNS = [f"{group}_{option}" for group in _GROUPS for option in range(len(OPTIONS))]


def read(path: Path, annotations: Path, *, names: Names = OURS) -> list[Prediction]:
    """Two predictions a question, their `meta` with `annot_id` and `part`, in the order of `path`.

    Raises:
        DataError: A file cannot be read, a record is broken, a label or a column is missing, a question is there twice,
            or the files are not about the same questions.
    """
    rows, labels = _rows(path, names), _labels(annotations, names)
    check_same_ids(path, rows, annotations, labels)
    return [prediction for name, row in rows.items() for prediction in _predictions(name, row, *labels[name])]


def _predictions(name: str, row: Mapping[str, float], answer: int, rationale: int) -> Iterator[Prediction]:
    yield _prediction(name, "answer", _scores(row, "answer"), answer)
    yield _prediction(name, "rationale", _scores(row, f"rationale_conditioned_on_a{answer}"), rationale)


def _prediction(name: str, part: Part, scores: tuple[float, ...], label: int) -> Prediction:
    return Prediction(
        id=f"{name}/{part}",
        task="choice",
        group="",
        prompt="",
        prediction="",
        references=(OPTIONS[label],),
        options=OPTIONS,
        label=label,
        option_scores=scores,
        protocol="VCR leaderboard table, rationales given the true answer",
        meta={"annot_id": name, "part": part},
    )


def _scores(row: Mapping[str, float], group: str) -> tuple[float, ...]:
    return tuple(row[f"{group}_{option}"] for option in range(len(OPTIONS)))


def _rows(path: Path, names: Names) -> dict[str, dict[str, float]]:
    """Question -> column -> score."""
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    rows: dict[str, dict[str, float]] = {}
    try:
        ours = {theirs: name for name, theirs in names.items()}
        header = [ours.get(name, name) for name in next(reader, [])]
        _check_columns(path, header)
        for cells in filter(None, reader):
            with located(f"{path}:{reader.line_num}"):
                name, row = _row(header, cells)
                if name in rows:
                    raise DataError(f"annot_id: a second row of {name!r}")
            rows[name] = row
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: not CSV: {error}") from None
    return rows


def _check_columns(path: Path, header: Sequence[str]) -> None:
    needed = ("annot_id", *_COLUMNS)
    if missing := [name for name in needed if name not in header]:
        found = f"{len(needed) - len(missing)} of {len(needed)} columns"
        raise DataError(f"{path}: {found}, the first missing: {missing[0]!r}")


def _row(header: Sequence[str], cells: Sequence[str]) -> tuple[str, dict[str, float]]:
    if len(cells) != len(header):
        raise DataError(f"{len(cells)} cells, the first line has {len(header)}")
    row = dict(zip(header, cells, strict=True))
    return fields.filled(row["annot_id"], "annot_id"), {name: _number(row[name], name) for name in _COLUMNS}


def _number(cell: str, where: str) -> float:
    try:
        return fields.number(float(cell), where)
    except ValueError:
        raise DataError(f"{where}: expected a finite number, got {cell!r:.80}") from None


def _labels(path: Path, names: Names) -> dict[str, tuple[int, int]]:
    """Question -> the numbers of its right answer and rationale."""
    labels: dict[str, tuple[int, int]] = {}
    for origin, record in records(path, names):
        with located(origin):
            name = fields.filled(fields.member(record, "annot_id"), "annot_id")
            if name in labels:
                raise DataError(f"annot_id: a second record of {name!r}")
            labels[name] = (_label(record, "answer_label"), _label(record, "rationale_label"))
    return labels


def _label(record: dict[str, Any], key: str) -> int:
    return index_of(fields.member(record, key), key, len(OPTIONS))
