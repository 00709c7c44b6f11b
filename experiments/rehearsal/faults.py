"""How an answer can go wrong: what a model may say instead, and what may happen to it on the way."""

from __future__ import annotations

import ast
import hashlib
import json
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, TypeAlias, get_args

import numpy as np

from datamodules.errors import DataError

SpokenFault: TypeAlias = Literal["malformed", "python", "wrapped", "lines", "refusal", "empty"]
"""A whole answer arrives with status 200, but in another form, or it says nothing that can be used."""

RefusedFault: TypeAlias = Literal["rate_limit", "server_error", "unavailable"]
"""The server says that it does not answer now: status 429 with Retry-After, 500, 503."""

BrokenFault: TypeAlias = Literal["timeout", "reset", "truncated"]
"""No whole answer arrives: nothing within any patience, the connection reset, or the body cut in the middle."""

Fault: TypeAlias = SpokenFault | RefusedFault | BrokenFault

SPOKEN: tuple[SpokenFault, ...] = get_args(SpokenFault)
REFUSED: tuple[RefusedFault, ...] = get_args(RefusedFault)
BROKEN: tuple[BrokenFault, ...] = get_args(BrokenFault)
FAULTS: tuple[Fault, ...] = (*SPOKEN, *REFUSED, *BROKEN)

READABLE: tuple[SpokenFault, ...] = ("python", "wrapped", "lines")
"""Other forms of the same answer: whoever reads leniently need not ask again."""

REFUSAL = "I'm sorry, but I can't help with that."


class Faults(Protocol):
    """Decides what becomes of each request."""

    def draw(self, model: str, subject: str) -> Fault | None:
        """What goes wrong with a request, known by model and subject; None if it is answered as it should be."""


class Flawless:
    """Nothing goes wrong."""

    def draw(self, model: str, subject: str) -> Fault | None:
        """No fault, ever."""
        return None


class FirstTries:
    """One fault at the first tries on every subject, asked again in other words or not.

    Args:
        fault: What goes wrong.
        tries: How often in a row.
        models: The models it happens to; all if left out.
    """

    def __init__(self, fault: Fault, tries: int = 1, models: Sequence[str] | None = None) -> None:
        self.fault: Fault = fault
        self.tries = tries
        self.models = models
        self._tried = _Tries()

    def draw(self, model: str, subject: str) -> Fault | None:
        """The fault, unless this subject had its share."""
        if self.models is not None and model not in self.models:
            return None
        return self.fault if self._tried.count(model, subject) < self.tries else None


class RandomFaults:
    """Any fault at random; which one depends on model, subject and try alone, not on the order of requests.

    Args:
        rates: Share of the tries by fault.
        seed: Decides which.
        in_a_row: After so many faults on a subject it is answered.

    Raises:
        DataError: There is no such fault, or the rates are no shares.
    """

    def __init__(self, rates: Mapping[Fault, float], seed: int = 0, in_a_row: int = 2) -> None:
        if unknown := [name for name in rates if name not in FAULTS]:
            raise DataError(f"rehearsal: no fault {unknown[0]!r}, there are {', '.join(FAULTS)}")
        if any(rate < 0 for rate in rates.values()) or sum(rates.values()) > 1:
            raise DataError(f"rehearsal: rates of faults must be 0 or more and at most 1 in sum, got {dict(rates)}")
        self.names = tuple(rates)
        self.edges = np.cumsum(list(rates.values()))
        self.seed = seed
        self.in_a_row = in_a_row
        self._tried = _Tries()

    def draw(self, model: str, subject: str) -> Fault | None:
        """A fault with its rate, but never more than `in_a_row` on a subject."""
        tried = self._tried.count(model, subject)
        if tried >= self.in_a_row:
            return None
        digest = hashlib.sha256(f"{self.seed} {tried} {model} {subject}".encode()).digest()
        place = int(np.searchsorted(self.edges, int.from_bytes(digest[:7]) / 2**56, side="right"))
        return self.names[place] if place < len(self.names) else None


class _Tries:
    """Counts how often a model was asked about a subject before; several threads ask."""

    def __init__(self) -> None:
        self._seen: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def count(self, model: str, subject: str) -> int:
        with self._lock:
            self._seen[model, subject] += 1
            return self._seen[model, subject] - 1


def spoil(text: str, fault: SpokenFault) -> str:
    """What is said instead of `text`; plain text has no other readable form and stays as it is."""
    match fault:
        case "refusal":
            return REFUSAL
        case "empty":
            return ""
        case "malformed":
            return text[: len(text) // 2] if _is_json(text) else ""
    return _otherwise(text, fault) if _is_json(text) else text


def _otherwise(text: str, form: Literal["python", "wrapped", "lines"]) -> str:
    """The same JSON value in another form."""
    value = json.loads(text)
    flat = isinstance(value, dict) and all(isinstance(item, str) for item in value.values())
    match form:
        case "python":
            assert ast.literal_eval(repr(value)) == value
            return repr(value)
        case "lines" if flat:
            return "\n".join(f"[{name}]: {item}" for name, item in value.items())
    return f"Sure! Here is what you asked for:\n\n```json\n{text}\n```\n\nLet me know if there is anything else."


def _is_json(text: str) -> bool:
    return text.startswith(("{", "["))
