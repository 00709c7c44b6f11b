"""What the stages ask and what comes back: the one thing a chat model has to do."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError
from datamodules.regvid.image_tokens import Detail, ImageTokens, known

Role: TypeAlias = Literal["describe", "split", "judge", "rewrite", "instruct"]
"""What a model is asked to do: one request each, and each may go to another model."""

ROLES: tuple[Role, ...] = get_args(Role)

LOOKING: tuple[Role, ...] = ("describe", "judge")
"""The roles that are shown pictures."""

Image: TypeAlias = NDArray[np.uint8]

_CHARACTERS_A_TOKEN = 4.5
"""Of English prose, in the larger vocabularies."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """Images that are known by what they are made of, and made when somebody looks at them.

    Attributes:
        name: Which media, how they are shown and what is drawn on them: it tells images apart as pixels would, which
            differ from one version of a decoder to the next.
        sizes: (height, width) of each in pixels.
        load: Makes them, (H, W, 3) uint8 RGB each, in temporal order; raises `DataError` if it cannot.
    """

    name: str = ""
    sizes: tuple[tuple[int, int], ...] = ()
    load: Callable[[], Sequence[Image]] = tuple

    @classmethod
    def of(cls, images: Sequence[Image]) -> Pictures:
        """Images that are there already, known by their pixels."""
        digest = hashlib.sha256()
        for image in images:
            digest.update(repr(image.shape).encode() + image.tobytes())
        sizes = tuple((image.shape[0], image.shape[1]) for image in images)
        return cls(digest.hexdigest() if images else "", sizes, lambda: images)

    def __len__(self) -> int:
        return len(self.sizes)

    def __iter__(self) -> Iterator[Image]:
        return iter(self.load())


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One question to a model.

    Attributes:
        system: What it is and how it shall answer.
        text: The question; it stands behind the images.
        images: What is shown.
        max_tokens: Most tokens of the answer.
        temperature: Of sampling; 0 takes the likeliest.
        schema: The form of its answer as a JSON schema, strict in OpenAI's sense; None for plain text.
    """

    system: str
    text: str
    images: Pictures = field(default_factory=Pictures)
    max_tokens: int = 2048
    temperature: float = 0.0
    schema: Mapping[str, Any] | None = None


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


@dataclass(frozen=True)
class Batching:
    """Calls that go together, for less money and within a day.

    Args:
        price: Share of the usual prices.
        quiet: A batch is sent when nothing more was asked for so many seconds.
        poll: Seconds between two looks whether it is done.
        most: Most calls of a batch.
        most_mib: Most MiB of its file.
    """

    price: float = 0.5
    quiet: float = 20.0
    poll: float = 60.0
    most: int = 10_000
    most_mib: int = 90

    def __post_init__(self) -> None:
        if min(self.price, self.quiet, self.poll) < 0 or min(self.most, self.most_mib) < 1:
            raise DataError(f"batching: {self}: most and most_mib are at least 1, the others at least 0")


def words_in_tokens(text: str) -> float:
    """About how many tokens a text is."""
    return len(text) / _CHARACTERS_A_TOKEN


class ChatModel(ABC):
    """A model behind one call. A configuration names an implementation by its class path.

    Attributes:
        model: Its name, part of what an answer is filed under.
        server: Who runs it, part of that as well: a model of the same name elsewhere is another one.
        options: Whatever else its answers depend on, JSON values only.
        max_tokens: Most tokens of an answer.
        temperature: Of sampling; None leaves it to the server.
        detail: How closely pictures are looked at; None leaves it to the server.
        image_tokens: The rule by which pictures are billed; None is that of the model's name.
        price_in: Of a million tokens of prompt.
        price_out: Of a million tokens of answer.
        most_images: Most pictures of a request; None for any number.
        batching: Whether and how its calls go together; None sends each at once.
        price_cached: Of a million tokens of prompt that are in the server's cache; None is what the others cost.
    """

    model: str
    server: str = ""
    options: Mapping[str, Any] = {}
    max_tokens: int = 2048
    temperature: float | None = 0.0
    detail: Detail | None = None
    image_tokens: ImageTokens | None = None
    price_in: float = 0.0
    price_out: float = 0.0
    price_cached: float | None = None
    most_images: int | None = None
    batching: Batching | None = None

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

    def check_request(self, request: ChatRequest) -> None:
        """Raises a `DataError` for one that the server is known not to take."""
        if self.most_images is not None and len(request.images) > self.most_images:
            raise DataError(
                f"model {self.model} takes at most {self.most_images} images a request, {len(request.images)} are to "
                "be shown: mark.frames is what describe shows, regvid.judge_frames what judge does"
            )

    def format_of(self, request: ChatRequest) -> Mapping[str, Any] | None:
        """How the server is told of the form of the answer; part of what an answer is filed under."""
        return None

    @property
    def rule(self) -> ImageTokens:
        """How many tokens of prompt a picture is."""
        return self.image_tokens or known(self.model)

    def estimated_tokens(self, request: ChatRequest) -> int:
        """About how many tokens of prompt a request is; tokenizers differ in what they make of words."""
        pictures = sum(self.rule(size, self.detail) for size in request.images.sizes)
        return round(words_in_tokens(request.system + request.text) + pictures)

    def usage(self, prompt_tokens: int, completion_tokens: int, cached: int = 0, batched: bool = False) -> Usage:
        """Those tokens at this model's prices; `cached` of the prompt's were in the server's cache."""
        dear = (prompt_tokens - cached) * self.price_in + completion_tokens * self.price_out
        price_cached = self.price_in if self.price_cached is None else self.price_cached
        share = (self.batching or Batching()).price if batched else 1.0
        return Usage(prompt_tokens, completion_tokens, share * (dear + cached * price_cached) / 1e6)


class BatchModel(ChatModel):
    """A model whose calls can go together, to be answered within a day."""

    @abstractmethod
    def line(self, name: str, request: ChatRequest) -> bytes:
        """A request under a name of its own, as a line of what `submit` sends."""

    @abstractmethod
    async def submit(self, name: str, lines: Sequence[bytes]) -> str:
        """Sends a batch under a name of ours, once; gives the server's. Errors are those of `send`, here and below."""

    @abstractmethod
    async def find(self, name: str) -> str | None:
        """The server's name of a batch that was sent under one of ours; None if there is none."""

    @abstractmethod
    async def collect(self, batch: str) -> Mapping[str, Received] | None:
        """What came back by the names of the requests, when that is all; None before."""


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
