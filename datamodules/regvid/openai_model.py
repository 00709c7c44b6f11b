"""Any model behind the OpenAI-compatible chat API: a hosted one, or a local server such as vLLM or Ollama."""

from __future__ import annotations

import asyncio
import base64
import email.utils
import io
import json
import os
import time
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from datamodules.errors import DataError
from datamodules.regvid.models import CallError, ChatAnswer, ChatModel, ChatRequest, Image, RejectedError

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI
    from openai.types.chat import ChatCompletion

ImageFormat: TypeAlias = Literal["png", "jpeg"]
Limit: TypeAlias = Literal["max_tokens", "max_completion_tokens"]

_PASSING = {408, 409, 425, 429}
_OF_THE_SETUP = {401, 403, 404}
_LONGEST_REASON = 300


class OpenAIModel(ChatModel):
    """A model reached through the `openai` client.

    The API key is read from the environment when the first call is made. It is in no configuration, and what the
    server says is cleared of it before anybody sees it.

    Args:
        model: Its name there.
        base_url: Address of the API, such as http://localhost:8000/v1; that of OPENAI_BASE_URL, else OpenAI's, if left
            out.
        api_key_env: Name of the environment variable that holds the key; null for a server that wants none.
        price_in: Of a million tokens of prompt; 0 is free.
        price_out: Of a million tokens of answer.
        timeout: Seconds until a call is given up.
        max_tokens: Most tokens of an answer.
        temperature: Of sampling; 0 takes the likeliest. Null leaves it to the server: some models allow no other.
        limit: What the API calls the most tokens of an answer: OpenAI's newer models want `max_completion_tokens`.
        image_format: How frames are sent; `png` loses nothing.
        extra: Further fields of the request, such as `{seed: 1, reasoning_effort: low}`.
    """

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        api_key_env: str | None = "OPENAI_API_KEY",
        price_in: float = 0.0,
        price_out: float = 0.0,
        timeout: float = 120.0,
        max_tokens: int = 2048,
        temperature: float | None = 0.0,
        limit: Limit = "max_tokens",
        image_format: ImageFormat = "jpeg",
        extra: dict[str, Any] | None = None,
    ) -> None:
        if min(price_in, price_out) < 0 or timeout <= 0 or max_tokens < 1:
            raise DataError(f"model {model}: prices {price_in} and {price_out}, timeout {timeout}, {max_tokens} tokens")
        self.model = model
        self.base_url = base_url
        self.api_key_env = api_key_env
        self.price_in = price_in
        self.price_out = price_out
        self.timeout = timeout
        self.max_tokens = max_tokens
        self.temperature = temperature or 0.0
        self.sends_temperature = temperature is not None
        self.limit: Limit = limit
        self.image_format: ImageFormat = image_format
        self.extra = extra or {}
        self.options: Mapping[str, Any] = {
            "image_format": image_format,
            "sends_temperature": self.sends_temperature,
            "extra": self.extra,
        }

    def check(self) -> None:
        """Raises a `DataError` if there is no key where one is wanted."""
        if self.api_key_env is not None and not os.environ.get(self.api_key_env):
            raise DataError(
                f"model {self.model}: the environment variable {self.api_key_env} holds no API key; "
                "a server that wants none has api_key_env: null"
            )

    async def answer(self, request: ChatRequest) -> ChatAnswer:
        """One HTTP request; see `ChatModel.answer`."""
        import openai

        try:
            # the client's own time-out is for each piece of the body, however many there are
            async with asyncio.timeout(self.timeout):
                completion = await self._client.chat.completions.create(**self._fields(request))
        except (TimeoutError, openai.APITimeoutError):
            raise CallError(f"no answer within {self.timeout:g} s", charged=True) from None
        except openai.APIStatusError as error:
            raise self._refused(error) from None
        except openai.APIConnectionError as error:
            raise CallError(self._clean(f"connection: {error.__cause__ or error}"), charged=True) from None
        except (json.JSONDecodeError, UnicodeDecodeError, openai.APIError) as error:
            raise CallError(self._clean(f"broken body: {error}"), charged=True) from None
        return self._read(completion, request)

    async def close(self) -> None:
        """Closes the connections; a later call opens new ones."""
        if client := self.__dict__.pop("_client", None):
            await client.close()

    @cached_property
    def _client(self) -> AsyncOpenAI:
        from openai import AsyncOpenAI

        self.check()
        # a retry of the client's own would be a call that nobody counts
        return AsyncOpenAI(api_key=self._key or "none", base_url=self.base_url, max_retries=0, timeout=self.timeout)

    @property
    def _key(self) -> str:
        return os.environ.get(self.api_key_env, "") if self.api_key_env is not None else ""

    def _fields(self, request: ChatRequest) -> dict[str, Any]:
        content: list[dict[str, Any]] = [
            {"type": "image_url", "image_url": {"url": _data_url(image, self.image_format)}} for image in request.images
        ]
        content.append({"type": "text", "text": request.text})
        messages = [
            {"role": "system", "content": request.system},
            {"role": "user", "content": content if request.images else request.text},
        ]
        fields = {"model": self.model, "messages": messages, self.limit: request.max_tokens}
        if self.sends_temperature:
            fields["temperature"] = request.temperature
        return fields | ({"extra_body": self.extra} if self.extra else {})

    def _refused(self, error: APIStatusError) -> Exception:
        """What a status other than 200 means for the call."""
        reason = self._clean(f"status {error.status_code}: {error.message}")
        if error.status_code in _PASSING or error.status_code >= 500:
            return CallError(reason, wait=_retry_after(error.response.headers))
        if error.status_code in _OF_THE_SETUP:
            key = f"the key in {self.api_key_env}" if self.api_key_env else "no key"
            return DataError(f"model {self.model} at {error.request.url.host} with {key}: {reason}")
        return RejectedError(reason)

    def _read(self, completion: ChatCompletion, request: ChatRequest) -> ChatAnswer:
        """The answer of a body that has one; the client checks no body."""
        try:
            choice = completion.choices[0]
            text, refusal = str(choice.message.content or ""), str(getattr(choice.message, "refusal", None) or "")
            finish = choice.finish_reason
            usage = completion.usage
        except (AttributeError, IndexError, TypeError):
            raise CallError("broken body: no message in it", charged=True) from None
        if finish == "content_filter" and not refusal:
            refusal = "filtered"
        counted = request.estimated_tokens(), ChatRequest("", text).estimated_tokens()
        if usage is not None:
            counted = usage.prompt_tokens or counted[0], usage.completion_tokens or counted[1]
        return ChatAnswer(self._cleared(text), *counted, self._cleared(refusal), finish == "length")

    def _clean(self, reason: str) -> str:
        return self._cleared(" ".join(reason.split()))[:_LONGEST_REASON]

    def _cleared(self, text: str) -> str:
        """Without the key, should a server have echoed it, and without half characters, which no file can hold."""
        whole = text.encode("utf-8", "replace").decode()
        return whole.replace(self._key, "***") if self._key else whole


def _data_url(image: Image, image_format: ImageFormat) -> str:
    from PIL import Image as Pillow

    file = io.BytesIO()
    # full colour resolution: a mark's thin coloured edge would fade
    options = {"quality": 90, "subsampling": 0} if image_format == "jpeg" else {}
    Pillow.fromarray(image).save(file, image_format, **options)
    return f"data:image/{image_format};base64,{base64.b64encode(file.getvalue()).decode()}"


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait as the server says, in seconds or as a date; None if it says nothing that can be read."""
    value = headers.get("retry-after", "")
    try:
        return max(0.0, float(value))
    except ValueError:
        date = email.utils.parsedate_tz(value)
        return None if date is None else max(0.0, email.utils.mktime_tz(date) - time.time())
