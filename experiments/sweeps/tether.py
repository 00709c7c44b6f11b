"""`python tether.py COMMAND...`: runs a command, and ends it as soon as its own starter has ended.

A process that is killed leaves its children behind, and a training nobody waits for would go on writing into the
folder where the next one begins. The starter is gone when standard input, its pipe, is closed. The command gets
SIGTERM first; when it has ended, or has not for a while, what is left of its process group is killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence

PATIENCE = 5.0  # seconds from SIGTERM to SIGKILL


def run(command: Sequence[str]) -> int:
    """The command's exit code, or 128 and the signal's number, as a shell has it."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)
    threading.Thread(target=_end_with_starter, args=(process,), daemon=True).start()
    code = process.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return code if code >= 0 else 128 - code


def _end_with_starter(process: subprocess.Popen[bytes]) -> None:
    os.read(sys.stdin.fileno(), 1)  # not `sys.stdin`'s own, whose lock this thread would hold at the interpreter's end
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
