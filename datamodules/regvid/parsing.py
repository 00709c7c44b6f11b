"""Lenient about the form of an answer, strict about what it says: JSON, Python literals, or `[1]: text` lines.

What can be read in two ways is not read: the answer is asked for again, and never guessed.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_THOUGHT = re.compile(r"<think>.*?</think>", re.S)
_INDEX = re.compile(r"\W*(?:region|object|question)?\W*(\d{1,4})\W*", re.I)
_LINE = re.compile(
    r"""^[\s>*_#-]*                              # a bullet or emphasis
        (?:region\s*)?
        (?:\[(\d{1,4})\][*_\s]*[:.)\-\u2013]     # [1]: or **[1]** -
          |(\d{1,4})[*_]*\s*[:.)])               # 1. or 1)
        [*_]*\s+""",
    re.I | re.M | re.X,
)
_MENTION = re.compile(r"\[\s*\d+\s*\]|<\s*region\s*\d*\s*>|<image>", re.I)
_FENCE = re.compile(r"```\w*\n(.*?)\n?```", re.S)
_NOTHING = {"null", "none", "n/a", "not visible", "cannot be seen"}
_QUOTES = {'"': '"', "'": "'", "\u201c": "\u201d"}
_CLOSING = {"{": "}", "[": "]"}


class UnreadableError(Exception):
    """An answer that cannot be used.

    Args:
        problem: Why, in words that the model can be told.
        kind: What all such answers are counted under.
    """

    def __init__(self, problem: str, kind: str = "unreadable") -> None:
        super().__init__(problem)
        self.kind = kind


def read_object(answer: str) -> dict[int, Any]:
    """An object whose keys are indices, such as `{"1": ..., "2": ...}`, or one that is written as `[1]: text` lines.

    Several objects with different indices are one.

    Raises:
        UnreadableError: There is none, or an index has two values.
    """
    text = _THOUGHT.sub("", answer)
    found = [value for value in _literals(text, "{") if isinstance(value, Pairs)]
    pairs = [pair for value in found for pair in value.pairs] if found else _lines(text)
    if not pairs:
        raise UnreadableError("there is no object with an index for each region or question")
    read: dict[int, Any] = {}
    for key, value in pairs:
        index = _index(key)
        if index in read and read[index] != _plain(value):
            raise UnreadableError(f"index {index} has two values")
        read[index] = _plain(value)
    return read


def read_list(answer: str) -> list[dict[str, Any]]:
    """A list of objects, alone or within an object.

    Raises:
        UnreadableError: There is none, or several that differ.
    """
    values = [_plain(value) for value in _literals(_THOUGHT.sub("", answer), "[")]
    # an index in the text around it is a list as well, but none of objects
    lists = [value for value in values if isinstance(value, list) and all(isinstance(item, dict) for item in value)]
    if not lists:
        raise UnreadableError("there is no list of objects")
    if any(value != lists[0] for value in lists):
        raise UnreadableError(f"there are {len(lists)} lists")
    return lists[0]


def read_prose(answer: str) -> str:
    """The words of an answer on one line, without the fence or the quotation marks around them.

    Raises:
        UnreadableError: There are none, or they name a region by its index.
    """
    text = _THOUGHT.sub("", answer).strip()
    if fenced := _FENCE.fullmatch(text):
        text = fenced[1]
    text = one_line(text)
    if len(text) > 1 and _QUOTES.get(text[0]) == text[-1] and text[0] not in text[1:-1]:
        text = text[1:-1].strip()
    if text[:1] in ("{", "["):
        raise UnreadableError("plain text was asked for")
    return prose(text, "the text")


def prose(value: object, where: str) -> str:
    """Text as people read it: on one line, and naming no region by its index.

    Raises:
        UnreadableError: It is something else.
    """
    if not isinstance(value, str) or not value.strip():
        raise UnreadableError(f"{where} is not text")
    if mention := _MENTION.search(value):
        raise UnreadableError(f"{where} names a region by its index, {mention[0]}")
    return one_line(value)


def seen(value: object, where: str) -> str | None:
    """Text, or None where the answer says that there is nothing to say.

    Raises:
        UnreadableError: It is something else.
    """
    if isinstance(value, dict):
        value = _only_value(value)
    if value is None or (isinstance(value, str) and value.strip().strip(".").lower() in _NOTHING):
        return None
    return prose(value, where)


def one_line(text: str) -> str:
    """The words with single spaces between them."""
    return " ".join(text.split())


def _only_value(value: Mapping[str, Any]) -> Any:
    return next(iter(value.values())) if len(value) == 1 else value


def _index(key: object) -> int:
    named = _INDEX.fullmatch(str(key))
    if named is None:
        raise UnreadableError(f"{str(key)[:40]!r} is no index")
    return int(named[1])


def _lines(text: str) -> list[tuple[object, object]]:
    """`[1]: text` up to the next such line, blank lines between; what stands before the first is talk."""
    marks = list(_LINE.finditer(text))
    ends = [*(mark.start() for mark in marks), len(text)][1:]
    return [(mark[1] or mark[2], _paragraph(text[mark.end() : end])) for mark, end in zip(marks, ends, strict=True)]


def _paragraph(text: str) -> str:
    """The first paragraph: closing remarks follow behind a blank line."""
    return text.strip().split("\n\n")[0].strip().strip("`").strip()


# --- literals in the midst of text --------------------------------------------------------------------------------


class Pairs:
    """An object as it was written: a key that stands there twice is not lost."""

    def __init__(self, pairs: Sequence[tuple[object, object]]) -> None:
        self.pairs = pairs


def _literals(text: str, bracket: str) -> Iterator[object]:
    """Every literal that starts with `bracket`, from the left and not within another one."""
    place = text.find(bracket)
    while place >= 0:
        value, end = _literal(text, place)
        if end is None:
            return  # it never closes: what stands inside was cut off
        if value is not None:
            yield value
        place = text.find(bracket, end)


def _literal(text: str, start: int) -> tuple[object | None, int | None]:
    """The literal at `start` and where it ends; None for one that is none, or that does not end."""
    try:
        return json.JSONDecoder(strict=False, object_pairs_hook=Pairs).raw_decode(text, start)
    except (json.JSONDecodeError, RecursionError):
        end = _closing(text, start)
    if end is None:
        return None, None
    try:
        return _evaluated(ast.parse(text[start:end].strip(), mode="eval").body), end
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None, end


def _closing(text: str, start: int) -> int | None:
    """Behind the bracket that closes the one at `start`; brackets in quotation marks do not count."""
    open_brackets: list[str] = []
    quote = ""
    place = start
    while place < len(text):
        letter = text[place]
        if quote:
            place += letter == "\\"
            quote = "" if letter == quote else quote
        elif letter in "\"'" and not text[place - 1].isalnum():
            quote = letter
        elif letter in _CLOSING:
            open_brackets.append(_CLOSING[letter])
        elif letter in _CLOSING.values():
            if open_brackets.pop() != letter:
                return None
            if not open_brackets:
                return place + 1
        place += 1
    return None


def _evaluated(node: ast.expr) -> object:
    """A literal of Python, with JSON's null, true and false as well; ValueError for anything else."""
    match node:
        case ast.Dict(keys, values):
            named = [
                (ast.literal_eval(_required(key)), _evaluated(value)) for key, value in zip(keys, values, strict=True)
            ]
            return Pairs(named)
        case ast.List(items) | ast.Tuple(items):
            return [_evaluated(item) for item in items]
        case ast.Name("null" | "true" | "false" as name):
            return json.loads(name)
    value: object = ast.literal_eval(node)
    return value


def _required(key: ast.expr | None) -> ast.expr:
    if key is None:
        raise ValueError("an object within an object without a key")
    return key


def _plain(value: object) -> Any:
    """The value with dictionaries in it; a key that is there twice is an error."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, Pairs):
        return value
    plain = {str(key): _plain(item) for key, item in value.pairs}
    if len(plain) < len(value.pairs):
        raise UnreadableError("an object has a key twice")
    return plain
