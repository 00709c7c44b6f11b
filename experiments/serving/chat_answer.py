"""Answers as bodies of chat completions, whole or in chunks, and which regions they mention."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from datamodules.errors import DataError
from datamodules.prompting.placeholders import PLACEHOLDER, region_number
from datamodules.reading.geometry import dump_geometry
from datamodules.types import Region
from lightning_modules.generation.streaming import StreamedAnswer

DONE = "data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """The answer to one request.

    Attributes:
        model: Its name.
        answer: What is said.
        regions: Of the conversation.
        prompt_tokens: Tokens before the answer, visual ones among them.
        warnings: What was perhaps not meant.
    """

    model: str
    answer: StreamedAnswer
    regions: Sequence[Region]
    prompt_tokens: int
    warnings: Sequence[str]
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def whole(self) -> dict[str, Any]:
        """The body of a chat completion."""
        message = {"role": "assistant", "content": self.answer.text, "refusal": None, **self._mentions}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self.answer.finish}
        return {**self._head("chat.completion"), "choices": [choice], "usage": self.usage, **self._warned}

    def chunk(self, piece: str) -> str:
        """The event of one piece of text."""
        return self._event({"content": piece})

    @property
    def first(self) -> str:
        """The event before all pieces."""
        return self._event({"role": "assistant", "content": ""}, **self._warned)

    @property
    def last(self) -> str:
        """The event behind all pieces."""
        return self._event(self._mentions, self.answer.finish)

    @property
    def counted(self) -> str:
        """The event that counts tokens."""
        return _sent({**self._head("chat.completion.chunk"), "choices": [], "usage": self.usage})

    @property
    def usage(self) -> dict[str, int]:
        """The tokens of prompt and answer."""
        said = len(self.answer.ids)
        total = self.prompt_tokens + said
        return {"prompt_tokens": self.prompt_tokens, "completion_tokens": said, "total_tokens": total}

    @property
    def _mentions(self) -> dict[str, Any]:
        return {"mentions": mentions_in(self.answer.text, self.regions)}

    @property
    def _warned(self) -> dict[str, Any]:
        return {"warnings": list(self.warnings)} if self.warnings else {}

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}

    def _event(self, delta: dict[str, Any], finish: str | None = None, **more: Any) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _sent({**self._head("chat.completion.chunk"), "choices": [choice], **more})


def failed(body: dict[str, Any]) -> str:
    """The event of an error behind the first piece."""
    return _sent(body)


def _sent(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value)}\n\n"


def mentions_in(answer: str, regions: Sequence[Region]) -> list[dict[str, Any]]:
    """Each mention: the region's number, the characters [start, end) of the text, and where it is pointed at first.

    What reads like a mention of a region that is not there is text.
    """
    found = []
    for mention in PLACEHOLDER.finditer(answer):
        try:
            number = region_number(mention[1], len(regions))
        except DataError:
            continue
        frame, geometry = min(regions[number].prompts.items(), key=lambda prompt: prompt[0])
        place = {"region": number, "start": mention.start(), "end": mention.end(), "frame": frame}
        found.append({**place, **dump_geometry(geometry)})
    return found
