"""Scores on paper: the table that is printed and what `results.json` holds."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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


def score_table(title: str, scores: Mapping[str, Score]) -> Table:
    """The scores as a table to print; a ditto mark stands for the protocol of the line above."""
    table = Table(title=title)
    table.add_column("metric", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("n", justify="right", no_wrap=True)
    table.add_column("protocol", overflow="fold")
    above = ""
    for name, score in scores.items():
        table.add_row(name, f"{score.value:.4f}", str(score.n), '"' if score.protocol == above else score.protocol)
        above = score.protocol
    return table
