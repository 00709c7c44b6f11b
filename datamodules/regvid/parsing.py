"""Lenient about the form of an answer, strict about what it says: JSON, Python literals, or `[1]: text` lines.

What can be read in two ways is not read: the answer is asked for again, and never guessed. Whatever an answer holds, it
is read in a time that grows as its length does, and `UnreadableError` is all that comes of what cannot be.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

LONGEST = 200_000
"""Characters of an answer; a longer one is not read."""

MOST_WRONG = 64
"""Brackets in a text that open no literal; behind so many of them nothing is looked for."""

DEEPEST = 32
"""Literals within literals."""

_TAG = r"(?:[\w-]+:)?(?:think|thinking|thoughts?|reasoning|reflection)"
_THOUGHTS_END = re.compile(rf"(?:</|\[/|\u25c1/){_TAG}[>\]\u25b7]", re.I)
_THOUGHTS = re.compile(rf"[<\[\u25c1]/?{_TAG}[>\]\u25b7]|<\|[\w|]{{1,40}}>", re.I)
_INDEX = re.compile(r"\W*(?:(?:region|object|question)\W*)?(\d{1,4})\W*", re.I)
_LONGEST_INDEX = 40
_LINE = re.compile(
    r"""^[ \t>*_#-]*                                 # a bullet or emphasis
        (?:region[ \t]*)?
        (?:\[(\d{1,4})\][*_ \t]*[:.)\-\u2013]        # [1]: or **[1]** -
          |(\d{1,4})[*_]*[ \t]*[:.)])                # 1. or 1)
        [*_]*\s""",
    re.I | re.M | re.X,
)
_MENTION = re.compile(r"\[\s*\d+\s*\]|<\s*region(?:\s*\d+)?\s*>|<image>", re.I)
_NAMED = re.compile(r"\b(?:region|object|label|marker|instance)\s*#?\s*\d+\b", re.I)
_FENCE = re.compile(r"```\w*\n(.*?)\n?```", re.S)
_NOTHING = {"null", "none", "n/a", "not visible", "cannot be seen"}
_QUOTES = {'"': '"', "'": "'", "\u201c": "\u201d"}
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffd-\uffff]")


class UnreadableError(Exception):
    """An answer that cannot be used.

    Args:
        problem: Why, in words that the model can be told.
        kind: What all such answers are counted under.
    """

    def __init__(self, problem: str, kind: str = "unreadable") -> None:
        super().__init__(problem)
        self.kind = kind


def clean(text: str) -> str:
    """The text without what no file and no request can hold: half characters, control characters, NUL."""
    # two halves that belong together are one character
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return _CONTROL.sub("", whole.replace("\r\n", "\n"))


def read_object(answer: str, known: Collection[int] | None = None) -> dict[int, Any]:
    """An object whose keys are indices, such as `{"1": ..., "2": ...}`, or one that is written as `[1]: text` lines.

    Several objects with different indices are one.

    Args:
        answer: All of it.
        known: The indices that were asked for, of which some may be missing; any if left out.

    Raises:
        UnreadableError: There is none, an index has two values, or one is not known.
    """
    text = said(answer)
    found = [value for value in _literals(text, "{") if isinstance(value, Pairs)]
    pairs = [pair for value in found for pair in value] if found else _lines(text)
    if not pairs:
        raise UnreadableError("there is no object with an index for each region or question")
    read: dict[int, Any] = {}
    for key, value in pairs:
        index, plain = _index(key), _plain(value)
        if index in read and read[index] != plain:
            raise UnreadableError(f"index {index} has two values")
        read[index] = plain
    # numbers that were not asked for may stand for others that were
    if known is not None and (strange := sorted(set(read) - set(known))):
        raise UnreadableError(f"index {strange[0]} is none of {sorted(known)}")
    return read


def read_list(answer: str) -> list[dict[str, Any]]:
    """A list of objects, alone or within an object.

    Raises:
        UnreadableError: There is none, or several that differ.
    """
    values = [_plain(value) for value in _literals(said(answer), "[")]
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
    text = said(answer).strip()
    if fenced := _FENCE.fullmatch(text):
        text = fenced[1]
    text = one_line(text)
    if len(text) > 1 and _QUOTES.get(text[0]) == text[-1] and text[0] not in text[1:-1]:
        text = text[1:-1].strip()
    if text[:1] in ("{", "["):
        raise UnreadableError("plain text was asked for")
    return prose(text, "the text")


def said(answer: str) -> str:
    """The answer without the thoughts before it, of which some servers send the closing tag alone.

    Raises:
        UnreadableError: It is too long, or some of what is left may be thoughts.
    """
    if len(answer) > LONGEST:
        raise UnreadableError(f"it has {len(answer)} characters, more than {LONGEST}")
    text = clean(_THOUGHTS_END.split(answer)[-1])
    if left := _THOUGHTS.search(text):
        raise UnreadableError(f"it holds {left[0]}, so that thoughts cannot be told from the answer")
    return text


def prose(value: object, where: str) -> str:
    """Text as people read it: on one line, and naming no region by its index.

    Raises:
        UnreadableError: It is something else.
    """
    if not isinstance(value, str) or not value.strip():
        raise UnreadableError(f"{where} is not text")
    if mention := _MENTION.search(value) or _NAMED.search(value):
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
    named = _INDEX.fullmatch(str(key)) if len(str(key)) <= _LONGEST_INDEX else None
    if named is None:
        raise UnreadableError(f"{str(key)[:_LONGEST_INDEX]!r} is no index")
    return int(named[1])


def _lines(text: str) -> list[tuple[object, object]]:
    """`[1]: text` up to the next such line, blank lines between; what stands before the first is talk."""
    marks = list(_LINE.finditer(text))
    ends = [*(mark.start() for mark in marks), len(text)][1:]
    return [(mark[1] or mark[2], _paragraph(text[mark.end() : end])) for mark, end in zip(marks, ends, strict=True)]


def _paragraph(text: str) -> str:
    """The first paragraph: closing remarks follow behind a blank line."""
    return text.strip().split("\n\n")[0].strip().strip("`").strip()


def _plain(value: object) -> Any:
    """The value with dictionaries in it; a key that is there twice is an error."""
    if not isinstance(value, list):
        return value
    if not isinstance(value, Pairs):
        return [_plain(item) for item in value]
    plain = {str(key): _plain(item) for key, item in value}
    if len(plain) < len(value):
        raise UnreadableError("an object has a key twice")
    return plain


# --- literals in the midst of text: JSON's and Python's ---------------------------------------------------------------

_CLOSING = {"{": "}", "[": "]", "(": ")"}
_TOKEN = re.compile(
    r"""\s*(?: ("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')             # a string
             | ([A-Za-z]\w*|[-+]?[\d.][\w.+-]*)(\s*:)?         # a word or a number, which may be a key
             | ,(?=\s*[]})])                                  # a comma behind the last item
             | ([][(){}:,]))""",
    re.X | re.S,
)
_TUPLE = str.maketrans("()", "[]")
_WORDS = {"null": None, "None": None, "true": True, "True": True, "false": False, "False": False}
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|U000[0-9a-fA-F]{5}|.)", re.S)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "\n": ""} | {sign: sign for sign in "\\/'\""}


class Pairs(list[tuple[object, object]]):
    """An object as it was written: a key that stands there twice is not lost."""


def _literals(text: str, bracket: str) -> Iterator[object]:
    """Every literal that starts with `bracket`, from the left and not within another one."""
    wrong = 0
    place = text.find(bracket)
    while place >= 0:
        try:
            value, place = _literal(text, place)
            yield value
        except ValueError:
            wrong += 1
            end = _closing(text, place)
            if end is None or wrong > MOST_WRONG:
                return  # it never closes: what stands inside was cut off
            place = end
        place = text.find(bracket, place)


def _literal(text: str, place: int) -> tuple[object, int]:
    """The literal at a place, token by token put into JSON, and where it ends; `ValueError` if there is none."""
    said: list[str] = []
    closing: list[str] = []
    while closing or not said:
        found = _TOKEN.match(text, place)
        if found is None:
            raise ValueError("no token")
        place = found.end()
        string, scalar, colon, sign = found.groups()
        if string is not None:
            said.append(json.dumps(_unescaped(string[1:-1])))
        elif scalar is not None:
            value = _scalar(scalar)
            said.append(f"{json.dumps(str(value))}:" if colon else json.dumps(value))
        elif sign is not None:
            if sign in _CLOSING:
                closing.append(_CLOSING[sign])
            elif sign in _CLOSING.values() and closing.pop() != sign:
                raise ValueError("another bracket is open")
            said.append(sign.translate(_TUPLE))
        if len(closing) > DEEPEST:
            raise ValueError("too deep")
    return json.loads("".join(said), object_pairs_hook=Pairs), place


def _scalar(token: str) -> object:
    if token[0].isalpha():
        if token not in _WORDS:
            raise ValueError("no value")
        return _WORDS[token]
    # Python refuses to read thousands of digits, and nobody means them
    return int(token) if len(token) < 20 and token.lstrip("+-").isdecimal() else float(token)


def _unescaped(inside: str) -> str:
    if "\\" not in inside:
        return inside
    return clean(_ESCAPE.sub(_character, inside))


def _character(escape: re.Match[str]) -> str:
    code = escape[1]
    if code[0] in "uxU" and len(code) > 1:
        number = int(code[1:], 16)
        return chr(number) if number <= 0x10FFFF else ""
    return _ESCAPED.get(code, escape[0])


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
        elif letter in "{[":
            open_brackets.append(_CLOSING[letter])
        elif letter in "}]":
            if open_brackets.pop() != letter:
                return None
            if not open_brackets:
                return place + 1
        place += 1
    return None
