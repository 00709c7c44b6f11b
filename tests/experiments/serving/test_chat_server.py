"""The server in this process: what it answers is what `ask` answers, and what cannot be answered is one error."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from chatting import BOX, PICTURE, QUESTION, SENT, answer, asking, error, image, regions, served, text
from openai import OpenAI
from starlette.testclient import TestClient

from datamodules.batching.processor import Processed
from datamodules.reading.geometry import dump_geometry
from datamodules.reading.rle import encoded
from datamodules.regvid.openai_model import data_url
from datamodules.types import Box, Polygon, Region, Stroke, Turn
from experiments.serving import answer_queue
from experiments.serving.answer_queue import AnswerQueue, Waiting
from experiments.serving.app import make_app
from experiments.serving.chat_answer import mentions_in
from experiments.serving.limits import Limits
from experiments.serving.listening import serving
from experiments.serving.service import Service
from helpers import sample, tiny_module
from lightning_modules.asking import answer_all, ask
from lightning_modules.generation.streaming import StreamedAnswer
from lightning_modules.region_encoders import TokenMark
from lightning_modules.region_module import RegionModule


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> RegionModule:
    """Its marks are so large that it matters which region is meant."""
    marks = TokenMark(num_marks=8, mark_dim=8, scale=30.0)
    return tiny_module(tmp_path_factory.mktemp("module"), max_new_tokens=5, region_encoder=marks).eval()


@pytest.fixture(scope="module")
def client(module: RegionModule) -> Iterator[TestClient]:
    with served(module) as client:
        yield client


class Gate:
    """Stands before the model: keeps it from answering until it is opened, and writes down what comes."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.asked: list[Processed] = []
        self.answers: list[StreamedAnswer] = []
        self.says: str | None = None
        self.reached = threading.Event()
        self.open = threading.Event()

    def __call__(self, module: RegionModule, asked: Sequence[Processed], answers: Sequence[StreamedAnswer]) -> None:
        self.sizes.append(len(asked))
        self.asked += asked
        self.answers += answers
        if self.says is not None:
            answers[0].hear(self.says)
        self.reached.set()
        assert self.open.wait(300)
        answer_all(module, asked, answers)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate()
    monkeypatch.setattr(answer_queue, "answer_all", gate)
    yield gate
    gate.open.set()


# --- equal to ask ---------------------------------------------------------------------------------------------------


def test_every_kind_of_region_is_answered_as_ask_answers(module: RegionModule, client: TestClient) -> None:
    inside = np.zeros(PICTURE.shape[:2], bool)
    inside[3:9, 4:20] = True
    mask = encoded(inside)
    assert mask is not None
    geometries = [Box((1, 2, 9, 9)), mask, Polygon(((2, 2, 20, 3, 10, 15),)), Stroke((20, 10), 3)]
    question = "Is <region0> <region1> or <region2> <region3>?"
    wanted = ask(module, PICTURE, geometries, question).conversation[-1].answer
    assert answer(client, asking(image(), regions(*map(dump_geometry, geometries)), text(question))) == wanted
    one_by_one = [regions(dump_geometry(geometry)) for geometry in geometries]
    assert answer(client, asking(text(question), *one_by_one, image())) == wanted
    assert wanted != ask(module, PICTURE, geometries[::-1], question).conversation[-1].answer


def test_several_images_are_frames_and_a_region_names_its_own(
    module: RegionModule, client: TestClient, gate: Gate
) -> None:
    """All of them are looked at, also where the model looks at four frames by itself."""
    gate.open.set()
    frames = np.stack([np.roll(PICTURE, 3 * number, 1) for number in range(6)])
    wanted = ask(module, frames, [Region.at(Box((1, 2, 9, 9)), 5)], QUESTION, num_frames=6).conversation[-1].answer
    sent = [image(data_url(frame, "png")) for frame in frames]
    assert answer(client, asking(*sent, regions({"box": BOX, "frame": 5}), text(QUESTION))) == wanted
    assert gate.asked[0].frames == (0, 1, 2, 3, 4, 5)
    assert gate.asked[0].sample.regions[0].prompts == {5: Box((1, 2, 9, 9))}


