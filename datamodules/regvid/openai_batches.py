"""The batch API of OpenAI, as far as its client leaves anything to do: files of requests and of results."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from datamodules.errors import DataError
from datamodules.regvid.models import BusyError, Received

if TYPE_CHECKING:
    from openai import AsyncOpenAI

NAME = "regvid"
"""The key in a batch's metadata under which it has our name."""

_URL: Literal["/v1/chat/completions"] = "/v1/chat/completions"
_ENDED = ("completed", "expired", "cancelled")


def line(name: str, fields: Mapping[str, Any]) -> bytes:
    """A request as a line of a batch's file; nothing comes in pieces there."""
    left_out = ("extra_body", "stream", "stream_options")
    body = {field: value for field, value in fields.items() if field not in left_out} | fields.get("extra_body", {})
    return json.dumps({"custom_id": name, "method": "POST", "url": _URL, "body": body}).encode() + b"\n"


async def submit(client: AsyncOpenAI, name: str, lines: Sequence[bytes]) -> str:
    """Sends a batch; gives the server's name of it. Errors are the client's, here and below."""
    file = await client.files.create(file=(f"{NAME}-{name}.jsonl", b"".join(lines)), purpose="batch")
    batch = await client.batches.create(
        input_file_id=file.id, endpoint=_URL, completion_window="24h", metadata={NAME: name}
    )
    return batch.id


async def find(client: AsyncOpenAI, name: str) -> str | None:
    """The server's name of a batch that was sent; None if it was not."""
    async for batch in client.batches.list(limit=100):
        if (batch.metadata or {}).get(NAME) == name:
            return batch.id
    return None


async def collect(client: AsyncOpenAI, batch: str) -> Mapping[str, Received] | None:
    """What came back, by the names of the requests; None while the server works on it.

    A request that the server did not get to is not in it.

    Raises:
        BusyError: It was not begun, since too much is under way.
        DataError: It was not begun, and will not be.
    """
    state = await client.batches.retrieve(batch)
    if state.status == "failed":
        told = [error for error in (state.errors and state.errors.data) or [] if error.message]
        reason = f"batch {batch} failed: {told[0].message if told else 'the server does not say why'}"
        if any(error.code == "token_limit_exceeded" for error in told):
            raise BusyError(reason)
        raise DataError(reason)
    if state.status not in _ENDED:
        return None
    results: dict[str, Received] = {}
    for file in filter(None, (state.output_file_id, state.error_file_id)):
        results |= _results((await client.files.content(file)).content)
    return results


def _results(content: bytes) -> Iterator[tuple[str, Received]]:
    """By name, of a file of results; what is not a result is left out, and so asked for again."""
    for text in content.splitlines():
        try:
            told = json.loads(text)
            name, response, error = told["custom_id"], told.get("response"), told.get("error")
            if response:
                body = json.dumps(response["body"]).encode()
                yield str(name), Received(int(response["status_code"]), {"content-type": "application/json"}, body)
            elif error and error.get("code") != "batch_expired":
                yield str(name), Received(500, {}, json.dumps({"error": error}).encode())
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
