"""Where what a command prints is read: on a terminal of some width, or in a file, which has none."""

from __future__ import annotations

import sys

from rich.console import Console

WIDE = 200
"""Characters of a line in a file: it has no edge to wrap at."""


def is_file() -> bool:
    """Whether what is printed is read later, or elsewhere."""
    return not sys.stdout.isatty()


def console() -> Console:
    """For text as it is: brackets are no markup, and numbers no colours."""
    return Console(markup=False, highlight=False, width=WIDE if is_file() else None)
