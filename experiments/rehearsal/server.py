"""OpenAI's chat-completions API over HTTP on the loopback, without streaming."""

from __future__ import annotations

import hashlib
import json
import select
import socket
import struct
import sys
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from datamodules.errors import DataError
from experiments.rehearsal.api import completion_of, parse_request, say, unknown_path
from experiments.rehearsal.exchanges import Exchange, Exchanges
from experiments.rehearsal.faults import BROKEN, SPOKEN, Fault, Faults, Flawless, spoil
from experiments.rehearsal.reading import subject_of
from experiments.rehearsal.truthful import TruthfulModels
from experiments.serving.errors import ApiError

HOST = "127.0.0.1"
PATIENCE = 60.0
"""Seconds after which an answer that is to time out ends without one, if the client has not left before."""

SETTLING = 5.0
"""Seconds that closing waits at most for answers under way."""

_REFUSALS: dict[Fault, ApiError] = {
    "rate_limit": ApiError(HTTPStatus.TOO_MANY_REQUESTS, "Rate limit reached for requests", "rate_limit_exceeded"),
    "server_error": ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, "The server had an error", "server_error"),
    "unavailable": ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "The engine is currently overloaded", "overloaded"),
}


class RehearsalServer:
    """Serves the models from threads of this process until it is closed; a context manager.

    Args:
        models: Who answers.
        faults: What goes wrong; nothing if left out.
        port: 0 for any free one.
        retry_after: What a rate-limited client is told to wait, in seconds.
        delay: Seconds every answer takes, as real models take their time.

    Raises:
        DataError: The port is taken.
    """

    def __init__(
        self,
        models: TruthfulModels,
        faults: Faults | None = None,
        port: int = 0,
        retry_after: float = 1.0,
        delay: float = 0.0,
    ) -> None:
        self.models = models
        self.faults = faults or Flawless()
        self.retry_after = retry_after
        self.delay = delay
        self.exchanges = Exchanges()
        try:
            self._http = _Listener(self, port)
        except OSError as error:
            raise DataError(f"rehearsal: port {port} cannot be used: {error}") from error
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    @property
    def base_url(self) -> str:
        """What a client is given."""
        return f"http://{HOST}:{self._http.server_address[1]}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
        self.exchanges.settle(SETTLING)


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    # a client that leaves in the middle of an answer is part of what is rehearsed
    block_on_close = False
    request_queue_size = 128

    def __init__(self, rehearsal: RehearsalServer, port: int) -> None:
        self.rehearsal = rehearsal
        super().__init__((HOST, port), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is killed or loses patience is no error of ours."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """One connection, one request after the other."""

    protocol_version = "HTTP/1.1"
    # headers and body leave in one packet each; waiting for an acknowledgement between them costs 40 ms
    disable_nagle_algorithm = True
    server: _Listener

    def do_GET(self) -> None:
        """The list of models."""
        try:
            self._authorise()
            if self.path != "/v1/models":
                raise unknown_path(self.path)
        except ApiError as error:
            self._send(error.status, error.body)
            return
        models = [
            {"id": name, "object": "model", "created": 0, "owned_by": "rehearsal"}
            for name in self.server.rehearsal.models.names
        ]
        self._send(HTTPStatus.OK, {"object": "list", "data": models})

    def do_POST(self) -> None:
        """A chat completion."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        exchanges, exchange = self.server.rehearsal.exchanges, None
        exchanges.begin()
        try:
            exchange = self._answer(body)
        except ApiError as error:
            self._send(error.status, error.body)
        finally:
            exchanges.end(exchange)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - http.server's name
        """Says nothing: `Exchanges` keeps the account."""

    # --- one completion -------------------------------------------------------------------------------------------

    def _answer(self, body: bytes) -> Exchange:
        self._authorise()
        if self.path != "/v1/chat/completions":
            raise unknown_path(self.path)
        rehearsal = self.server.rehearsal
        request = parse_request(body, rehearsal.models.names)
        name = hashlib.sha256(body).hexdigest()
        fault = rehearsal.faults.draw(request.model, subject_of(request.prompt.text))
        time.sleep(rehearsal.delay)
        if fault in _REFUSALS:
            refusal = _REFUSALS[fault]
            self._send(refusal.status, refusal.body)
            return Exchange(request.model, name, fault, refusal.status, "", sent=False)
        text = say(rehearsal.models, request)
        if fault in SPOKEN:
            text = spoil(text, fault)
        completion = completion_of(request, text)
        if fault in BROKEN:
            self._break(fault, completion)
            return Exchange(request.model, name, fault, 0, text, sent=False)
        sent = self._send(HTTPStatus.OK, completion)
        return Exchange(request.model, name, fault, HTTPStatus.OK, text, sent)

    def _authorise(self) -> None:
        if not self.headers.get("Authorization", "").removeprefix("Bearer ").strip():
            raise ApiError(HTTPStatus.UNAUTHORIZED, "You didn't provide an API key.", "invalid_api_key")

    def _send(self, status: HTTPStatus, value: object) -> bool:
        """Sends JSON; whether all of it went out."""
        try:
            self._send_head(status, data := json.dumps(value).encode())
            self.wfile.write(data)
        except OSError:
            # the client left: nobody to tell
            self.close_connection = True
            return False
        return True

    def _send_head(self, status: HTTPStatus, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            self.send_header("Retry-After", f"{self.server.rehearsal.retry_after:g}")
        self.end_headers()

    def _break(self, fault: Fault, completion: object) -> None:
        """Ends the connection without a whole answer."""
        self.close_connection = True
        if fault == "timeout":
            # readable means that the client closed its side: it says nothing more before it has an answer
            select.select([self.connection], [], [], PATIENCE)
        elif fault == "truncated":
            data = json.dumps(completion).encode()
            self._send_head(HTTPStatus.OK, data)
            self.wfile.write(data[: len(data) // 2])
        else:
            # closing with something unsent and no patience is what sends a reset
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
