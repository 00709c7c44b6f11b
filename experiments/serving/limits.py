"""What one request may take of a server."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Every number is the most that is let in; a request with more is refused and never cut.

    Attributes:
        body: Bytes of a request.
        images: Images of a conversation.
        pixels: Pixels of an image, and bytes of one that is fetched.
        characters: Characters of a conversation.
        regions: Regions of a conversation.
        new_tokens: Tokens of an answer that a request may ask for.
        requests: Requests at once, from the first byte to the end of the answer.
        seconds: Of a request, likewise.
    """

    body: int = 32 * 2**20
    images: int = 16
    pixels: int = 25_000_000
    characters: int = 20_000
    regions: int = 100
    new_tokens: int = 1024
    requests: int = 64
    seconds: float = 120.0
