"""Bodies as servers send them, read as what they are; and whose business an error is."""

from __future__ import annotations

import json
import math
import random
import time
from contextlib import suppress
from email.utils import formatdate
from typing import Any

import pytest

from datamodules.errors import DataError
from datamodules.regvid.completions import ChatAnswer, answer_in, cached_in, rest_in, usage_in, wait_in
from datamodules.regvid.models import BusyError, CallError, Received, RejectedError

USAGE = {"prompt_tokens": 11, "completion_tokens": 4, "total_tokens": 15}


def received(body: Any, status: int = 200, **headers: str) -> Received:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Received(status, {name.replace("_", "-"): value for name, value in headers.items()}, data)


def saying(content: Any = "A ball.", finish: str = "stop", **message: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"content": content, **message}, "finish_reason": finish}], "usage": USAGE}


STREAM = (
    b': keep-alive\n\ndata: {"choices": [{"delta": {"role": "assistant", "content": "A "}}]}\n\n'
    b'data: {"choices": [{"delta": {"content": "ball."}, "finish_reason": "stop"}]}\n\n'
    b'data: {"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 4}}\n\ndata: [DONE]\n\n'
)
SAID: dict[str, tuple[Any, ChatAnswer]] = {
    "words": (saying(), ChatAnswer("A ball.")),
    "parts": (saying([{"type": "text", "text": "A "}, {"type": "text", "text": "ball."}]), ChatAnswer("A ball.")),
    "strings": (saying(["A ", "ball."]), ChatAnswer("A ball.")),
    "a part": (saying({"type": "text", "text": "A ball."}), ChatAnswer("A ball.")),
    "thoughts beside": (saying(reasoning_content="A box?"), ChatAnswer("A ball.")),
    "thoughts among the parts": (
        saying([{"type": "thinking", "thinking": "A box?"}, {"type": "text", "text": "A ball."}]),
        ChatAnswer("A ball."),
    ),
    "thoughts alone": (saying(None, reasoning_content="A box?"), ChatAnswer(problem="thoughts without an answer")),
    "thoughts cut": (saying("", "length", reasoning="A box?"), ChatAnswer(cut=True)),
    "a tool": (saying(None, "tool_calls", tool_calls=[{"id": "1"}]), ChatAnswer(problem="a call of a tool")),
    "refused": (saying(None, refusal="I would rather not."), ChatAnswer(refusal="I would rather not.")),
    "refused in a part": (saying([{"type": "refusal", "refusal": "No."}]), ChatAnswer(refusal="No.")),
    "filtered": (saying("", "content_filter"), ChatAnswer(refusal="filtered")),
    "cut": (saying("A ba", "length"), ChatAnswer("A ba", cut=True)),
    "nothing": (saying(None), ChatAnswer()),
    "half a character": (saying("A ball \ud83d."), ChatAnswer("A ball .")),
    "two halves": (saying("A \ud83d\ude00."), ChatAnswer("A \U0001f600.")),
    "NUL": (saying("A\0 ball."), ChatAnswer("A ball.")),
    "a bad byte": (json.dumps(saying("A ball#.")).encode().replace(b"#", b"\xff"), ChatAnswer("A ball.")),
    "a mark before": (b"\xef\xbb\xbf" + json.dumps(saying()).encode(), ChatAnswer("A ball.")),
    "a stream": (STREAM, ChatAnswer("A ball.")),
    "an error that says nothing": (saying() | {"error": {"message": "", "code": None}}, ChatAnswer("A ball.")),
    "an error after the answer": (saying() | {"error": {"message": "late"}}, ChatAnswer("A ball.")),
    "an older form": ({"choices": [{"text": "A ball.", "finish_reason": "stop"}]}, ChatAnswer("A ball.")),
    "html": (b"<html>busy</html>", ChatAnswer(problem="no message in it")),
    "half a json": (b'{"id": "1", "choi', ChatAnswer(problem="no message in it")),
    "no choices": (saying() | {"choices": []}, ChatAnswer(problem="no message in it")),
    "a list": ([], ChatAnswer(problem="no message in it")),
    "a deep one": (b"[" * 100_000, ChatAnswer(problem="no message in it")),
    "empty": (b"", ChatAnswer(problem="no message in it")),
    "a filter of the prompt": (
        received({"error": {"message": "Managed policy", "code": "content_filter", "param": "prompt"}}, 400),
        ChatAnswer(refusal="status 400: Managed policy"),
    ),
}


