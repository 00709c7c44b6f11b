"""An MLflow server of a test's own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def serving(database: Path, artifacts: Path) -> Iterator[str]:
    """Its address, while it serves what a sqlite file holds; new runs put their files below `artifacts`."""
    address = f"http://127.0.0.1:{_free_port()}"
    place = ["--host", "127.0.0.1", "--port", address.rpartition(":")[2], "--workers", "1"]
    store = ["--backend-store-uri", f"sqlite:///{database}", "--artifacts-destination", str(artifacts)]
    command = [sys.executable, "-m", "mlflow", "server", *place, *store]
    with database.with_suffix(".log").open("w") as log:
        process = subprocess.Popen(command, cwd=database.parent, stdout=log, stderr=log, start_new_session=True)
        try:
            _wait_for(f"{address}/health")
            yield address
        finally:
            os.killpg(process.pid, 15)
            process.wait(30)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _wait_for(address: str, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"no answer from {address}")
