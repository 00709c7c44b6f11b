"""Result files that are either old or new, never half written."""

from __future__ import annotations

import os
from pathlib import Path


def write_text(path: Path, text: str) -> Path:
    """Replaces the file in one step, makes its folder first, and returns `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # the process id keeps two writers apart; the rename is atomic because both lie in one folder
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    return partial.replace(path)
