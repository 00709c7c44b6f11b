"""The body of a chat completion that is asked for -> the sample that is answered.

Regions are a content part of their own, `{"type": "regions", "regions": [...]}`, whose elements are written as in
region_jsonl: `{"box": [10, 20, 80, 90], "frame": 1}`. They are numbered through the conversation. Several images are
the frames of one video, all of the same size, and stand in the first message.
"""

from __future__ import annotations

import json
import re
from collections.abc import Set
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from datamodules.errors import DataError, nearest
from datamodules.formats.region_record import parse_region
from datamodules.prompting.placeholders import check_mentions
from datamodules.reading.checks import check_sample
from datamodules.reading.fields import array, filled, integer, known_keys, mapping, member, text
from datamodules.types import Frames, NoPicture, Region, RegionSample, Turn
from experiments.serving.errors import ApiError
from experiments.serving.limits import Limits
from experiments.serving.sent_images import SentImage, image_at
from lightning_modules.asking import ASKED

_READ = {"model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens"}
_NO_MATTER = {"user", "seed", "top_p", "metadata"}
_ONLY: dict[str, Any] = {
    "n": 1,
    "temperature": 0,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "logprobs": False,
    "store": False,
    "stop": [],
    "tools": [],
    "logit_bias": {},
    "response_format": {"type": "text"},
}
"""Fields of the API with the one value that they may have: an answer is the likeliest text."""
_ROLES = ("user", "assistant")
_FIELD = re.compile(r"[a-z]\w*(?:\.\w+|\[\d+\])*(?=: )")


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What is asked.

    Attributes:
        sample: The conversation, its last turn without an answer.
        max_tokens: Most tokens of the answer; None leaves it to the model.
        stream: Whether pieces are wanted as they come.
        usage: Whether the last of them shall count tokens.
    """

    sample: RegionSample
    max_tokens: int | None
    stream: bool
    usage: bool

    @property
    def num_frames(self) -> int:
        """Every image that was sent is looked at."""
        return len(self.sample.media.paths) if isinstance(self.sample.media, Frames) else 1


@dataclass(slots=True)
class _Content:
    """What the messages hold, as far as they were read."""

    limits: Limits
    hosts: Set[str]
    texts: list[str] = field(default_factory=list)
    images: list[SentImage] = field(default_factory=list)
    regions: list[Region] = field(default_factory=list)


def parse_request(body: bytes, model: str, limits: Limits, hosts: Set[str] = frozenset()) -> ChatRequest:
    """The request that a body holds.

    Args:
        body: JSON.
        model: The name of the only model that there is.
        limits: What a conversation may have.
        hosts: Where images are fetched from.

    Raises:
        ApiError: There is no such model.
        DataError: `field: what is wrong with it`.
    """
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise DataError(f"the body is not JSON: {error}") from None
    # null is how clients write what they do not set
    fields = {name: value for name, value in mapping(fields, "the body").items() if value is not None}
    if (asked := text(member(fields, "model"), "model")) != model:
        raise ApiError(HTTPStatus.NOT_FOUND, f"no model {asked[:80]!r}, there is {model!r}", "model_not_found", "model")
    _check_fields(fields)
    options = mapping(fields.get("stream_options", {}), "stream_options")
    known_keys(options, {"include_usage"}, "stream_options")
    return ChatRequest(
        sample=_sample(array(member(fields, "messages"), "messages"), limits, hosts),
        max_tokens=_max_tokens(fields, limits),
        stream=_flag(fields.get("stream", False), "stream"),
        usage=_flag(options.get("include_usage", False), "stream_options.include_usage"),
    )


def refused(error: DataError) -> ApiError:
    """Of what a client has sent; a message that begins with a field is about that one."""
    message = " ".join(str(error).split())
    said = message.removeprefix(f"sample {ASKED!r}: ")
    named = _FIELD.match(said)
    parameter = named[0] if named else ("messages" if said != message else None)
    return ApiError(HTTPStatus.BAD_REQUEST, said, "invalid_value", parameter)


def _check_fields(fields: dict[str, Any]) -> None:
    """Refuses what would change the answer and does not: it is better said than ignored."""
    for name, value in fields.items():
        if name in _ONLY:
            if value != _ONLY[name]:
                raise DataError(f"{name}: {json.dumps(value)[:80]} is not served, only {json.dumps(_ONLY[name])}")
        elif name not in _READ | _NO_MATTER:
            near = nearest(name, _READ | _NO_MATTER | set(_ONLY))
            raise DataError(f"{name[:80]}: no such field is served{near}")


def _max_tokens(fields: dict[str, Any], limits: Limits) -> int | None:
    """Of either name, the older one and the newer one."""
    for name in ("max_completion_tokens", "max_tokens"):
        if name in fields:
            count = integer(fields[name], name, 1)
            if count > limits.new_tokens:
                raise DataError(f"{name}: {count}, at most {limits.new_tokens} are served")
            return count
    return None


def _flag(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise DataError(f"{where}: expected true or false, got {json.dumps(value)[:40]}")
    return value


# --- messages -------------------------------------------------------------------------------------------------------


def _sample(messages: list[Any], limits: Limits, hosts: Set[str]) -> RegionSample:
    if len(messages) % 2 == 0:
        raise DataError(f"messages: {len(messages)}, the last has to be a question of the user's")
    content = _Content(limits, hosts)
    for number, message in enumerate(messages):
        content.texts.append(_message(message, number, content))
        _check_size(content)
    for number, said in enumerate(content.texts):
        check_mentions(said, len(content.regions), f"messages[{number}].content")
    questions, answers = content.texts[::2], [*content.texts[1::2], ""]
    media = Frames(tuple(content.images)) if content.images else NoPicture()
    turns = tuple(Turn(question, answer) for question, answer in zip(questions, answers, strict=True))
    sample = RegionSample(ASKED, media, tuple(content.regions), turns)
    check_sample(sample)
    return sample


def _message(value: object, number: int, content: _Content) -> str:
    """The text of a message; its images and regions are put down in `content`."""
    where = f"messages[{number}]"
    fields = {name: item for name, item in mapping(value, where).items() if item is not None}
    # an answer that is sent back comes with what it was answered with
    known_keys(fields, {"role", "content", "name", "mentions", "annotations"}, where)
    role, expected = member(fields, "role", where), _ROLES[number % 2]
    if role != expected:
        raise DataError(
            f"{where}.role: {json.dumps(role)[:40]}, where {expected!r} has to speak; there is no other role"
        )
    said, where = member(fields, "content", where), f"{where}.content"
    parts = [{"type": "text", "text": said}] if isinstance(said, str) else array(said, where)
    found = (_part(part, f"{where}[{place}]", number, content) for place, part in enumerate(parts))
    return filled("\n".join(line for line in found if line is not None), where)


def _part(value: object, where: str, message: int, content: _Content) -> str | None:
    """The text of one part, if it is one."""
    part = mapping(value, where)
    kind = member(part, "type", where)
    if kind == "text":
        known_keys(part, {"type", "text"}, where)
        return text(member(part, "text", where), f"{where}.text")
    if message % 2:
        raise DataError(f"{where}.type: {json.dumps(kind)[:40]}, the assistant says text alone")
    if kind == "image_url":
        known_keys(part, {"type", "image_url"}, where)
        _add_image(mapping(member(part, "image_url", where), f"{where}.image_url"), where, message, content)
    elif kind == "regions":
        known_keys(part, {"type", "regions"}, where)
        values = array(member(part, "regions", where), f"{where}.regions")
        content.regions += [parse_region(one, f"{where}.regions[{place}]") for place, one in enumerate(values)]
    else:
        raise DataError(f"{where}.type: {json.dumps(kind)[:40]} is none of text, image_url, regions")
    return None


def _add_image(image: dict[str, Any], where: str, message: int, content: _Content) -> None:
    known_keys(image, {"url", "detail"}, f"{where}.image_url")
    if image.get("detail", "auto") != "auto":
        raise DataError(f"{where}.image_url.detail: the model alone says how images are read, only 'auto' is served")
    if message:
        raise DataError(f"{where}: an image stands before the first question, this is message {message}")
    if len(content.images) == content.limits.images:
        raise DataError(f"{where}: more than {content.limits.images} images")
    url = text(member(image, "url", f"{where}.image_url"), f"{where}.image_url.url")
    content.images.append(image_at(url, f"{where}.image_url.url", content.limits, content.hosts))


def _check_size(content: _Content) -> None:
    for name, count, most in (
        ("characters", sum(map(len, content.texts)), content.limits.characters),
        ("regions", len(content.regions), content.limits.regions),
    ):
        if count > most:
            raise DataError(f"messages: {count:,} {name}, at most {most:,} are read")
