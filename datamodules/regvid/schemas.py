"""The forms of answers as JSON schemas, one a role; rewritten descriptions are plain text and have none.

Strict in OpenAI's sense: the root is an object, and every property of every object is required.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from datamodules.regvid.accounts import GRADES

Schema: TypeAlias = Mapping[str, Any]

_TEXT = {"type": "string"}


def descriptions(indices: Iterable[int]) -> Schema:
    """Of `describe`: by index a description, or null for what is not seen."""
    return _object({str(index): {"type": ["string", "null"]} for index in indices})


def claims() -> Schema:
    """Of `split`: claims with their questions; in an object, since no root may be a list."""
    return _object({"claims": _list({"claim": _TEXT, "question": _TEXT})})


def verdicts(numbers: Iterable[int]) -> Schema:
    """Of `judge`: by the question's number one of the grades."""
    return _object({str(number): {"type": "string", "enum": list(GRADES)} for number in numbers})


def talks(indices: Iterable[int]) -> Schema:
    """Of `instruct`: by index a summary and a conversation."""
    talk = _object({"summary": _TEXT, "conversation": _list({"question": _TEXT, "answer": _TEXT})})
    return _object({str(index): talk for index in indices})


def _object(properties: Mapping[str, Schema]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def _list(properties: Mapping[str, Schema]) -> dict[str, Any]:
    return {"type": "array", "items": _object(properties)}
