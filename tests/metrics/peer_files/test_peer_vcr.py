"""VCR's leaderboard table: columns of probabilities, the true answer's rationales, questions in any order."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from attempts import attempt
from damage import FUZZ, damaged, dump_jsonl
from datamodules.errors import DataError
from metrics import Vcr
from metrics.peer_files.vcr import read
from metrics.saved import score_files as score

HEADER = [
    "annot_id",
    *(f"answer_{option}" for option in range(4)),
    *(f"rationale_conditioned_on_a{answer}_{option}" for answer in range(4) for option in range(4)),
]
LABELS: list[Any] = [
    {"annot_id": "val-0", "answer_label": 2, "rationale_label": 1, "objects": ["person"]},
    {"annot_id": "val-1", "answer_label": 0, "rationale_label": 3},
    {"annot_id": "val-2", "answer_label": 1, "rationale_label": 0},
]


def row(name: str, answer: int, rationales: list[int]) -> list[str]:
    """Probabilities with these as the largest: of the answers, and of the rationales given each answer."""
    groups = [[0.7 if option == best else 0.1 for option in range(4)] for best in [answer, *rationales]]
    return [name, *(str(value) for group in groups for value in group)]


# answer right, rationale wrong; answer wrong, rationale (of the true answer 0) right; both right
ROWS = [row("val-2", 1, [3, 0, 3, 3]), row("val-0", 2, [1, 1, 3, 1]), row("val-1", 3, [3, 2, 2, 2])]


def dump_csv(rows: Any) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    for cells in rows if isinstance(rows, list) else [rows]:
        writer.writerow([str(cell) for cell in cells] if isinstance(cells, list) else [str(cells)])
    return text.getvalue().encode(errors="surrogatepass")


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def files(folder: Path, rows: list[list[str]], labels: list[Any]) -> tuple[Path, Path]:
    return write(folder / "board.csv", dump_csv([HEADER, *rows])), write(folder / "val.jsonl", dump_jsonl(labels))


def test_the_numbers_of_three_questions(tmp_path: Path) -> None:
    table, labels = files(tmp_path, ROWS, LABELS)
    scores = score("vcr", [table], [labels])
    assert {name: scores[name].value for name in ("q_a", "qa_r", "q_ar")} == {
        "q_a": 2 / 3,
        "qa_r": 2 / 3,
        "q_ar": 1 / 3,
    }
    assert scores["q_ar"].n == 3
    assert "VCR leaderboard table, rationales given the true answer" in scores["q_ar"].protocol


def test_scores_keep_their_order_as_logarithms(tmp_path: Path) -> None:
    table, labels = files(tmp_path, [["val-0", *["-1e3"] * 12, "-3", "-0.5", *["-9"] * 6]], LABELS[:1])
    answer, rationale = read(table, labels)
    assert answer.option_scores == (-1000.0,) * 4
    assert rationale.option_scores == (-3.0, -0.5, -9.0, -9.0)  # the true answer is 2: after 4 + 2 * 4 columns


@pytest.mark.parametrize(
    ("rows", "labels", "message"),
    [
        (ROWS[:2], LABELS, r"board.csv: predictions of 2 samples, .*val.jsonl has 3: 'val-1' has no prediction"),
        (ROWS, LABELS[:2], r"board.csv: predictions of 3 samples, .* has 2: 'val-2' is only among the predictions"),
        ([*ROWS, ROWS[0]], LABELS, r"board.csv:5: annot_id: a second row of 'val-2'"),
        ([ROWS[0], ROWS[1], ROWS[2][:-1]], LABELS, r"board.csv:4: 20 cells, the first line has 21"),
        ([ROWS[0], ROWS[1], [*ROWS[2][:1], "nan", *ROWS[2][2:]]], LABELS, r"board.csv:4: answer_0: expected a finite"),
        (ROWS, [*LABELS[:2], {"annot_id": "val-2"}], r"val.jsonl:3: missing key 'answer_label'"),
        (ROWS, [*LABELS[:2], LABELS[2] | {"answer_label": 4}], r"val.jsonl:3: answer_label: 4 of 4 options"),
        (ROWS, [*LABELS, LABELS[0]], r"val.jsonl:4: annot_id: a second record of 'val-0'"),
    ],
)
def test_files_that_do_not_fit_are_an_error(
    tmp_path: Path, rows: list[list[str]], labels: list[Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read(*files(tmp_path, rows, labels))


def test_a_missing_column_is_an_error(tmp_path: Path) -> None:
    _, labels = files(tmp_path, ROWS, LABELS)
    table = write(tmp_path / "board.csv", dump_csv([HEADER[:-1], *ROWS]))
    with pytest.raises(DataError, match=r"20 of 21 columns, the first missing: 'rationale_conditioned_on_a3_3'"):
        read(table, labels)


@FUZZ
@given(data=damaged([HEADER, *ROWS], dump_csv))
def test_a_damaged_table_ends_in_one_error(tmp_path: Path, data: bytes) -> None:
    labels = write(tmp_path / "val.jsonl", dump_jsonl(LABELS))
    table = write(tmp_path / "board.csv", data)
    attempt(lambda: read(table, labels), tmp_path, Vcr())


@FUZZ
@given(data=damaged(LABELS, dump_jsonl))
def test_damaged_labels_end_in_one_error(tmp_path: Path, data: bytes) -> None:
    table = write(tmp_path / "board.csv", dump_csv([HEADER, *ROWS]))
    labels = write(tmp_path / "val.jsonl", data)
    attempt(lambda: read(table, labels), tmp_path, Vcr())
