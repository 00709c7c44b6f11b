"""The client against a server on the loopback: what goes out, what comes back, and every way in which it fails."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datamodules.errors import DataError
from datamodules.regvid.models import CallError, ChatAnswer, ChatRequest, RejectedError
from datamodules.regvid.openai_model import OpenAIModel

KEY = "sk-not-to-be-seen-anywhere"
REQUEST = ChatRequest("Be brief.", "What is it?", max_tokens=50, temperature=0.5)


def body(content: str | None = "A ball.", finish: str = "stop", **message: Any) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": content, **message}}
    usage = {"prompt_tokens": 11, "completion_tokens": 4, "total_tokens": 15}
    return {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}


class Server:
    """Answers every request by `reply(handler)`, and keeps what it was sent."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.reply: Callable[[BaseHTTPRequestHandler], None] = lambda handler: send(handler, 200, body())
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.headers.append({name.lower(): value for name, value in self.headers.items()})
                outer.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                outer.reply(self)

            def log_message(self, *arguments: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"


def send(handler: BaseHTTPRequestHandler, status: int, content: Any, **headers: str) -> None:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    handler.send_response(status)
    for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(data)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("REGVID_TEST_KEY", KEY)
    made = Server()
    thread = threading.Thread(target=made.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.http.shutdown()
    thread.join()
    made.http.server_close()


def model(server: Server, **options: Any) -> OpenAIModel:
    return OpenAIModel("m", **{"base_url": server.url, "api_key_env": "REGVID_TEST_KEY", "timeout": 5.0, **options})


def ask(model: OpenAIModel, request: ChatRequest = REQUEST) -> ChatAnswer:
    async def once() -> ChatAnswer:
        try:
            return await model.answer(request)
        finally:
            await model.close()

    return asyncio.run(once())


def test_a_question_goes_out_as_the_api_wants_it(server: Server) -> None:
    answer = ask(model(server, extra={"seed": 3}))
    assert answer == ChatAnswer("A ball.", 11, 4)
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is it?"}]
    wanted = {"model": "m", "messages": messages, "max_tokens": 50, "temperature": 0.5, "seed": 3}
    assert server.received == [wanted]
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"


def test_newer_models_want_other_fields(server: Server) -> None:
    ask(model(server, limit="max_completion_tokens", temperature=None))
    assert server.received[0]["max_completion_tokens"] == 50
    assert not {"max_tokens", "temperature"} & set(server.received[0])


@pytest.mark.parametrize(("form", "most"), [("png", 0), ("jpeg", 6)])
def test_images_stand_before_the_text_in_their_order(form: Any, most: int, server: Server) -> None:
    pictures = tuple(np.full((8, 12, 3), level, np.uint8) for level in (20, 200))
    ask(model(server, image_format=form), ChatRequest("", "What?", pictures))
    parts = server.received[0]["messages"][1]["content"]
    assert [part["type"] for part in parts] == ["image_url", "image_url", "text"]
    for part, picture in zip(parts, pictures, strict=False):
        kind, data = part["image_url"]["url"].split(",")
        assert kind == f"data:image/{form};base64"
        sent = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
        assert np.abs(sent.astype(int) - picture).max() <= most


def test_refusals_and_ends_are_told(server: Server) -> None:
    server.reply = lambda handler: send(handler, 200, body(None, refusal="I would rather not."))
    assert ask(model(server)).refusal == "I would rather not."
    server.reply = lambda handler: send(handler, 200, body("", finish="content_filter"))
    assert ask(model(server)).refusal == "filtered"
    server.reply = lambda handler: send(handler, 200, body("A ba", finish="length"))
    assert ask(model(server)) == ChatAnswer("A ba", 11, 4, cut=True)
    server.reply = lambda handler: send(handler, 200, body(None))
    assert ask(model(server)).text == ""


def test_tokens_are_estimated_where_the_server_counts_none(server: Server) -> None:
    server.reply = lambda handler: send(handler, 200, body("x" * 40) | {"usage": None})
    assert ask(model(server), ChatRequest("", "y" * 80)) == ChatAnswer("x" * 40, 20, 10)


def truncated(handler: BaseHTTPRequestHandler) -> None:
    data = json.dumps(body()).encode()
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data[:-20])


def reset(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.close()


def slow(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(0.5)


def trickle(handler: BaseHTTPRequestHandler) -> None:
    """Each piece comes in time, all of them do not."""
    handler.send_response(200)
    handler.end_headers()
    try:
        for _ in range(20):
            handler.wfile.write(b" ")
            time.sleep(0.05)
    except OSError:
        return


def test_half_a_character_is_no_reason_to_lose_an_answer(server: Server) -> None:
    """A model that is cut in the middle of an emoji; sqlite takes no lone surrogate."""
    server.reply = lambda handler: send(handler, 200, body("A ball \ud83d."))
    assert ask(model(server)).text == "A ball ?."


FAILING: dict[str, tuple[Callable[[BaseHTTPRequestHandler], None], str, bool]] = {
    "429": (lambda handler: send(handler, 429, {"error": {"message": "slow down"}}), "429", False),
    "500": (lambda handler: send(handler, 500, {"error": {"message": "oh"}}), "500", False),
    "503 in html": (lambda handler: send(handler, 503, b"<html>gone"), "503", False),
    "408": (lambda handler: send(handler, 408, {}), "408", False),
    "truncated": (truncated, "connection", True),
    "half a json": (lambda handler: send(handler, 200, b'{"id": "1", "choi'), "body", True),
    "no choices": (lambda handler: send(handler, 200, body() | {"choices": []}), "no message", True),
    "an error with status 200": (
        lambda handler: send(handler, 200, {"error": {"message": "busy"}}),
        "no message",
        True,
    ),
    "a list": (lambda handler: send(handler, 200, []), "no message", True),
    "text": (lambda handler: send(handler, 200, b"hello", Content_Type="text/plain"), "no message", True),
    "reset": (reset, "connection", True),
}


@pytest.mark.parametrize("fault", FAILING)
def test_a_call_that_brings_no_answer_is_one_call(fault: str, server: Server) -> None:
    """One request went out, the client repeats none; the error says what happened and whether it may have cost."""
    server.reply, named, charged = FAILING[fault]
    with pytest.raises(CallError, match=named) as failed:
        ask(model(server))
    assert not isinstance(failed.value, RejectedError)
    assert failed.value.charged is charged
    assert len(server.received) == 1


@pytest.mark.parametrize("reply", [slow, trickle])
def test_a_call_is_given_up_after_its_time(reply: Callable[[BaseHTTPRequestHandler], None], server: Server) -> None:
    server.reply = reply
    started = time.monotonic()
    with pytest.raises(CallError, match=r"no answer within 0\.2 s") as failed:
        ask(model(server, timeout=0.2))
    assert failed.value.charged
    assert time.monotonic() - started < 1.5


def test_no_server_is_a_failed_call() -> None:
    with pytest.raises(CallError, match="connection"):
        ask(OpenAIModel("m", base_url="http://127.0.0.1:9/v1", api_key_env=None))


@pytest.mark.parametrize(
    ("header", "least", "most"), [("7", 7, 7), ("0.5", 0.5, 0.5), ("date", 25, 30), ("soon", -1, -1)]
)
def test_the_server_says_how_long_to_wait(header: str, least: float, most: float, server: Server) -> None:
    value = formatdate(time.time() + 30, usegmt=True) if header == "date" else header
    server.reply = lambda handler: send(handler, 429, {}, Retry_After=value)
    with pytest.raises(CallError) as failed:
        ask(model(server))
    assert least <= (-1 if failed.value.wait is None else failed.value.wait) <= most


def test_a_request_that_is_never_answered_is_rejected(server: Server) -> None:
    server.reply = lambda handler: send(handler, 400, {"error": {"message": "too many images"}})
    with pytest.raises(RejectedError, match="too many images"):
        ask(model(server))


@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_is_wrong_with_the_setup_is_one_line_without_the_key(status: int, server: Server) -> None:
    server.reply = lambda handler: send(handler, status, {"error": {"message": f"no such key:\n{KEY}"}})
    with pytest.raises(DataError, match="REGVID_TEST_KEY") as failed:
        ask(model(server))
    assert KEY not in str(failed.value)
    assert "\n" not in str(failed.value)


def test_the_key_is_cleared_from_whatever_the_server_says(server: Server) -> None:
    server.reply = lambda handler: send(handler, 200, body(f"Your key is {KEY}.", refusal=f"{KEY}!"))
    answer = ask(model(server))
    assert (answer.text, answer.refusal) == ("Your key is ***.", "***!")
    server.reply = lambda handler: send(handler, 500, {"error": {"message": KEY}})
    with pytest.raises(CallError) as failed:
        ask(model(server))
    assert KEY not in str(failed.value)


def test_a_missing_key_is_an_error_before_any_call(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REGVID_TEST_KEY")
    with pytest.raises(DataError, match="REGVID_TEST_KEY holds no API key"):
        model(server).check()
    with pytest.raises(DataError, match="REGVID_TEST_KEY"):
        ask(model(server))
    assert not server.received
    ask(model(server, api_key_env=None))
    assert server.received


def test_the_key_is_in_no_attribute(server: Server) -> None:
    assert KEY not in repr(vars(model(server)))


def test_prices_and_limits_are_checked() -> None:
    with pytest.raises(DataError, match="-1"):
        OpenAIModel("m", price_in=-1)
    assert OpenAIModel("m", price_in=2.0, price_out=8.0).usage(500_000, 250_000).money == 3.0