@pytest.mark.parametrize("form", SAID)
def test_a_body_is_read_as_what_it_is(form: str) -> None:
    body, answer = SAID[form]
    assert answer_in(body if isinstance(body, Received) else received(body)) == answer


FAILED: dict[str, tuple[int, Any, type[Exception]]] = {
    "no key": (401, {}, DataError),
    "no money": (402, {"error": {"message": "pay"}}, DataError),
    "moved": (302, b"", DataError),
    "no such model": (404, {"error": {"code": "model_not_found"}}, DataError),
    "another field": (
        400,
        {"error": {"message": "Unsupported parameter: use max_completion_tokens", "param": "max_tokens"}},
        DataError,
    ),
    "another field, in words alone": (400, {"detail": "'max_tokens': use max_completion_tokens instead"}, DataError),
    "a value nobody may send": (400, {"error": {"code": "unsupported_value", "param": "temperature"}}, DataError),
    "quota": (429, {"error": {"code": "insufficient_quota", "type": "insufficient_quota"}}, DataError),
    "quota in the body": (200, {"error": {"code": "insufficient_quota"}}, DataError),
    "rate": (429, {"error": {"code": "rate_limit_exceeded", "type": "requests"}}, BusyError),
    "rate in the body": (200, {"error": {"code": 429, "message": "slow down"}}, BusyError),
    "too long": (
        400,
        {
            "error": {
                "message": "maximum context length is 8192",
                "param": "messages",
                "code": "context_length_exceeded",
            }
        },
        RejectedError,
    ),
    "a longer answer than there is": (
        400,
        {"error": {"message": "max_tokens is too large: 9999", "param": "max_tokens", "code": "invalid_value"}},
        RejectedError,
    ),
    "too many images": (400, {"object": "error", "message": "too many images", "code": 400}, DataError),
    "one image": (400, {"message": "At most 1 image(s) may be provided in one prompt.", "code": 400}, DataError),
    "too long with images": (
        400,
        {
            "message": "The prompt is longer than the maximum model length of 8192. For image inputs, "
            "the number of image tokens depends on the number of images and their aspect ratios.",
            "code": 400,
        },
        RejectedError,
    ),
    "streams alone": (400, {"error": {"message": "This model only supports stream mode, please enable it"}}, DataError),
    "an error beside half an answer": (
        200,
        saying("A ba", "error") | {"error": {"code": 502, "message": "upstream"}},
        CallError,
    ),
    "an error in the choice": (200, {"choices": [{"message": {"content": ""}, "error": {"code": 500}}]}, CallError),
    "an answer that ended in an error": (200, saying("A ba", "error"), CallError),
    "a stream that ends early": (200, STREAM.split(b'data: {"choices": [{"delta": {"content": "ball')[0], CallError),
    "an error in a stream": (
        200,
        b'data: {"choices": [{"delta": {"content": "A "}}]}\n\ndata: {"error": {"message": "overloaded"}}\n\n',
        CallError,
    ),
    "in a list": (400, [{"error": {"message": "bad image"}}], RejectedError),
    "too large": (413, b"<html>", RejectedError),
    "down": (503, b"<html>gone", CallError),
    "a string": (500, {"error": "oh"}, CallError),
    "busy with status 200": (200, {"error": {"message": "busy"}}, CallError),
    "slow": (408, {}, CallError),
}


@pytest.mark.parametrize("fault", FAILED)
def test_an_error_is_somebodys_business(fault: str) -> None:
    """402, a field that is called otherwise, 302 and too long a context all counted as content that is bad."""
    status, body, kind = FAILED[fault]
    with pytest.raises(kind) as failed:
        answer_in(received(body, status))
    assert type(failed.value) is kind
    assert str(failed.value).startswith(f"status {status}: ")
    assert "\n" not in str(failed.value) and len(str(failed.value)) <= 300


COUNTED: list[tuple[Any, tuple[int, int] | None]] = [
    (USAGE, (11, 4)),
    ({"prompt_tokens": 11, "completion_tokens": 4}, (11, 4)),
    ({"prompt_tokens": 11, "completion_tokens": 4, "total_tokens": 100}, (11, 89)),
    ({"prompt_tokens": 11, "completion_tokens": 4, "total_tokens": 3}, (11, 4)),
    ({"prompt_tokens": 11, "completion_tokens": 0, "total_tokens": 11}, (11, 0)),
    ({"prompt_tokens": -11, "completion_tokens": 4}, None),
    ({"prompt_tokens": 11, "completion_tokens": -4, "total_tokens": 7}, None),
    ({"prompt_tokens": 11, "completion_tokens": 4, "total_tokens": -1}, None),
    ({"prompt_tokens": "11", "completion_tokens": 4}, None),
    ({"prompt_tokens": True, "completion_tokens": 4}, None),
    ({"prompt_tokens": 0, "completion_tokens": 0}, None),
    ({"prompt_tokens": 10**12, "completion_tokens": 4}, None),
    ({"prompt_tokens": 1.5, "completion_tokens": 4}, None),
    ([1, 2], None),
    ("15", None),
    (None, None),
    ({}, None),
]


