"""Images that a request brings along or names: read within limits, fetched only from hosts that were allowed."""

from __future__ import annotations

import base64
import binascii
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Set
from dataclasses import dataclass
from http.client import HTTPException
from urllib.parse import urlsplit

from datamodules.errors import DataError
from datamodules.media.pictures import picture_size
from datamodules.types import PackedFile
from experiments.serving.limits import Limits

PATIENCE = 10.0
"""Seconds that an image may take to come from another host."""


@dataclass(frozen=True, slots=True)
class SentImage(PackedFile):
    """An image file that came with a request; `where` is its place there."""

    where: str
    data: bytes

    def __str__(self) -> str:
        return self.where

    def read(self) -> bytes:
        """See `PackedFile.read`."""
        return self.data


def image_at(url: str, where: str, limits: Limits, hosts: Set[str] = frozenset()) -> SentImage:
    """The image that a URL holds or names.

    Args:
        url: `data:image/...;base64,...`, or an address on one of `hosts`.
        where: The URL's place in the request, for error messages.
        limits: How large it may be.
        hosts: What is fetched from. Whoever may name any address reads what only this machine reaches.

    Raises:
        DataError: It is no such URL, does not come, is no image, or has more than `limits.pixels`.
    """
    image = SentImage(where, _bytes_of(url, where, limits, hosts))
    height, width = picture_size(image)
    if height * width > limits.pixels:
        raise DataError(f"{where}: {width} x {height} is {height * width:,} pixels, at most {limits.pixels:,} are read")
    return image


def _bytes_of(url: str, where: str, limits: Limits, hosts: Set[str]) -> bytes:
    head, _, data = url.partition(",")
    if not head.startswith("data:"):
        return _fetched(url, where, limits, hosts)
    if not head.startswith("data:image/") or not head.endswith(";base64"):
        raise DataError(f"{where}: data:image/...;base64 is read, got {head[:40]!r}")
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"{where}: not base64: {error}") from None


def _fetched(url: str, where: str, limits: Limits, hosts: Set[str]) -> bytes:
    try:
        address = urlsplit(url)
        host = address.hostname
    except ValueError:
        raise DataError(f"{where}: {url[:40]!r} is no address") from None
    if address.scheme not in ("http", "https"):
        raise DataError(f"{where}: data:image/...;base64 is read, got {url[:40]!r}")
    if host not in hosts:
        allowed = f"only from {', '.join(sorted(hosts))}" if hosts else "from nowhere"
        raise DataError(f"{where}: images are fetched {allowed}, not from {str(host)[:80]!r}; send it as a data: URL")
    # neither a proxy that the environment names nor a redirection takes the request elsewhere
    opener = urllib.request.build_opener(_NoRedirection, urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=PATIENCE) as answer:
            return _read(answer.read1, where, limits.pixels)
    except urllib.error.HTTPError as error:
        raise DataError(f"{where}: {host} answers {error.code}") from None
    except (OSError, HTTPException, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{where}: cannot be fetched: {type(error).__name__}") from None


def _read(read: Callable[[int], bytes], where: str, most: int) -> bytes:
    """All that comes within `PATIENCE`: a socket's own time-out is for each piece."""
    data, end = bytearray(), time.monotonic() + PATIENCE
    while piece := read(2**16):
        data += piece
        if len(data) > most:
            raise DataError(f"{where}: more than {most:,} bytes")
        if time.monotonic() > end:
            raise DataError(f"{where}: has not come within {PATIENCE:g} s")
    return bytes(data)


class _NoRedirection(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """None makes the answer an error."""
