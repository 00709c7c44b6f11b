"""What the stages ask and what comes back: the one thing a chat model has to do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError

Role: TypeAlias = Literal["describe", "split", "judge", "rewrite", "instruct"]
"""What a model is asked to do: one request each, and each may go to another model."""

ROLES: tuple[Role, ...] = get_args(Role)

Image: TypeAlias = NDArray[np.uint8]

_CHARACTERS_A_TOKEN = 4
_PIXELS_A_TOKEN = 750
_TOKENS_AROUND = 8


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One question to a model.

    Attributes:
        system: What it is and how it shall answer.
        text: The question; it stands behind the images.
        images: (H, W, 3) uint8 RGB each, in temporal order.
        max_tokens: Most tokens of the answer.
        temperature: Of sampling; 0 takes the likeliest.
    """

    system: str
    text: str
    images: tuple[Image, ...] = ()
    max_tokens: int = 2048
    temperature: float = 0.0

    def estimated_tokens(self) -> int:
        """About how many tokens of prompt this is: tokenizers differ, and so do the tokens of an image."""
        text = (len(self.system) + len(self.text)) // _CHARACTERS_A_TOKEN
        pixels = [int(image.shape[0] * image.shape[1]) for image in self.images]
        return text + sum(number // _PIXELS_A_TOKEN + _TOKENS_AROUND for number in pixels)


@dataclass(frozen=True, slots=True)
class Received:
    """What came back of a call, before anybody has looked at it.

    Attributes:
        status: Of HTTP.
        headers: With names in lower case.
        body: As it came.
        broken: Why that is not all of it; empty if it is.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    broken: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of some calls, and what they cost in the unit of the prices."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    money: float = 0.0

    @property
    def tokens(self) -> int:
        """Of prompts and answers together."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.money + other.money,
        )

    def times(self, factor: float) -> Usage:
        """The usage of `factor` as many such calls."""
        tokens = round(self.prompt_tokens * factor), round(self.completion_tokens * factor)
        return Usage(*tokens, self.money * factor)


class CallError(Exception):
    """A call that brought no answer; made again, it may bring one.

    Args:
        reason: What happened, in a few words.
        wait: Seconds after which the server wants to be asked again, if it said so.
        charged: Whether the server may have worked, and charged, for it.
    """

    def __init__(self, reason: str, wait: float | None = None, charged: bool = False) -> None:
        super().__init__(reason)
        self.wait = wait
        self.charged = charged


class BusyError(CallError):
    """The server takes no more calls for the moment."""


class RejectedError(CallError):
    """The server will not take this request, but perhaps another one."""


class ChatModel(ABC):
    """A model behind one call. A configuration names an implementation by its class path.

    Attributes:
        model: Its name, part of what an answer is filed under.
        options: Whatever else its answers depend on, JSON values only.
        max_tokens: Most tokens of an answer.
        temperature: Of sampling.
        price_in: Of a million tokens of prompt.
        price_out: Of a million tokens of answer.
    """

    model: str
    options: Mapping[str, Any] = {}
    max_tokens: int = 2048
    temperature: float = 0.0
    price_in: float = 0.0
    price_out: float = 0.0

    @abstractmethod
    async def send(self, request: ChatRequest) -> Received:
        """Makes one call, and no second one; whatever comes back is handed on unread.

        Returns:
            The body of a chat completion, or of an error; see `datamodules.regvid.completions`.

        Raises:
            CallError: Nothing came.
            DataError: Nor will it ever, as the model is set up.
        """

    @property
    def place(self) -> str:
        """Where it is and by which leave, for an error about its set-up."""
        return ""

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be written."""
        return ()

    def check(self) -> None:  # noqa: B027 - most models need nothing beforehand
        """Raises a `DataError` if the model cannot be reached for a reason that is known without a call."""

    async def close(self) -> None:  # noqa: B027 - most models hold nothing open
        """Lets go of connections."""

    def usage(self, prompt_tokens: int, completion_tokens: int) -> Usage:
        """Those tokens at this model's prices."""
        money = (prompt_tokens * self.price_in + completion_tokens * self.price_out) / 1e6
        return Usage(prompt_tokens, completion_tokens, money)


@dataclass(frozen=True)
class Models:
    """Which model does what.

    Args:
        default: For every role that names none.
        describe: Looks at the marked frames and describes each region.
        split: Turns a description into closed questions; reads text only.
        judge: Answers the questions from the frames without marks; better another model than the describer.
        rewrite: Mends the grammar of a description that something false was cut out of; reads text only.
        instruct: Makes summaries and conversations; reads text only.
    """

    default: ChatModel | None = None
    describe: ChatModel | None = None
    split: ChatModel | None = None
    judge: ChatModel | None = None
    rewrite: ChatModel | None = None
    instruct: ChatModel | None = None

    def of(self, role: Role) -> ChatModel:
        """The model of a role.

        Raises:
            DataError: There is none.
        """
        model: ChatModel | None = getattr(self, role) or self.default
        if model is None:
            raise DataError(f"no model for {role}: set regvid.models.{role}, or regvid.models.default for all")
        return model

    def every(self) -> list[ChatModel]:
        """Each model once."""
        named = [getattr(self, item.name) for item in fields(self)]
        return list({id(model): model for model in named if model is not None}.values())