@pytest.mark.parametrize(("usage", "counted"), COUNTED)
def test_only_what_can_be_believed_is_counted(usage: Any, counted: tuple[int, int] | None) -> None:
    """Negative usage lowered the account, and thoughts that stand in the total alone were free."""
    body = received(saying() | {"usage": usage})
    assert usage_in(body) == counted
    assert answer_in(body).text == "A ball."


@pytest.mark.parametrize(
    ("usage", "cached"),
    [
        (USAGE | {"prompt_tokens_details": {"cached_tokens": 8}}, 8),
        (USAGE | {"prompt_cache_hit_tokens": 8}, 8),
        (USAGE | {"prompt_tokens_details": {"cached_tokens": 99}}, 11),
        (USAGE | {"prompt_tokens_details": {"cached_tokens": -1}}, 0),
        (USAGE | {"prompt_tokens_details": None}, 0),
        (USAGE, 0),
        ({"prompt_tokens_details": {"cached_tokens": 8}}, 0),
    ],
)
def test_what_was_in_the_cache_is_told(usage: Any, cached: int) -> None:
    assert cached_in(received(saying() | {"usage": usage})) == cached


def test_a_count_of_thousands_of_digits_is_none() -> None:
    body = b'{"choices": [{"message": {"content": "A ball."}}], "usage": {"prompt_tokens": ' + b"9" * 5000 + b"}}"
    assert (answer_in(received(body)).text, usage_in(received(body))) == ("A ball.", None)


@pytest.mark.parametrize(
    ("headers", "least", "most"),
    [
        ({"retry-after": "7"}, 7, 7),
        ({"retry-after": "0.5"}, 0.5, 0.5),
        ({"retry-after": "-3"}, 0, 0),
        ({"retry-after": "inf"}, math.inf, math.inf),
        ({"retry-after": "9", "retry-after-ms": "250"}, 0.25, 0.25),
        ({"retry-after": "soon"}, -1, -1),
        ({"retry-after": "nan"}, -1, -1),
        ({}, -1, -1),
    ],
)
def test_the_server_says_how_long_to_wait(headers: dict[str, str], least: float, most: float) -> None:
    wait = wait_in(headers)
    assert least <= (-1 if wait is None else wait) <= most


def test_the_server_says_when_to_come_back() -> None:
    assert 25 <= (wait_in({"retry-after": formatdate(time.time() + 30, usegmt=True)}) or 0) <= 30


@pytest.mark.parametrize(
    ("left", "until", "rest"),
    [
        ("0", "1s", 1.0),
        ("0", "6m0.5s", 360.5),
        ("0", "120ms", 0.12),
        ("0", "3", 3.0),
        ("5", "1s", None),
        ("0", "", None),
        ("", "1s", None),
        ("x", "1s", None),
        ("0", "soon", None),
    ],
)
def test_the_last_call_for_now_is_told(left: str, until: str, rest: float | None) -> None:
    headers = {"x-ratelimit-remaining-tokens": left, "x-ratelimit-reset-tokens": until}
    assert rest_in(headers) == rest


NAMES = ["choices", "message", "content", "text", "type", "refusal", "error", "code", "usage", "delta", "total_tokens"]
LEAVES = [None, True, -1, 7, 1e999, "text", "rate_limit", "\ud83d", "", 10**30]


def drawn(dice: random.Random, depth: int = 4) -> Any:
    """Any JSON value, with the names that mean something."""
    match dice.randrange(4) if depth else 0:
        case 0:
            return dice.choice(LEAVES)
        case 1:
            return [drawn(dice, depth - 1) for _ in range(dice.randrange(3))]
    return {dice.choice(NAMES): drawn(dice, depth - 1) for _ in range(dice.randrange(5))}


def test_any_body_is_read_or_an_error_of_a_call() -> None:
    dice = random.Random(0)
    for _ in range(2000):
        body = received({name: drawn(dice) for name in NAMES[::3]}, dice.choice([200, 200, 302, 400, 429, 500, 99]))
        with suppress(CallError, DataError):
            answer_in(body)
        usage_in(body)
