"""The client against a server on the loopback: what goes out, what comes back, and every way in which it fails."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
from PIL import Image

from chat_models import shown
from datamodules.errors import DataError
from datamodules.regvid import openai_model
from datamodules.regvid.completions import ChatAnswer, answer_in, usage_in
from datamodules.regvid.models import CallError, ChatRequest, Received
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


def ask(model: OpenAIModel, request: ChatRequest = REQUEST) -> Received:
    async def once() -> Received:
        try:
            return await model.send(request)
        finally:
            await model.close()

    return asyncio.run(once())


def test_a_question_goes_out_as_the_api_wants_it(server: Server) -> None:
    received = ask(model(server, extra={"seed": 3}))
    assert answer_in(received) == ChatAnswer("A ball.")
    assert usage_in(received) == (11, 4)
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
    ask(model(server, image_format=form), ChatRequest("", "What?", shown(*pictures)))
    parts = server.received[0]["messages"][1]["content"]
    assert [part["type"] for part in parts] == ["image_url", "image_url", "text"]
    for part, picture in zip(parts, pictures, strict=False):
        kind, data = part["image_url"]["url"].split(",")
        assert kind == f"data:image/{form};base64"
        sent = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
        assert np.abs(sent.astype(int) - picture).max() <= most


def test_what_came_back_is_handed_on_as_it_came(server: Server) -> None:
    """Status, headers and body, whatever they are: looking at them is not the client's business."""
    for status, content in [(200, b"<html>"), (200, b'{"id": "1", "choi'), (200, b"\xff"), (429, b"{}"), (302, b"")]:
        server.reply = lambda handler, status=status, content=content: send(handler, status, content, X_Left="7")
        received = ask(model(server))
        assert (received.status, received.body, received.broken) == (status, content, "")
        assert received.headers["x-left"] == "7"
    assert len(server.received) == 5


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


def test_half_a_body_is_kept_as_what_it_is(server: Server) -> None:
    server.reply = truncated
    received = ask(model(server))
    assert received.body == json.dumps(body()).encode()[:-20]
    assert "connection" in received.broken
    with pytest.raises(CallError, match="connection") as failed:
        answer_in(received)
    assert failed.value.charged


def test_a_body_without_end_is_not_waited_for(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_model, "LONGEST_BODY", 1000)
    server.reply = lambda handler: send(handler, 200, body("x" * 100_000))
    assert len(ask(model(server)).body) == 1000


def test_a_reset_connection_may_have_cost(server: Server) -> None:
    server.reply = reset
    with pytest.raises(CallError, match="connection") as failed:
        ask(model(server))
    assert failed.value.charged
    assert len(server.received) == 1, "the client repeats none"


@pytest.mark.parametrize("reply", [slow, trickle])
def test_a_call_is_given_up_after_its_time(reply: Callable[[BaseHTTPRequestHandler], None], server: Server) -> None:
    server.reply = reply
    started = time.monotonic()
    with pytest.raises(CallError, match=r"no answer within 0\.2 s") as failed:
        ask(model(server, timeout=0.2))
    assert failed.value.charged
    assert time.monotonic() - started < 1.5


def test_no_server_is_a_failed_call() -> None:
    with pytest.raises(CallError, match="connection") as failed:
        ask(OpenAIModel("m", base_url="http://127.0.0.1:9/v1", api_key_env=None))
    assert not failed.value.charged, "nothing was sent"


@pytest.mark.parametrize("key", [f"{KEY}\n", f"{KEY}\r\n", f"  {KEY} "])
def test_a_key_from_a_file_is_taken_without_its_end(key: str, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's error held the key's `repr`: it was on the terminal and in every row of the journal."""
    monkeypatch.setenv("REGVID_TEST_KEY", key)
    keyed = model(server)
    keyed.check()
    ask(keyed)
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert {key, KEY, repr(key)[1:-1]} <= set(keyed.secrets)


@pytest.mark.parametrize("key", ["sk-\xfcber", "sk one", "sk-\x07", "sk-\u200b1", "\n"])
def test_a_key_that_no_header_can_hold_is_one_line_without_it(
    key: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGVID_TEST_KEY", key)
    with pytest.raises(DataError, match="REGVID_TEST_KEY holds") as failed:
        model(server).check()
    assert key.strip() == "" or key not in str(failed.value)
    assert "\n" not in str(failed.value)


def test_the_clients_own_errors_hold_no_key(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    keyed = model(server)

    def fields(request: ChatRequest) -> dict[str, Any]:
        raise ValueError(f"Illegal header value b'Bearer {KEY}'")

    monkeypatch.setattr(keyed, "_fields", fields)
    with pytest.raises(CallError, match=r"Bearer \*\*\*") as failed:
        ask(keyed)
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


def test_an_address_without_a_scheme_is_one_line() -> None:
    with pytest.raises(DataError, match="localhost:8000/v1 must begin with http"):
        OpenAIModel("m", base_url="localhost:8000/v1", api_key_env=None).check()


def test_prices_and_limits_are_checked() -> None:
    with pytest.raises(DataError, match="-1"):
        OpenAIModel("m", price_in=-1)
    assert OpenAIModel("m", price_in=2.0, price_out=8.0).usage(500_000, 250_000).money == 3.0


def test_a_server_is_its_address_or_what_it_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands in the address beside that is secret or says nothing; a port of the loopback may be another's."""
    urls = [
        "http://127.0.0.1:8000/v1",
        "http://127.0.0.1:8001/v1",
        "https://me:sk-1@Some.Host/v1/",
        "https://some.host/v1",
    ]
    assert [OpenAIModel("m", base_url=url).server for url in urls] == [
        "127.0.0.1:8000/v1", "127.0.0.1:8001/v1", "some.host/v1", "some.host/v1",
    ]  # fmt: skip
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert OpenAIModel("m").server == "api.openai.com/v1"
    monkeypatch.setenv("OPENAI_BASE_URL", urls[3])
    assert OpenAIModel("m").server == "some.host/v1"
    assert OpenAIModel("m", base_url=urls[0], server="mine").server == "mine"
