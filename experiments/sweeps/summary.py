"""What has become of a sweep's points, as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from rich.table import Table

from experiments.sweeps.grid import Grid
from experiments.sweeps.point import brief
from experiments.sweeps.study import Attempt


def counts(attempts: Iterable[Attempt]) -> str:
    """How many points are in which state, as `2 done, 4 waiting`."""
    states = Counter(attempt.state for attempt in attempts)
    return ", ".join(f"{number} {state}" for state, number in sorted(states.items()))


def summary(grid: Grid, attempts: Mapping[str, Attempt]) -> Table:
    """Point, state, metric and seconds, in the order of the file."""
    table = Table(title=f"{grid.sweep.name}: {counts(attempts[name] for name in grid.points)}")
    table.add_column("point", overflow="fold")
    table.add_column("state", overflow="fold")
    table.add_column(grid.sweep.metric, justify="right", overflow="fold")
    table.add_column("seconds", justify="right", no_wrap=True)
    for name in grid.points:
        attempt = attempts[name]
        state = attempt.state if attempt.error is None else f"{attempt.state}: {brief(attempt.error)}"
        table.add_row(name, state, _cell(attempt.value, 4), _cell(attempt.seconds, 0))
    return table


def _cell(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
