"""Scores on paper: the table that is printed and what `results.json` holds."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table

from metrics.predictions import Score


def results(split: str | None, scores: Mapping[str, Score], checkpoint: str | Path | None) -> dict[str, Any]:
    """What `results.json` holds: where the numbers come from, and metric, value, n and protocol of each."""
    return {
        "command": shlex.join(sys.argv),
        "checkpoint": None if checkpoint is None else str(checkpoint),
        "split": split,
        "results": [{"metric": name, **score._asdict()} for name, score in scores.items()],
    }


def score_table(title: str, scores: Mapping[str, Score]) -> Group:
    """The scores as a table to print, each with the number of its protocol, and the protocols below it."""
    table, below = Table(title=title), Table.grid(padding=(0, 1))
    table.add_column("metric", no_wrap=True)
    for name in ("value", "n", "protocol"):
        table.add_column(name, justify="right", no_wrap=True)
    numbers: dict[str, str] = {}
    for name, score in scores.items():
        if score.protocol not in numbers:
            numbers[score.protocol] = f"({len(numbers) + 1})"
            below.add_row(numbers[score.protocol], score.protocol)
        table.add_row(name, f"{score.value:.4f}", str(score.n), numbers[score.protocol])
    return Group(table, below)
