"""The one error of bad data and bad requests, and what its messages share."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class DataError(ValueError):
    """Data or a request that cannot be used. The message names the file, the sample and the numbers that disagree."""


def nearest(name: str, names: Iterable[str]) -> str:
    """`, the nearest is ...` for what was perhaps meant, to be put behind a message; empty if nothing is near."""
    found = get_close_matches(name, sorted(set(names)), n=1, cutoff=0.7)
    return f", the nearest is {found[0]}" if found else ""


def at_least(least: float, **numbers: float | None) -> None:
    """Refuses numbers that are out of range, by their names; None is a number that is not set.

    Raises:
        DataError: One of them is smaller than `least`, or not a number.
    """
    for name, number in numbers.items():
        if number is not None and not number >= least:
            raise DataError(f"{name} is {number:g}; it has to be at least {least:g}")