def test_a_conversation_goes_on(module: RegionModule, client: TestClient) -> None:
    """With the answer as it was sent, extensions and empty fields among it; a region may come with a later question."""
    asked = asking()
    first = client.post("/v1/chat/completions", json=asked).json()["choices"][0]["message"]
    later = [text("And <region1>?"), regions({"box": [3, 3, 20, 20]})]
    # what is asked about two regions names them by number
    asked["messages"][0]["content"][-1] = text("What is <region0>?")
    asked["messages"] += [{**first, "content": first["content"] + " "}, {"role": "user", "content": later}]
    boxes = [Box((1, 2, 9, 9)), Box((3, 3, 20, 20))]
    before = [Turn("What is <region0>?", first["content"] + " ")]
    wanted = ask(module, PICTURE, boxes, "And <region1>?", earlier=before)
    assert answer(client, asked) == wanted.conversation[-1].answer


def test_text_alone_is_answered(module: RegionModule, client: TestClient) -> None:
    body = {"model": "tiny", "messages": [{"role": "user", "content": "Who?"}], "temperature": 0, "stop": None}
    assert isinstance(answer(client, body), str)


def test_fewer_tokens_are_the_beginning(client: TestClient) -> None:
    body = client.post("/v1/chat/completions", json=asking(max_tokens=3)).json()
    choice = body["choices"][0]
    assert choice["finish_reason"] == "length"
    assert answer(client, asking()).startswith(choice["message"]["content"])
    assert body["usage"]["completion_tokens"] == 3
    assert body["usage"]["total_tokens"] == 3 + body["usage"]["prompt_tokens"] > 3 + 16  # visual tokens among them


# --- the API --------------------------------------------------------------------------------------------------------


