"""Any model behind the OpenAI-compatible chat API: a hosted one, or a local server such as vLLM or Ollama."""

from __future__ import annotations

import asyncio
import base64
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from datamodules.errors import DataError
from datamodules.regvid import openai_batches
from datamodules.regvid.completions import LONGEST_REASON, answer_in
from datamodules.regvid.image_tokens import Detail, ImageTokens
from datamodules.regvid.keys import forms_of, hide, key_in
from datamodules.regvid.models import Batching, BatchModel, CallError, ChatRequest, Image, Received, RejectedError

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncAPIResponse, AsyncOpenAI

ImageFormat: TypeAlias = Literal["png", "jpeg"]
ResponseFormat: TypeAlias = Literal["json_object", "json_schema"]
Limit: TypeAlias = Literal["max_tokens", "max_completion_tokens"]

LONGEST_BODY = 8 * 2**20
"""Bytes of a response; what comes behind is not waited for."""

_OPENAI = "https://api.openai.com/v1"

_UNSENT = {"ConnectError", "ConnectTimeout", "PoolTimeout", "LocalProtocolError", "UnsupportedProtocol", "InvalidURL"}


@dataclass(eq=False)
class OpenAIModel(BatchModel):
    """A model reached through the `openai` client.

    The API key is read from the environment. It is in no configuration, and what the server says is cleared of it
    before anybody sees it.

    Args:
        model: Its name there.
        base_url: Address of the API, such as http://localhost:8000/v1; that of OPENAI_BASE_URL, else OpenAI's, if left
            out.
        server: Name of who answers there, part of what an answer is filed under: another server's answers are never
            taken for this one's. The address if left out; a name of its own goes on where the address changes.
        api_key_env: Name of the environment variable that holds the key; null for a server that wants none.
        price_in: Of a million tokens of prompt; 0 is free.
        price_out: Of a million tokens of answer.
        price_cached: Of a million tokens of prompt that the server has in its cache; what others cost if left out.
        timeout: Seconds until a call is given up.
        max_tokens: Most tokens of an answer.
        temperature: Of sampling; 0 takes the likeliest. Null leaves it to the server: some models allow no other.
        limit: What the API calls the most tokens of an answer: OpenAI's newer models want `max_completion_tokens`.
        image_format: How frames are sent; `png` loses nothing.
        extra: Further fields of the request, such as `{seed: 1, reasoning_effort: low}`.
        headers: Further headers of all requests; nothing that is secret.
        header_envs: Further headers whose values are in environment variables, by the variables' names.
        stream: Whether answers come in pieces, which some models insist on.
        response_format: How the server is told in which form an answer is wanted, by roles whose answers have one:
            `json_schema` with the form of each role, `json_object` without, or not at all.
        detail: How closely pictures are looked at; left to the server if left out.
        image_tokens: The rule by which pictures are billed; by the model's name if left out.
        most_images: Most pictures of a request; more are an error before any call.
        batching: Sends calls through the batch API, but for the first of a kind; `{}` for its usual options.
    """

    model: str
    base_url: str | None = None
    server: str | None = None  # type: ignore[assignment]  # the address, once it is made
    api_key_env: str | None = "OPENAI_API_KEY"
    price_in: float = 0.0
    price_out: float = 0.0
    timeout: float = 120.0
    max_tokens: int = 2048
    temperature: float | None = 0.0
    limit: Limit = "max_tokens"
    image_format: ImageFormat = "jpeg"
    extra: dict[str, Any] | None = None
    price_cached: float | None = None
    headers: dict[str, str] | None = None
    header_envs: dict[str, str] | None = None
    stream: bool = False
    response_format: ResponseFormat | None = None
    detail: Detail | None = None
    image_tokens: ImageTokens | None = None
    most_images: int | None = None
    batching: Batching | None = None

    def __post_init__(self) -> None:
        prices = self.price_in, self.price_out, self.price_cached or 0
        if min(prices) < 0 or self.timeout <= 0 or self.max_tokens < 1:
            raise DataError(
                f"model {self.model}: prices {self.price_in} and {self.price_out}, timeout {self.timeout}, "
                f"{self.max_tokens} tokens"
            )
        self.base_url = self.base_url or os.environ.get("OPENAI_BASE_URL") or _OPENAI
        self.server = self.server or _address(self.base_url)
        self.options = {
            "image_format": self.image_format,
            "sends_temperature": self.temperature is not None,
            "extra": self.extra or {},
            "detail": self.detail,
        }

    def check(self) -> None:
        """Raises a `DataError` if the address is none, or a key is wanted and there is none that a header can hold."""
        if not str(self.base_url).startswith(("http://", "https://")):
            raise DataError(f"model {self.model}: base_url {self.base_url} must begin with http:// or https://")
        self._key()
        self._headers()

    def format_of(self, request: ChatRequest) -> Mapping[str, Any] | None:
        """See `ChatModel.format_of`."""
        if self.response_format is None or request.schema is None:
            return None
        if self.response_format == "json_object":
            return {"type": "json_object"}
        named = {"name": "answer", "strict": True, "schema": request.schema}
        return {"type": "json_schema", "json_schema": named}

    async def send(self, request: ChatRequest) -> Received:
        """One HTTP request; see `ChatModel.send`."""
        import openai

        # here, since the client imports what it needs when that is asked for, which is no time of the server's
        create = self._client.chat.completions.with_streaming_response.create
        received: Received | None = None
        with self._errors():
            fields = await asyncio.to_thread(self._fields, request)
            try:
                # the client's own time-out is for each piece of the body, however many there are
                async with asyncio.timeout(self.timeout), create(**fields) as response:
                    received = await _read(response)
            except openai.APIStatusError as error:
                return _sent(error)
            except Exception:
                if received is None:
                    raise
        assert received is not None, "nothing was raised"
        return received

    def line(self, name: str, request: ChatRequest) -> bytes:
        """See `BatchModel.line`."""
        return openai_batches.line(name, self._fields(request))

    async def submit(self, name: str, lines: Sequence[bytes]) -> str:
        """See `BatchModel.submit`."""
        with self._errors():
            return await openai_batches.submit(self._client, name, lines)

    async def find(self, name: str) -> str | None:
        """See `BatchModel.find`."""
        with self._errors():
            return await openai_batches.find(self._client, name)

    async def collect(self, batch: str) -> Mapping[str, Received] | None:
        """See `BatchModel.collect`."""
        with self._errors():
            return await openai_batches.collect(self._client, batch)

    @property
    def place(self) -> str:
        """See `ChatModel.place`."""
        key = f"the key in {self.api_key_env}" if self.api_key_env else "no key"
        return f" at {self._client.base_url.host} with {key}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """See `ChatModel.secrets`."""
        variables = filter(None, [self.api_key_env, *(self.header_envs or {}).values()])
        return tuple(form for variable in variables for form in forms_of(variable))

    async def close(self) -> None:
        """Closes the connections; a later call opens new ones."""
        if client := self.__dict__.pop("_client", None):
            await client.close()

    @cached_property
    def _client(self) -> AsyncOpenAI:
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient

        self.check()
        # a retry of the client's own would be a call that nobody counts, and a redirection takes the question elsewhere
        http = DefaultAsyncHttpxClient(follow_redirects=False)
        options: dict[str, Any] = {"max_retries": 0, "timeout": self.timeout, "http_client": http}
        options["default_headers"] = self._headers()
        return AsyncOpenAI(api_key=self._key(), base_url=self.base_url, **options)

    def _key(self) -> str:
        return "none" if self.api_key_env is None else self._secret(self.api_key_env)

    def _headers(self) -> dict[str, str]:
        secret = {name: self._secret(variable) for name, variable in (self.header_envs or {}).items()}
        return {**(self.headers or {}), **secret}

    def _secret(self, variable: str) -> str:
        try:
            return key_in(variable)
        except DataError as error:
            raise DataError(f"model {self.model}: {error}") from None

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """What the client raises as errors of a call, with nothing secret in them."""
        import openai

        try:
            try:
                yield
            except openai.APIStatusError as error:
                answer_in(_sent(error))
                raise CallError(f"status {error.status_code}") from None
        except (TimeoutError, openai.APITimeoutError):
            raise CallError(f"no answer within {self.timeout:g} s", charged=True) from None
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            raise CallError(self._hidden(f"connection: {cause}"), charged=type(cause).__name__ not in _UNSENT) from None
        except (DataError, RejectedError) as error:
            what = "the server takes no such batch: " if isinstance(error, RejectedError) else ""
            raise DataError(self._hidden(f"model {self.model}{self.place}: {what}{error}")) from None
        except CallError as error:
            error.args = (self._hidden(str(error)),)
            raise
        except Exception as error:
            # whatever the client makes of it: the call may have been made
            raise CallError(self._hidden(f"{type(error).__name__}: {error}"), charged=True) from None

    def _hidden(self, reason: str) -> str:
        return hide(" ".join(reason.split()), self.secrets)[:LONGEST_REASON]

    def _fields(self, request: ChatRequest) -> dict[str, Any]:
        detail = {} if self.detail is None else {"detail": self.detail}
        content: list[dict[str, Any]] = [
            {"type": "image_url", "image_url": {"url": data_url(image, self.image_format), **detail}}
            for image in request.images
        ]
        content.append({"type": "text", "text": request.text})
        messages = [
            {"role": "system", "content": request.system},
            {"role": "user", "content": content if request.images else request.text},
        ]
        fields = {"model": self.model, "messages": messages, self.limit: request.max_tokens}
        if self.temperature is not None:
            fields["temperature"] = request.temperature
        if (wanted := self.format_of(request)) is not None:
            fields["response_format"] = wanted
        if self.stream:
            # without being asked a stream says nothing of what it has cost
            fields |= {"stream": True, "stream_options": {"include_usage": True}}
        return fields | ({"extra_body": self.extra} if self.extra else {})


async def _read(response: AsyncAPIResponse[Any]) -> Received:
    """All that comes of a body within bounds; what is missing is told."""
    body = bytearray()
    broken = ""
    try:
        async for piece in response.iter_bytes():
            body += piece
            if len(body) > LONGEST_BODY:
                break
    except TimeoutError:
        raise
    except Exception as error:
        # the client has no common name for all that can happen to a connection
        broken = f"connection: {type(error).__name__}: {error}"
    return Received(response.status_code, dict(response.headers), bytes(body[:LONGEST_BODY]), broken)


def _sent(error: APIStatusError) -> Received:
    """What came with a status that the client takes for an error."""
    return Received(error.status_code, dict(error.response.headers), error.response.content)


def _address(url: str) -> str:
    """Where that is, without what may differ in how it is written, or be secret."""
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2].lower() + parts.path.rstrip("/")


def data_url(image: Image, image_format: ImageFormat) -> str:
    """An image, (H, W, 3) uint8 RGB, as the chat API takes it."""
    from PIL import Image as Pillow

    file = io.BytesIO()
    # full colour resolution: a mark's thin coloured edge would fade
    options = {"quality": 90, "subsampling": 0} if image_format == "jpeg" else {}
    Pillow.fromarray(image).save(file, image_format, **options)
    return f"data:image/{image_format};base64,{base64.b64encode(file.getvalue()).decode()}"
