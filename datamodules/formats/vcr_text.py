"""VCR's texts: lists of words and of objects, written as sentences."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from datamodules.errors import DataError
from datamodules.prompting.placeholders import PLACEHOLDER
from datamodules.reading.fields import array, filled, integer, text

Tokens: TypeAlias = tuple[str | tuple[int, ...], ...]
"""Words, and the objects that are mentioned together: their numbers, counted from 0."""

_EVERYONE = ("everyone", "everyones")

# the data set cuts at every mark: "isn't" into "is n't", "Ann's" into "Ann ' s", "t-shirt" into "t - shirt"
_TIDY = (
    (re.compile(r" ([.,!?;:%)\]}])"), r"\1"),
    (re.compile(r"([(\[{$]) "), r"\1"),
    (re.compile(r" ?' ?(s|m|d|t|re|ve|ll)\b", re.IGNORECASE), r"'\1"),
    (re.compile(r" (n't)\b", re.IGNORECASE), r"\1"),
    (re.compile(r" '(?=[ .,!?;:]|$)"), "'"),
    (re.compile(r'" ([^"]*) "'), r'"\1"'),
    (re.compile(r"(?<=\w) - (?=\w)"), "-"),
)


def parse_tokens(value: object, where: str, objects: int) -> Tokens:
    """The tokens of one text about `objects` objects.

    Raises:
        DataError: A token is neither a word nor a list of objects that there are, or a word reads as a region.
    """
    return tuple(_token(token, f"{where}[{index}]", objects) for index, token in enumerate(array(value, where)))


def mentioned(texts: Sequence[Tokens], categories: Sequence[str]) -> tuple[int, ...]:
    """The objects that the texts mention, in the order of first mention; all persons if there is none.

    "everyone" mentions all persons.
    """
    persons = tuple(number for number, category in enumerate(categories) if category == "person")
    found: dict[int, None] = {}
    for token in (token for tokens in texts for token in tokens):
        if not isinstance(token, str):
            found |= dict.fromkeys(token)
        elif token.lower() in _EVERYONE:
            found |= dict.fromkeys(persons)
    return tuple(found) or persons


def sentence(tokens: Tokens, names: Mapping[int, str], where: str) -> str:
    """The tokens as one writes them, every object by its name.

    Raises:
        DataError: No word is left.
    """
    joined = " ".join(
        token if isinstance(token, str) else _listed([names[number] for number in token]) for token in tokens
    )
    joined = " ".join(joined.split())
    for pattern, replacement in _TIDY:
        joined = pattern.sub(replacement, joined)
    return filled(joined, where)


def _token(token: object, where: str, objects: int) -> str | tuple[int, ...]:
    if isinstance(token, list):
        if not token:
            raise DataError(f"{where}: expected an object's number or more, got 0")
        return tuple(_object(number, where, objects) for number in token)
    word = text(token, where)
    if PLACEHOLDER.search(word):
        raise DataError(f"{where}: a word that reads as a region, {word!r}")
    return word


def _object(value: object, where: str, objects: int) -> int:
    number = integer(value, where, 0)
    if number >= objects:
        raise DataError(f"{where}: object {number} of {objects}, counted from 0")
    return number


def _listed(names: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)