def test_the_openai_client_asks_whole_and_in_pieces(client: TestClient) -> None:
    openai = OpenAI(base_url="http://testserver/v1", api_key="none", http_client=client, max_retries=0)
    assert [model.id for model in openai.models.list()] == ["tiny"]
    assert openai.models.retrieve("tiny").id == "tiny"
    asked: Any = asking()
    whole = openai.chat.completions.create(**asked)
    chunks = list(openai.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    said = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(said) == whole.choices[0].message.content != ""
    assert sum(map(bool, said)) > 1
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == whole.choices[0].finish_reason
    assert chunks[-1].usage == whole.usage
    assert len({chunk.id for chunk in chunks}) == 1


def test_mentions_say_which_region_is_meant_and_where_it_is() -> None:
    marked = [Region.at(Box((1, 2, 9, 9)), 3), Region.at(Stroke((4, 5), 2))]
    said = "<region1> hides <region0>, <region9> and <region>"
    assert mentions_in(said, marked) == [
        {"region": 1, "start": 0, "end": 9, "frame": 0, "stroke": {"points": [4, 5], "radius": 2}},
        {"region": 0, "start": 16, "end": 25, "frame": 3, "box": [1, 2, 9, 9]},
    ]
    assert said[16:25] == "<region0>"
    assert mentions_in("<region>", marked[:1])[0]["box"] == [1, 2, 9, 9]


def test_mentions_and_doubts_come_with_the_answer(
    module: RegionModule, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the last chunk and the first one."""
    asked = asking(image(), regions({"box": BOX}), text("What is it?"))
    monkeypatch.setattr(module.renderer, "as_mentions", lambda said, count: "<region0>")
    body = client.post("/v1/chat/completions", json=asked).json()
    mentions = [{"region": 0, "start": 0, "end": 9, "frame": 0, "box": BOX}]
    assert body["choices"][0]["message"]["mentions"] == mentions
    assert body["warnings"] == ["regions[0]: no turn mentions it"]
    sent = client.post("/v1/chat/completions", json={**asked, "stream": True}).text
    *events, done = [line.removeprefix("data: ") for line in sent.split("\n\n") if line]
    chunks = [json.loads(event) for event in events]
    assert done == "[DONE]"
    assert chunks[0]["warnings"] == body["warnings"]
    assert chunks[-1]["choices"][0]["delta"] == {"mentions": mentions}


def test_health_needs_no_key_and_everything_else_does(module: RegionModule) -> None:
    with served(module, key="s3cret") as client:
        assert client.get("/health").json() == {"status": "ok", "under_way": 0, "waiting": 0}
        for sent in ({}, {"Authorization": "Bearer other"}, {"Authorization": "Bearer s3cret\u00e9".encode()}):
            assert client.get("/v1/models", headers=sent).status_code == 401
            assert error(client, 401, json=asking(), headers=sent)["code"] == "invalid_api_key"
        assert answer_with(client, {"Authorization": "Bearer s3cret"}) == 200


def answer_with(client: TestClient, headers: dict[str, str]) -> int:
    return client.post("/v1/chat/completions", json=asking(), headers=headers).status_code


# --- what cannot be answered ----------------------------------------------------------------------------------------


def with_messages(*messages: Any) -> dict[str, Any]:
    return {"model": "tiny", "messages": list(messages)}


USER = {"role": "user", "content": "Who?"}
ANSWERED = (USER, {"role": "assistant", "content": "I"})
CONTENT = "messages[0].content"
URL = f"{CONTENT}[0].image_url.url"
LARGE, SMALL = data_url(np.zeros((101, 100, 3), np.uint8), "png"), data_url(PICTURE[:9], "png")


def marking(*boxes: dict[str, Any]) -> dict[str, Any]:
    return asking(image(), regions(*boxes), text("<region0>?"))


def showing(*urls: str) -> dict[str, Any]:
    return asking(*map(image, urls), text("?"))


BAD: list[tuple[dict[str, Any], str, str | None]] = [
    (asking(image(), text(QUESTION)), "<region> has no region, there are 0", CONTENT),
    (asking(text(QUESTION), regions({"box": BOX})), "1 regions, but there is no picture", None),
    (marking({"box": [1, 2, 90, 9]}), "lies outside", "messages"),
    (marking({"box": [1, 2, 1, 9]}), "x 1 to 1", f"{CONTENT}[1].regions[0].box"),
    (marking({"box": BOX, "frame": 2}), "frame 2, outside the frames [0, 1)", "regions[0]"),
    (marking({"bx": BOX}), "unknown key 'bx'", f"{CONTENT}[1].regions[0]"),
    (marking(*[{"box": BOX}] * 9), "9 regions, but the model has 8", "messages"),
    (showing("data:image/png;base64,a*"), "not base64", URL),
    (showing("data:image/png;base64,aaaa"), "known format", URL),
    (showing("data:text/html;base64,aaaa"), "got 'data:text/html", URL),
    (showing("file:///etc/passwd"), "got 'file:///etc", URL),
    (showing("http://127.0.0.1/a.png"), "from nowhere", URL),
    (showing("http://[a"), "no address", URL),
    (showing(LARGE), "is 10,100 pixels, at most 10,000", URL),
    (showing(SENT, SMALL), "is 9x30 (height x width), but", f"{CONTENT}[1].image_url.url"),
    (showing(*[SMALL] * 4), "more than 3 images", f"{CONTENT}[3]"),
    (asking(image()), "expected text, got ''", CONTENT),
    (asking({"type": "input_audio"}), '"input_audio" is none of text', f"{CONTENT}[0].type"),
    ({"model": "tiny", "messages": [{"role": "user", "content": ["stray"]}]}, "got 'stray'", f"{CONTENT}[0]"),
    (asking(text("a" * 301)), "301 characters, at most 300", "messages"),
    (asking(temperature=0.7), "temperature: 0.7 is not served, only 0", "temperature"),
    (asking(n=2), "n: 2 is not served", "n"),
    (asking(strem=True), "no such field is served, the nearest is stream", "strem"),
    (asking(stream="yes"), 'expected true or false, got "yes"', "stream"),
    (asking(max_tokens=0), "an integer of at least 1", "max_tokens"),
    (asking(max_tokens=501), "501, at most 500 are served", "max_tokens"),
    (asking(max_tokens=499), "tokens with the longest answer, the model reads at most 512", "messages"),
    (with_messages(), "messages: 0, the last has to be a question", "messages"),
    (with_messages(*ANSWERED), "messages: 2, the last", "messages"),
    (with_messages({"role": "system", "content": "?"}), "\"system\", where 'user' has to speak", "messages[0].role"),
    (
        with_messages(*ANSWERED, {"role": "user", "content": [image(), text("?")]}),
        "before the first question",
        "messages[2].content[0]",
    ),
    ({"model": "tiny"}, "missing key 'messages'", None),
    ({"messages": [USER]}, "missing key 'model'", None),
]


@pytest.fixture(scope="module")
def narrow(module: RegionModule) -> Iterator[TestClient]:
    """A server that lets little in."""
    limits = Limits(body=20_000, images=3, pixels=10_000, characters=300, new_tokens=500)
    with served(module, limits=limits) as client:
        yield client


@pytest.mark.parametrize(("body", "said", "parameter"), BAD)
def test_a_bad_request_is_one_error(narrow: TestClient, body: dict[str, Any], said: str, parameter: str | None) -> None:
    found = error(narrow, 400, json=body)
    assert said in found["message"]
    assert (found["type"], found["code"]) == ("invalid_request_error", "invalid_value")
    assert found["param"] == parameter


@pytest.mark.parametrize("body", [marking(*[{"box": BOX}] * 9), showing("file:///etc/passwd")])
def test_it_is_the_same_where_a_stream_was_asked_for(narrow: TestClient, body: dict[str, Any]) -> None:
    """The first of these is found out by the model itself; the stream has not begun by then."""
    assert error(narrow, 400, json={**body, "stream": True}) == error(narrow, 400, json=body)


@pytest.mark.parametrize("sent", [b"{", b"\xff\xfe\x00", b"[" * 15_000, b"[]", b"1" * 5000, b"null"])
def test_a_body_that_is_no_request(narrow: TestClient, sent: bytes) -> None:
    found = error(narrow, 400, content=sent, headers={"Content-Type": "application/json"})
    assert found["message"].startswith("the body")


def test_other_statuses_have_the_form_too(narrow: TestClient) -> None:
    assert error(narrow, 404, json={**asking(), "model": "gpt-9"})["code"] == "model_not_found"
    assert error(narrow, 413, json=asking(text("a" * 20_000)))["code"] == "request_too_large"
    assert error(narrow, 415, content=json.dumps(asking()))["code"] == "invalid_content_type"
    for method, path, status in (
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/chat/completions", 405),
        ("GET", "/docs", 404),
    ):
        response = narrow.request(method, path)
        assert response.status_code == status
        assert response.json()["error"]["message"].startswith(f"GET {path}: ")
    assert narrow.get("/v1/models/other").json()["error"]["code"] == "model_not_found"


# --- images from elsewhere ------------------------------------------------------------------------------------------


class Pictures(BaseHTTPRequestHandler):
    """A host with a picture, one that is too long, and an address that leads to another one."""

    def do_GET(self) -> None:
        self.send_response(302 if self.path == "/moved" else 200)
        self.send_header("Location", "/a.png")
        self.end_headers()
        if self.path != "/moved":
            self.wfile.write(base64.b64decode(SENT.partition(",")[2]) + bytes(20_000 * (self.path == "/long")))

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def pictures() -> Iterator[str]:
    host = ThreadingHTTPServer(("127.0.0.1", 0), Pictures)
    threading.Thread(target=host.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{host.server_address[1]}"
    host.shutdown()
    host.server_close()


def test_images_are_fetched_from_hosts_that_were_allowed_alone(
    module: RegionModule, client: TestClient, pictures: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks could make the server read what it alone reaches, by an address, a redirection or a proxy."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setattr("experiments.serving.sent_images.PATIENCE", 5.0)

    def asked(url: str) -> dict[str, Any]:
        return asking(image(url), regions({"box": BOX}), text(QUESTION))

    with served(module, limits=Limits(pixels=10_000), hosts={"127.0.0.1"}) as allowed:
        assert answer(allowed, asked(f"{pictures}/a.png")) == answer(client, asking())
        refusals = {
            f"{pictures}/moved": "127.0.0.1 answers 302",
            f"{pictures}/long": "more than 10,000 bytes",
            "http://127.0.0.1:1/a.png": "cannot be fetched: URLError",
            "http://localhost/a.png": "only from 127.0.0.1, not from 'localhost'",
            "http://127.0.0.1@example.org/a.png": "not from 'example.org'",
            "ftp://127.0.0.1/a.png": "got 'ftp:",
        }
        for url, said in refusals.items():
            assert said in error(allowed, 400, json=asked(url))["message"]


# --- many at once ---------------------------------------------------------------------------------------------------


def wait_until(true: Callable[[], bool]) -> None:
    waiting = threading.Event()
    for _ in range(6000):
        if true():
            return
        waiting.wait(0.05)
    raise AssertionError("never")


def test_what_has_come_while_the_model_runs_is_one_batch(module: RegionModule, client: TestClient, gate: Gate) -> None:
    """Each gets its own answer, the one that it gets alone; what cannot be answered takes no other with it."""
    asked = [asking(image(), regions({"box": BOX}), text(f"{'so ' * (number % 3)}{QUESTION}")) for number in range(3)]
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(answer, client, asked[0])
        assert gate.reached.wait(300)
        others = [pool.submit(answer, client, one) for one in asked[1:]]
        bad = pool.submit(error, client, 400, json=asking(image(), regions(*[{"box": BOX}] * 9), text("<region0>?")))
        wait_until(lambda: client.get("/health").json()["waiting"] == 3)
        gate.open.set()
        answers = [first.result(), *[one.result() for one in others]]
        assert "9 regions" in bad.result()["message"]
    assert gate.sizes == [1, 3, *[1] * 3]
    assert answers == [answer(client, one) for one in asked]


def test_a_full_server_says_so_at_once(module: RegionModule, gate: Gate) -> None:
    with served(module, limits=Limits(requests=1)) as client, ThreadPoolExecutor(1) as pool:
        first = pool.submit(answer, client, asking())
        assert gate.reached.wait(300)
        refused = client.post("/v1/chat/completions", json=asking())
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
        assert refused.headers["retry-after"] == "1"
        gate.open.set()
        assert first.result() == answer(client, asking())


def test_an_answer_that_takes_too_long_is_given_up(module: RegionModule, gate: Gate) -> None:
    with served(module, limits=Limits(seconds=0.3)) as client:
        for stream in (False, True):
            found = error(client, 504, json=asking(stream=stream))
            assert (found["code"], found["message"]) == ("timeout", "no whole answer within 0.3 s")
        assert client.get("/health").json()["under_way"] == 0
        gate.open.set()


def test_a_fault_of_ours_is_said_without_its_words(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("out of memory in /home/someone")

    monkeypatch.setattr(answer_queue, "answer_all", fail)
    found = error(client, 500, json=asking())
    assert found == {
        "message": "the server had an error",
        "type": "server_error",
        "param": None,
        "code": "server_error",
    }
    assert "RuntimeError: out of memory" in caplog.text and "Traceback" not in caplog.text
    assert client.get("/health").json()["under_way"] == 0


def test_a_stream_that_breaks_ends_with_an_error(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(module: RegionModule, asked: Sequence[Any], answers: Sequence[Any]) -> None:
        answers[0].ids.append(1)
        answers[0].hear("so far")
        raise RuntimeError("secret")

    monkeypatch.setattr(answer_queue, "answer_all", fail)
    sent = client.post("/v1/chat/completions", json=asking(stream=True)).text
    assert "so far" in sent and "secret" not in sent and "[DONE]" not in sent
    assert json.loads(sent.split("\n\n")[-2].removeprefix("data: "))["error"]["code"] == "server_error"


@pytest.mark.parametrize("begun", [False, True])
def test_who_leaves_is_no_longer_answered(module: RegionModule, gate: Gate, begun: bool) -> None:
    """Before the first piece and behind it, over a real connection."""
    gate.says = "so far" if begun else None
    with serving(make_app(Service(module, "tiny"))) as url:
        connection = HTTPConnection(urlsplit(url).netloc, timeout=300)
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/v1/chat/completions", json.dumps(asking(stream=begun)), headers)
        assert gate.reached.wait(300)
        if begun:
            response = connection.getresponse()
            assert b"assistant" in response.readline() + response.readline()
            response.close()
        connection.close()
        wait_until(lambda: gate.answers[0].is_unwanted)
        gate.open.set()
    assert gate.answers[0].finish == "unwanted"


def test_who_has_left_takes_no_place(module: RegionModule, gate: Gate) -> None:
    queue = AnswerQueue(module, max_batch=2)
    process = module.processor(1)
    answers = [StreamedAnswer(4) for _ in range(5)]
    queue.start()
    for number, one in enumerate(answers):
        queue.put(Waiting(process(replace(sample(), id=str(number))), one, print))
        assert gate.reached.wait(300)
    answers[1].stop()
    gate.open.set()
    queue.close()
    assert gate.sizes == [1, 1, 2]
    assert [one.finish for one in answers] == ["length", None, "length", "length", "length"]
    assert not queue.is_alive
