"""One request from its first byte to the end of its answer, which comes from another thread."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import NoReturn, TypeAlias

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from datamodules.errors import DataError
from experiments.serving.chat_answer import DONE, ChatAnswer, failed
from experiments.serving.chat_request import refused
from experiments.serving.errors import ApiError
from experiments.serving.service import Service

_LOG = logging.getLogger(__name__)
PATIENCE = 5.0
"""Seconds that a refused request may go on to be sent."""

_Event: TypeAlias = str | Exception | None
"""A piece of the answer, what has gone wrong, or the end."""


class Exchange:
    """A chat completion; it takes one place of the service, from its beginning to the last of the answer.

    Args:
        service: Who answers.
        request: What has come in.
    """

    def __init__(self, service: Service, request: Request) -> None:
        self.service = service
        self.request = request
        self._loop = asyncio.get_running_loop()
        self._deadline = self._loop.time() + service.limits.seconds
        self._events: asyncio.Queue[_Event] = asyncio.Queue()
        self._said: ChatAnswer | None = None

    async def answer(self) -> Response:
        """The response, whole or a stream.

        Raises:
            ApiError: There is none.
        """
        try:
            self.service.enter()
        except ApiError:
            await pass_over(self.request.stream(), self.service.limits.body)
            raise
        streams = False
        try:
            async with asyncio.timeout_at(self._deadline):
                body = await _body(self.request, self.service.limits.body)
                asked, processed = await asyncio.to_thread(self.service.read, body)
            self._said = self.service.ask(asked, processed, self._tell, lambda: self._tell(None), self._tell)
            async with self._watched():
                # what cannot be answered has a status of its own, which a stream that has begun has not
                piece = await self._next()
                while piece is not None and not asked.stream:
                    piece = await self._next()
            if not asked.stream:
                return JSONResponse(self._said.whole)
            streams = True
            return _EventStream(self, self._chunks(self._said, piece, asked.usage))
        except TimeoutError:
            raise self._late() from None
        except Exception as error:
            _raise(error)
        finally:
            if not streams:
                self.close()

    def close(self) -> None:
        """Makes room for another one; what is still being said is no longer wanted."""
        self.service.leave()
        if self._said is not None:
            self._said.answer.stop()

    def _tell(self, event: _Event) -> None:
        """Called in the queue's thread."""
        with contextlib.suppress(RuntimeError):  # the server has ended, nobody waits
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    async def _next(self) -> str | None:
        try:
            event = await asyncio.wait_for(self._events.get(), self._deadline - self._loop.time())
        except TimeoutError:
            raise self._late() from None
        if isinstance(event, Exception):
            _raise(event)
        return event

    @contextlib.asynccontextmanager
    async def _watched(self) -> AsyncIterator[None]:
        """Within it, a client that leaves is an event."""
        watching = asyncio.ensure_future(self._watch())
        try:
            yield
        finally:
            watching.cancel()

    async def _watch(self) -> None:
        while (await self.request.receive())["type"] != "http.disconnect":
            pass
        self._events.put_nowait(ClientDisconnect())

    async def _chunks(self, said: ChatAnswer, piece: str | None, usage: bool) -> AsyncIterator[str]:
        yield said.first
        try:
            while piece is not None:
                yield said.chunk(piece)
                piece = await self._next()
        except ApiError as error:
            yield failed(error.body)
            return
        yield said.last
        if usage:
            yield said.counted
        yield DONE

    def _late(self) -> ApiError:
        message = f"no whole answer within {self.service.limits.seconds:g} s"
        return ApiError(HTTPStatus.GATEWAY_TIMEOUT, message, "timeout")


class _EventStream(StreamingResponse):
    """Closes its exchange however it ends, also if it never begins."""

    def __init__(self, exchange: Exchange, chunks: AsyncIterator[str]) -> None:
        super().__init__(chunks, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
        self.exchange = exchange

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.exchange.close()


async def _body(request: Request, most: int) -> bytes:
    """All of it, as long as it is not too long, whatever its header says."""
    body = bytearray()
    pieces = request.stream()
    async for piece in pieces:
        body += piece
        if len(body) > most:
            await pass_over(pieces, most)
            message = f"a request has at most {most:,} bytes"
            raise ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message, "request_too_large")
    return bytes(body)


async def pass_over(pieces: AsyncIterator[bytes], most: int) -> None:
    """Reads what is still coming, and no more than `most` bytes or `PATIENCE` seconds of it.

    A client that is not done with sending would see its connection break off, and not why.
    """
    with contextlib.suppress(TimeoutError, ClientDisconnect):
        async with asyncio.timeout(PATIENCE):
            async for piece in pieces:
                most -= len(piece)
                if most < 0:
                    return


def _raise(error: Exception) -> NoReturn:
    """As the API has it. Of what is nobody's fault but ours no client is told more than that."""
    if isinstance(error, ApiError):
        raise error
    if isinstance(error, DataError):
        raise refused(error) from None
    if isinstance(error, ClientDisconnect):
        raise ApiError(HTTPStatus.BAD_REQUEST, "the client has left", "client_left") from None
    _LOG.error("%s: %s", type(error).__name__, error)
    raise ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, "the server had an error", "server_error") from None
