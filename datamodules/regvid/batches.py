"""Calls of one model that go together and come back within a day, for half of the price.

A batch is named in the journal before it is sent, with its calls, and the server keeps that name: whenever a run ends,
the next one finds what is under way and pays for nothing twice.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count

from datamodules.regvid.journal import Journal
from datamodules.regvid.models import Batching, BatchModel, BusyError, CallError, ChatRequest, Received
from datamodules.regvid.pace import now
from datamodules.regvid.patience import Brake, Patience, WaitingError

_GLANCE = 0.5
"""Seconds after which it is looked again whether a batch is full."""


@dataclass
class _Bundle:
    """What goes into a batch: a line of its file by call."""

    last: float
    lines: dict[int, bytes] = field(default_factory=dict)
    size: int = 0
    full: bool = False


class Batches:
    """Sends one model's calls in batches, each when it is full or nothing more is asked for a while.

    Args:
        model: Its `batching` says when.
        journal: Where batches are named.
        brake: Ends all waiting; what was sent goes on at the server.
        patience: With a server that cannot be reached.
    """

    def __init__(self, model: BatchModel, journal: Journal, brake: Brake, patience: Patience) -> None:
        self.model = model
        # what was sent comes back as well where nothing more is sent
        self.batching = model.batching or Batching()
        self.journal = journal
        self.brake = brake
        self.patience = patience
        self._open: tuple[_Bundle, asyncio.Task[Mapping[int, Received]]] | None = None
        self._sent: dict[str, asyncio.Task[Mapping[int, Received]]] = {}

    async def fetch(self, call: int, request: ChatRequest) -> Received:
        """What comes back of a call.

        Raises:
            CallError: Nothing did, and nothing is charged.
            DataError: The server takes no batch of this model.
            WaitingError: The run ends before the batch does.
        """
        line = await asyncio.to_thread(self.model.line, str(call), request)
        bundle, task = self._room(len(line))
        bundle.lines[call] = line
        bundle.size += len(line)
        bundle.last = now()
        bundle.full = bundle.full or len(bundle.lines) >= self.batching.most
        return await _of(task, call)

    async def resume(self, name: str, batch: str | None, call: int) -> Received:
        """The same for a call that an earlier run has sent.

        Args:
            name: Of the batch, ours.
            batch: The server's; None if the run ended before it said one.
            call: Which one of its calls.
        """
        if name not in self._sent:
            self._sent[name] = asyncio.create_task(self._collected(name, batch))
        return await _of(self._sent[name], call)

    def _room(self, size: int) -> tuple[_Bundle, asyncio.Task[Mapping[int, Received]]]:
        if self._open is not None:
            bundle, _ = self._open
            bundle.full = bundle.full or bundle.size + size > self.batching.most_mib * 2**20
        if self._open is None or self._open[0].full:
            bundle = _Bundle(now())
            self._open = bundle, asyncio.create_task(self._carried(bundle))
        return self._open

    async def _carried(self, bundle: _Bundle) -> Mapping[int, Received]:
        """From the first call to the results."""
        while not (bundle.full or self.brake.pulled) and (left := bundle.last + self.batching.quiet - now()) > 0:
            await self.brake.sleep(min(left, _GLANCE))
        bundle.full = True
        while not self.brake.pulled:
            name = uuid.uuid4().hex
            self.journal.bundle(name, bundle.lines)
            try:
                return await self._collected(name, await self._submitted(name, list(bundle.lines.values())))
            except BusyError:
                # so much is under way that the server takes no more until some of it is done
                await self.brake.sleep(self.batching.poll)
        raise CallError(f"not sent: {self.brake.reason}")

    async def _submitted(self, name: str, lines: list[bytes]) -> str:
        """The server's name of a batch; what is not known to be sent is looked for before it is sent again."""
        for failures in count(1):
            try:
                found = await self.model.find(name) if failures > 1 else None
                return found or await self.model.submit(name, lines)
            except BusyError:
                raise
            except CallError as error:
                if self.brake.pulled or failures > self.patience.retries:
                    raise WaitingError(f"a batch may have been sent: {error}") from None
                await self.brake.sleep(self.patience.wait(failures))
        raise AssertionError("the loop ends by itself")

    async def _collected(self, name: str, batch: str | None) -> Mapping[int, Received]:
        """All results of a batch, when they are there; none if it was never sent."""
        failures = 0
        while True:
            try:
                batch = batch or await self.model.find(name)
                if batch is None:
                    return {}
                self.journal.submit(name, batch)
                results = await self.model.collect(batch)
                failures = 0
            except BusyError:
                raise
            except CallError as error:
                results, failures = None, failures + 1
                if failures > self.patience.retries:
                    raise WaitingError(f"batch {batch or name} cannot be asked after: {error}") from None
            if results is not None:
                return {int(call): received for call, received in results.items()}
            await self.brake.sleep(self.batching.poll)
            if self.brake.pulled:
                raise WaitingError(f"{self.brake.reason}; batch {batch or name} goes on")


async def _of(task: asyncio.Task[Mapping[int, Received]], call: int) -> Received:
    results = await asyncio.shield(task)
    if call not in results:
        raise CallError("its batch ended without it")
    return results[call]
