"""What came back of a call, read as what it is: an answer, a refusal, or an error and whose business that is.

Servers agree on the form of a good answer and on little else. Whatever is filed here was paid for, so everything that
can be read is read, and nothing in a body raises anything but the three errors of a call.
"""

from __future__ import annotations

import email.utils
import json
import math
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from datamodules.errors import DataError
from datamodules.regvid.models import BusyError, CallError, Received, RejectedError
from datamodules.regvid.parsing import clean, one_line

LONGEST_REASON = 300
MOST_TOKENS = 10**9
"""Of one call; whoever counts more does not count."""

_OK = 200
_BUSY = 429
_PASSING = {408, 409, 425}
_OF_THE_SETUP = {401, 402, 403, 404, 405, 407, 410}
_MAY_HAVE_WORKED = {408, 499, 502, 504, 520, 522, 524}
"""A gateway lost its patience or the connection: the model behind it may have answered."""

_SETUP = re.compile(
    r"quota|billing|balance|credit|payment|api_key|authenti|permission|deactivated|model_not_found|unknown_url"
    r"|(unsupported|unknown|unrecognized)_(parameter|value|argument)",
    re.I,
)
_CONTENT = re.compile(r"content_?(filter|policy|moderation)|moderation|safety|sensitive|data_inspection|flagged", re.I)
_FIELD = re.compile(
    r"(unsupported|unknown|unrecogni[sz]ed)\W+(parameter|field|argument|value)|max_completion_tokens", re.I
)
_TOO_LARGE = re.compile(r"too (large|long|many)|at most|maximum|exceed", re.I)
_HINTS = (
    (
        re.compile(r"only\W+supports?\W+stream|stream\W+(mode|must|is required|=)|must\W+(be\W+)?stream", re.I),
        "set stream: true of the model",
    ),
    (
        re.compile(
            r"at most \d+ images?\b|(too many|fewer than \d+|max(imum)?( number of| of)?( \d+)?) images?\b"
            r"|images? (per|in one|in a) (request|prompt|message)",
            re.I,
        ),
        "most_images of the model says it beforehand",
    ),
)
"""What a server says that will not take any request as it is made, and what to do about it."""

_DONE = re.compile(r"^data:\s*\[DONE\]", re.M)
_NUMBER = re.compile(r"([\d.]+)(ms|s|m|h|)")
_SECONDS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """What a model said.

    Attributes:
        text: Its words.
        refusal: Why it does not answer, if it said so apart from its words.
        cut: Whether it ended for want of tokens.
        problem: Why there are no words in what came, if that is so.
    """

    text: str = ""
    refusal: str = ""
    cut: bool = False
    problem: str = ""


def answer_in(received: Received) -> ChatAnswer:
    """The answer in what was received; a body that says nothing is an answer as well: it was paid for.

    Raises:
        CallError: It is none; asked again, there may be one.
        BusyError: Likewise, but later.
        RejectedError: Not to this request.
        DataError: To no request, as the model is set up.
    """
    body = _body(received)
    error = _error(body)
    if received.status != _OK or (error is not None and not _is_complete(body)):
        text = received.body[: 4 * LONGEST_REASON].decode("utf-8", "replace")
        return _refused(received, error or {"message": text if text.strip() else "an empty body"})
    if received.broken:
        raise CallError(_reason(received.broken), charged=True)
    return _said(body)


def usage_in(received: Received) -> tuple[int, int] | None:
    """Tokens of prompt and of answer as the server counts them; None if it does not, or in no way to be believed.

    Tokens of thoughts that stand only in the total are tokens of the answer.
    """
    usage = _mapping(_mapping(_body(received)).get("usage"))
    counts = [usage.get(f"{name}_tokens") for name in ("prompt", "completion", "total")]
    if counts[2] is None:
        counts.pop()
    told = [count for count in counts if _is_count(count)]
    if len(told) < len(counts) or not told[0]:
        return None
    return told[0], max(told[1], told[-1] - told[0])


