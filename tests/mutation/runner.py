"""Runs tests on a mutated copy of the tree: one process a mutation, forked from one that has imported the libraries."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIBRARIES = (
    "bitsandbytes",
    "hypothesis",
    "jsonargparse",
    "lightning",
    "peft",
    "pycocotools.mask",
    "pytest",
    "torchmetrics",
    "transformers.models.llava.modeling_llava",
    "xdist",
)
"""What takes seconds to import, and is the same for every mutation."""

PASSED, FAILED = 0, 1  # of pytest


class Tree:
    """A copy of the repository whose files can be changed one at a time.

    Args:
        folder: An empty folder for it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        for name in subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0"):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        os.environ |= {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "HYPOTHESIS_STORAGE_DIRECTORY": str(folder)}
        for name in LIBRARIES:
            importlib.import_module(name)
        from hypothesis import Phase, settings

        settings.register_profile("mutated", phases=[Phase.generate])  # nobody reads the smallest sample that fails
        settings.load_profile("mutated")
        gc.freeze()  # or every child's collector would go through, and copy, all that the libraries hold

    @contextlib.contextmanager
    def changed(self, file: str, source: bytes) -> Iterator[None]:
        """`file` has another `source` inside of the context."""
        path = self.folder / file
        original = path.read_bytes()
        # compiled files are trusted by time and size alone
        for compiled in path.parent.glob(f"__pycache__/{path.stem}.*"):
            compiled.unlink()
        path.write_bytes(source)
        try:
            yield
        finally:
            path.write_bytes(original)

    def test(self, files: Sequence[str], limit: float, mutated: bool = True) -> tuple[int, float]:
        """Runs test files up to the first failure; pytest's exit status, and the seconds it took.

        Args:
            files: Of the tree.
            limit: Seconds; what takes longer has failed.
            mutated: Nothing is compiled into files that a later run would take for its own.
        """
        started = time.monotonic()
        process = os.fork()
        if process == 0:
            self._child(files, mutated)
        while (waited := os.waitpid(process, os.WNOHANG))[0] == 0:
            if time.monotonic() - started > limit:
                os.killpg(process, signal.SIGKILL)  # with the ranks and workers it has started
                os.waitpid(process, 0)
                return FAILED, limit
            time.sleep(0.02)
        return os.waitstatus_to_exitcode(waited[1]), time.monotonic() - started

    def _child(self, files: Sequence[str], mutated: bool) -> None:
        os.setsid()
        os.chdir(self.folder)
        log = os.open("tests.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(log, stream)
        sys.path[:] = [str(self.folder), *(place for place in sys.path if Path(place).parent != Path(__file__).parent)]
        sys.dont_write_bytecode = mutated
        import pytest

        status = 3
        try:
            status = int(pytest.main([*files, "-x", "-n", "0", "-p", "no:cacheprovider", "-W", "ignore"]))
        finally:
            sys.stdout.flush()
            os._exit(status)
