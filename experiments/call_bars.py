"""What a terminal shows of a run that calls chat models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
    track,
)
from rich.text import Text

from datamodules.regvid.transport import Transport


class Spend(ProgressColumn):
    """Calls of this run with their rate, and what all runs on the journal have used.

    Args:
        calls: Makes them.
    """

    max_refresh = 0.5

    def __init__(self, calls: Transport) -> None:
        super().__init__()
        self.calls = calls

    def render(self, task: Task) -> Text:
        """One line."""
        rate = self.calls.made / max(task.elapsed or 0.0, 1.0)
        spent = self.calls.budget.spent
        return Text(f"{self.calls.made} calls, {rate:.1f}/s, {spent.tokens:,} tokens, {spent.money:.2f} spent")


class Bars:
    """Bars on standard error that vanish when they are full."""

    def __init__(self) -> None:
        self.console = Console(markup=False, highlight=False, stderr=True)

    def look(self, records: Iterable[int], name: str, total: int) -> Iterable[int]:
        """A bar over the records of a source."""
        return track(records, f"{name}: look", total, console=self.console, transient=True)

    @contextmanager
    def watch(self, calls: Transport, number: int, what: str = "videos") -> Iterator[Callable[[], None]]:
        """A bar over the videos of a run, or over that number of what else it is about."""
        columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), Spend(calls), TimeRemainingColumn())
        with Progress(*columns, console=self.console, transient=True) as progress:
            task = progress.add_task("", total=number)
            yield lambda: progress.update(task, advance=1)
