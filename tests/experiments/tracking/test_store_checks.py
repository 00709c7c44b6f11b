"""Stores of MLflow that cannot be used are found out at once; one that was moved keeps its files with it."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from datamodules.errors import DataError
from experiments.tracking.mlflow_store import Store


@contextmanager
def answering(code: int) -> Iterator[str]:
    """The address of a server that answers everything with one code."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(code)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("code", [401, 403, 404])
def test_a_server_that_refuses_us_is_one_line(code: int) -> None:
    """46 seconds, and a traceback of 61 lines."""
    with answering(code) as address, pytest.raises(DataError, match=rf"^MLflow at {address} answers {code} "):
        Store(address).client()


@pytest.mark.parametrize("code", [429, 503])
def test_a_server_that_is_busy_is_waited_for(code: int) -> None:
    with answering(code) as address:
        Store(address).client()


def test_a_closed_port_is_one_line_at_once() -> None:
    """Nothing was said for minutes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    start = time.monotonic()
    with pytest.raises(DataError, match=r"does not answer: .*Connection refused$") as told:
        Store(f"http://me:secret@127.0.0.1:{port}").client()
    assert time.monotonic() - start < 10
    assert "secret" not in str(told.value)


@pytest.mark.parametrize("address", ["nothing://x", "{folder}/mlruns", "sqlite:///{folder}/junk.db"])
def test_a_store_that_is_none_is_one_line(address: str, tmp_path: Path) -> None:
    (tmp_path / "junk.db").write_text("no database" * 200)
    with pytest.raises(DataError, match=r"^MLflow's store .* cannot be used: "):
        Store(address.format(folder=tmp_path)).client()


def test_a_store_that_was_moved_writes_where_it_is(tmp_path: Path) -> None:
    """A resumed run put its configuration into the folder that the store had been made in."""
    before, after = tmp_path / "before", tmp_path / "it's after"
    store = Store(f"sqlite:///{before}/mlflow.db")
    client = store.client()
    run = client.create_run(store.experiment(client, "regions"))
    client.log_text(run.info.run_id, "one", "one.txt")
    shutil.copytree(before, after)
    shutil.rmtree(before)
    client = Store(f"sqlite:///{after}/mlflow.db").client()
    moved = client.get_run(run.info.run_id).info
    assert moved.artifact_uri == f"{after}/artifacts/regions/{run.info.run_id}/artifacts"
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["one.txt"]
    new = client.create_run(moved.experiment_id)
    client.log_text(new.info.run_id, "two", "two.txt")
    assert (after / "artifacts" / "regions" / new.info.run_id / "artifacts" / "two.txt").is_file()
    assert not before.exists()
