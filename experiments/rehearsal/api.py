"""Bodies of chat completions: what a request must hold, what an answer and an error look like."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from PIL import Image

from datamodules.errors import DataError
from experiments.rehearsal.reading import Prompt
from experiments.rehearsal.truthful import TruthfulModels
from experiments.serving.errors import ApiError

TOKENS_PER_IMAGE = 85
LOOKING = ("rehearsal-describe", "rehearsal-judge")
"""The models that need to see something."""

_TOKEN = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Request:
    """A chat completion that is asked for.

    Attributes:
        model: Who is asked.
        prompt: What it is given.
        limit: Most tokens of the answer; None for no limit.
        tokens: Of all that it is given.
    """

    model: str
    prompt: Prompt
    limit: int | None
    tokens: int


def parse_request(body: bytes, models: tuple[str, ...]) -> Request:
    """The body of a request that can be answered; `ApiError` for any other."""
    try:
        fields = json.loads(body)
    except ValueError:
        raise _bad("We could not parse the JSON body of your request.", "invalid_json") from None
    if not isinstance(fields, dict) or not isinstance(fields.get("messages"), list) or not fields["messages"]:
        raise _bad("Missing required parameter: 'messages'.", "missing_required_parameter", "messages")
    if fields.get("model") not in models:
        message = f"The model {fields.get('model')!r} does not exist or you do not have access to it."
        raise ApiError(HTTPStatus.NOT_FOUND, message, "model_not_found")
    if fields.get("stream"):
        raise _bad("Unsupported value: 'stream' must be false.", "unsupported_value", "stream")
    limit = fields.get("max_completion_tokens") or fields.get("max_tokens")
    try:
        prompt = _prompt(fields["messages"])
        words = " ".join(text for message in fields["messages"] for text in _texts(message))
    except (KeyError, TypeError, AttributeError):
        raise _bad("Invalid value: 'messages'.", "invalid_type", "messages") from None
    tokens = len(_TOKEN.findall(words)) + TOKENS_PER_IMAGE * len(prompt.sizes)
    return Request(fields["model"], prompt, limit, tokens)


def say(models: TruthfulModels, request: Request) -> str:
    """What the model that is asked says.

    Raises:
        ApiError: There is nothing to look at, or the prompt lacks something.
    """
    if request.model in LOOKING and not request.prompt.sizes:
        raise _bad(f"{request.model}: no image to look at", "invalid_image", "messages")
    try:
        return models.answer(request.model, request.prompt)
    except DataError as error:
        raise _bad(str(error), "invalid_value", "messages") from error


def completion_of(request: Request, text: str) -> dict[str, Any]:
    """The body of an answer; cut where the request's limit of tokens is."""
    ends = [token.end() for token in _TOKEN.finditer(text)]
    is_cut = request.limit is not None and len(ends) > request.limit
    told = ends[: request.limit]
    message = {"role": "assistant", "content": text[: told[-1]] if is_cut else text}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "length" if is_cut else "stop"}
    return {
        "id": "chatcmpl-rehearsal",
        "object": "chat.completion",
        "created": 0,
        "model": request.model,
        "choices": [choice],
        "usage": {
            "prompt_tokens": request.tokens,
            "completion_tokens": len(told),
            "total_tokens": request.tokens + len(told),
        },
    }


def _prompt(messages: list[dict[str, Any]]) -> Prompt:
    """What the user says and shows."""
    said: list[str] = []
    sizes = []
    for message in messages:
        if message.get("role") == "user":
            said += _texts(message)
        sizes += [_size(part["image_url"]["url"]) for part in _parts(message) if part.get("type") == "image_url"]
    return Prompt("\n".join(said), tuple(sizes))


def _texts(message: dict[str, Any]) -> list[str]:
    return [part["text"] for part in _parts(message) if part.get("type") == "text"]


def _parts(message: dict[str, Any]) -> list[dict[str, Any]]:
    content = message.get("content") or ""
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _size(url: str) -> tuple[int, int]:
    """(width, height) of an image that is written out in its address."""
    head, _, data = url.partition(",")
    try:
        if not head.startswith("data:image/") or not head.endswith(";base64"):
            raise ValueError(f"only data:image/...;base64 is read, got {head[:40]!r}")
        with Image.open(io.BytesIO(base64.b64decode(data, validate=True))) as image:
            width, height = image.size
            return width, height
    except (ValueError, OSError) as error:
        raise _bad(f"an image cannot be read: {error}", "invalid_image", "messages") from None


def _bad(message: str, code: str, parameter: str | None = None) -> ApiError:
    return ApiError(HTTPStatus.BAD_REQUEST, message, code, parameter)


def unknown_path(path: str) -> ApiError:
    """Nothing is served there."""
    return ApiError(HTTPStatus.NOT_FOUND, f"Invalid URL ({path})", "unknown_url")
