"""Where what a command prints is read: on a terminal of some width, or in a file, which has none; and how one ends."""

from __future__ import annotations

import sys
from collections.abc import Callable

from rich.console import Console

from datamodules.errors import DataError

WIDE = 200
"""Characters of a line in a file: it has no edge to wrap at."""


def is_file() -> bool:
    """Whether what is printed is read later, or elsewhere."""
    return not sys.stdout.isatty()


def console() -> Console:
    """For text as it is: brackets are no markup, and numbers no colours."""
    return Console(markup=False, highlight=False, width=WIDE if is_file() else None)


def run_script(main: Callable[[], None]) -> None:
    """Runs what `python -m` names; an error in data or arguments is one line and exit code 2."""
    try:
        main()
    except DataError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