def cached_in(received: Received) -> int:
    """Tokens of the prompt that were in the server's cache, as OpenAI or as DeepSeek says it; no more than it has."""
    usage = _mapping(_mapping(_body(received)).get("usage"))
    told = _mapping(usage.get("prompt_tokens_details")).get("cached_tokens", usage.get("prompt_cache_hit_tokens"))
    counted = usage_in(received)
    return min(told, counted[0]) if counted is not None and _is_count(told) else 0


def may_be_charged(received: Received) -> bool:
    """Whether a server that counts no tokens may charge for this all the same."""
    return received.status == _OK or received.status in _MAY_HAVE_WORKED


def wait_in(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait as the server says, as a number or a date; infinite is a number. None if nothing can be read."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        try:
            seconds = float(value) * unit
        except ValueError:
            date = email.utils.parsedate_tz(value)
            seconds = float("nan") if date is None else email.utils.mktime_tz(date) - time.time()
        if not math.isnan(seconds):
            return max(0.0, seconds)
    return None


def rest_in(headers: Mapping[str, str]) -> float | None:
    """Seconds until the server takes calls again, where it says that this was the last one for now."""
    waits = []
    for what in ("requests", "tokens"):
        left, until = (headers.get(f"x-ratelimit-{name}-{what}", "") for name in ("remaining", "reset"))
        parts = _NUMBER.findall(until)
        try:
            if parts and float(left) <= 0 and "".join(map("".join, parts)) == until:
                waits.append(sum(float(number) * _SECONDS[unit] for number, unit in parts))
        except ValueError:
            continue
    return max(waits, default=None)


def completion(
    text: str, prompt_tokens: int, completion_tokens: int, *, cut: bool = False, refusal: str | None = None
) -> Received:
    """What a model of this process would have sent, were it a server."""
    message = {"role": "assistant", "content": text, "refusal": refusal}
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}
    body = {"choices": [{"message": message, "finish_reason": "length" if cut else "stop"}], "usage": usage}
    return Received(_OK, {"content-type": "application/json"}, json.dumps(body).encode())


# --- errors -----------------------------------------------------------------------------------------------------------


def _refused(received: Received, error: Mapping[str, Any]) -> ChatAnswer:
    """Whose business an error is: the content's, which is an answer, the set-up's, or nobody's for long."""
    status, codes = received.status, _codes(error)
    if status == _OK:  # some gateways put the status that they were given into the body
        status = next((int(code) for code in codes if re.fullmatch(r"[45]\d\d", code)), status)
    message = error.get("message")
    reason = _reason(f"status {received.status}: {message if isinstance(message, str) else error}")
    said = " ".join(codes)
    if status < 500 and _CONTENT.search(said):
        return ChatAnswer(refusal=reason)
    wait = wait_in(received.headers)
    for asks, hint in _HINTS:
        if 400 <= status < 500 and status != _BUSY and asks.search(reason):
            raise DataError(f"{reason}: {hint}")
    if status < 500 and _SETUP.search(said):
        raise DataError(reason)
    if status == _BUSY or "rate_limit" in said:
        raise BusyError(reason, wait)
    if status == _OK or status in _PASSING or status >= 500:
        raise CallError(reason, wait, may_be_charged(received))
    if status in _OF_THE_SETUP or 300 <= status < 400 or _names_a_field(error, reason):
        raise DataError(reason)
    raise RejectedError(reason)


def _names_a_field(error: Mapping[str, Any], reason: str) -> bool:
    """Whether the request has a field that the server does not want from anybody; one that is too large it may."""
    named = error.get("param")
    wrong = (isinstance(named, str) and not named.startswith("messages")) or _FIELD.search(reason) is not None
    return wrong and _TOO_LARGE.search(reason) is None


def _codes(error: Mapping[str, Any]) -> list[str]:
    inner = _mapping(error.get("innererror")) | _mapping(error.get("inner_error"))
    said = [error.get("code"), error.get("type"), error.get("status"), inner.get("code")]
    return [str(code)[:LONGEST_REASON] for code in said if isinstance(code, str | int)]


def _error(body: object) -> Mapping[str, Any] | None:
    """The error in a body, in one of the forms that servers give it; one in which nothing is said is none."""
    if isinstance(body, list) and body:
        body = body[0]
    choice = _choice(body)
    error = _mapping(body).get("error") or choice.get("error")
    if error is None and choice.get("finish_reason") == "error":
        error = "the answer ended in an error"
    if error is None and _mapping(body).get("object") == "error":
        error = body
    if isinstance(error, str):
        return {"message": error, **{name: value for name, value in _mapping(body).items() if name != "message"}}
    return error if isinstance(error, dict) and any(error.values()) else None


