"""The process or thread that serves an application."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
import time
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI

from datamodules.errors import DataError

LARGEST_PORT = 2**16 - 1
CLOSING = 10
"""Seconds that answers under way have when the server is told to end."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens, for the options of the command; port 0 is any free one.

    Raises:
        DataError: Nothing can listen there.
    """
    if port > LARGEST_PORT:  # what is over it, the system takes for another one
        raise DataError(f"--port: {port} is more than {LARGEST_PORT}")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=256)
    except (OSError, UnicodeError, OverflowError) as error:
        raise DataError(f"cannot listen on {host} port {port}: {getattr(error, 'strerror', None) or error}") from None


def url_of(listener: socket.socket) -> str:
    """The address that clients are given."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_loopback(listener: socket.socket) -> bool:
    """Whether this machine alone reaches it."""
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def server_of(app: FastAPI) -> uvicorn.Server:
    """Serves with `run(sockets=[...])`, until SIGINT or SIGTERM."""
    # what answers failed of is said by us, in one line; h11 is there wherever uvicorn is
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=CLOSING,
    )
    return uvicorn.Server(config)


@contextlib.contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """Serves on the loopback from a thread of this process; yields the address."""
    server, listener = server_of(app), listen("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    try:
        yield url_of(listener)
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
