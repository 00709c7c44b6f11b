"""Reading a damaged file: predictions that can be scored, or one `DataError` that names a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from datamodules.errors import DataError
from metrics import Prediction, PredictionMetric


def problem(use: Callable[[], Any]) -> str:
    """What the `DataError` says that `use` ends in; empty if it ends in none."""
    try:
        use()
    except DataError as error:
        return str(error)
    return ""


def attempt(read: Callable[[], list[Prediction]], folder: Path, metric: PredictionMetric | None = None) -> bool:
    """Whether the files could be read; then what they told goes through lines and metric as any prediction does."""
    if said := problem(read):
        assert str(folder) in said, f"an error that names no file: {said}"
        return False
    predictions = read()
    assert predictions
    assert [Prediction.from_json(item.to_json()) for item in predictions] == predictions
    if metric is not None:
        assert metric.score(sorted(predictions, key=lambda item: item.id))
    return True


def write_lines(path: Path, lines: Sequence[str]) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path