def _is_complete(body: object) -> bool:
    """Whether there is an answer that ended as answers do, whatever else is in the body."""
    choice = _choice(body)
    return choice.get("finish_reason") not in (None, "error") and not choice.get("error")


def _reason(text: str) -> str:
    return one_line(clean(text[: 4 * LONGEST_REASON]))[:LONGEST_REASON]


# --- answers ----------------------------------------------------------------------------------------------------------


def _said(body: object) -> ChatAnswer:
    """The answer of a body that has one."""
    choice = _choice(body)
    message = _mapping(choice.get("message"))
    if not message and isinstance(choice.get("text"), str):
        message = {"content": choice["text"]}
    if not message:
        return ChatAnswer(problem="no message in it")
    content = message.get("content")
    parts = [part for part in content if part is not None] if isinstance(content, list) else [content]
    text = "".join(_text(part) for part in parts)
    refusals = [_mapping(part).get("refusal") for part in parts] + [message.get("refusal")]
    refusal = next((clean(said) for said in refusals if isinstance(said, str) and said.strip()), "")
    finish = choice.get("finish_reason")
    if finish == "content_filter" and not refusal:
        refusal = "filtered"
    problem = ""
    if not text.strip() and not refusal and finish != "length":
        # nothing but thoughts is no answer, and neither is a tool that nobody has offered
        thoughts = message.get("reasoning_content") or message.get("reasoning")
        called = message.get("tool_calls") or message.get("function_call")
        problem = "a call of a tool" if called else "thoughts without an answer" if thoughts else ""
    return ChatAnswer(clean(text), refusal, finish == "length", problem)


def _text(part: object) -> str:
    """The words of a part of a message; a part that holds thoughts, a picture or a refusal has none."""
    if isinstance(part, str):
        return part
    fields = _mapping(part)
    text = fields.get("text")
    if fields.get("type", "text") not in ("text", "output_text"):
        return ""
    return text if isinstance(text, str) else ""


def _choice(body: object) -> dict[str, Any]:
    """The only one that is asked for; empty if there is none."""
    choices = _mapping(body).get("choices")
    return _mapping(choices[0]) if isinstance(choices, list) and choices else {}


def _body(received: Received) -> object:
    """What stands in a body, whatever that is; None for what is neither JSON nor a stream of it."""
    text = received.body.decode("utf-8", "replace").removeprefix("\ufeff").strip()
    if text.startswith(("data:", "event:", ":")):
        return _streamed(text)
    return _json(text)


def _json(text: str) -> object:
    try:
        value: object = json.loads(text, parse_int=_integer)
    except (ValueError, RecursionError):
        return None
    return value


def _integer(digits: str) -> int | float:
    # Python refuses to read thousands of digits; nobody counts so far
    return int(digits) if len(digits) < 20 else float("inf")


def _streamed(text: str) -> object:
    """One body out of the pieces of a stream; it holds an error if the stream ended before its answer did."""
    pieces = list(_pieces(text))
    choices = list(filter(None, map(_choice, pieces)))
    said: dict[str, list[str]] = {}
    for choice in choices:
        for name, words in _mapping(choice.get("delta") or choice.get("message")).items():
            if isinstance(words, str) and name != "role":
                said.setdefault(name, []).append(words)
    last: dict[str, Any] = {}
    for piece in pieces:
        last |= {name: value for name, value in piece.items() if value is not None}
    if choices:
        finish = [choice.get("finish_reason") for choice in choices]
        message = {name: "".join(words) for name, words in said.items()}
        ended = next(filter(None, reversed(finish)), None)
        last["choices"] = [{"message": message, "finish_reason": ended}]
        if ended is None and not _DONE.search(text):
            last.setdefault("error", {"message": "the stream ended before its answer did"})
    return last


def _pieces(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        if line.startswith("data:") and isinstance(piece := _json(line.removeprefix("data:")), dict):
            yield piece


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS
