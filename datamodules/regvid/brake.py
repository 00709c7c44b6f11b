"""Ends a run from anywhere."""

from __future__ import annotations

import asyncio

from datamodules.errors import DataError


class Brake:
    """Ends a run: no new call is made, those under way are finished."""

    def __init__(self) -> None:
        self.reason = ""
        self.error: DataError | None = None
        self._pulled = asyncio.Event()

    def pull(self, reason: str, error: DataError | None = None) -> None:
        """Stops the run; the first reason stays, and so does the first error."""
        self.reason = self.reason or reason
        self.error = self.error or error
        self._pulled.set()

    @property
    def pulled(self) -> bool:
        """Whether the run is ending."""
        return self._pulled.is_set()

    async def sleep(self, seconds: float) -> None:
        """Waits, unless and until the brake is pulled."""
        try:
            async with asyncio.timeout(seconds):
                await self._pulled.wait()
        except TimeoutError:
            return
