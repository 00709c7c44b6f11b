"""A run against a server that does what servers should not: what it costs, what is kept, and how it ends."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from inspect import signature
from pathlib import Path
from typing import Any

import pytest

from chat_models import LIE, carry_out, properly, videos
from datamodules.errors import DataError
from datamodules.regvid.budget import Limits
from datamodules.regvid.journal import Journal
from datamodules.regvid.models import ROLES
from datamodules.regvid.openai_model import OpenAIModel
from datamodules.regvid.patience import Patience
from datamodules.regvid.run import Result
from datamodules.regvid.verify import Checks
from datamodules.regvid.videos import Videos
from misbehaving import Asked, MisbehavingServer, Reply, proper

QUICK = Patience(first_wait=0.01, longest_wait=0.02)
NAMES = ("a", "b")
MANY = tuple("abcdef")
slow = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[MisbehavingServer]:
    with MisbehavingServer() as made:
        yield made


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Videos:
    return videos(tmp_path_factory.mktemp("videos"), names=NAMES)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Videos:
    return videos(tmp_path_factory.mktemp("many"), names=MANY)


@pytest.fixture(scope="module")
def calm(server: MisbehavingServer, data: Videos, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What a run writes that nobody disturbs."""
    folder = tmp_path_factory.mktemp("calm")
    server.behave(proper)
    carry_out(folder, server.models(), data, patience=QUICK)
    return (folder / "samples.jsonl").read_bytes()


_OF_MODELS = {name for name in signature(OpenAIModel).parameters if name != "model"}


def run(folder: Path, server: MisbehavingServer, data: Videos, /, **options: Any) -> Result:
    asked = {name: options.pop(name) for name in _OF_MODELS if name in options}
    return carry_out(folder, server.models(**asked), data, **{"patience": QUICK, **options})


def samples(folder: Path) -> bytes:
    return (folder / "samples.jsonl").read_bytes()


def responses(folder: Path) -> list[bytes]:
    """Every body in the journal."""
    with Journal(folder / "journal.sqlite") as journal:
        return [body for (body,) in journal._connection.execute("SELECT body FROM responses ORDER BY call")]


def spent(folder: Path) -> int:
    with Journal(folder / "journal.sqlite") as journal:
        return journal.spent().tokens


def at_first(role: str, **reply: Any) -> Callable[[Asked], Reply]:
    """So at the first call of a role."""
    return lambda asked: Reply(**reply) if asked.role == role and not asked.number else Reply()


# --- keys -----------------------------------------------------------------------------------------------------------

KEY = "sk-never-to-be-seen"


@pytest.mark.parametrize("end", ["\n", pytest.param("", marks=slow), pytest.param("\r\n", marks=slow)])
def test_a_key_is_nowhere_but_in_the_header(
    end: str, server: MisbehavingServer, data: Videos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGVID_KEY", KEY + end)
    echo = json.dumps({"error": {"message": f"no such key {KEY}, {KEY!r}"}}).encode()
    server.behave(at_first("judge", status=500, body=echo, headers={"X-Key": KEY}))
    run(tmp_path, server, data, api_key_env="REGVID_KEY")
    assert server.keys == {f"Bearer {KEY}"}
    assert any(b"no such key ***" in body for body in responses(tmp_path))
    assert not [path for path in tmp_path.iterdir() if path.is_file() and KEY.encode() in path.read_bytes()]


# --- whose answers they are -----------------------------------------------------------------------------------------


def test_another_servers_answers_are_not_taken_for_this_ones(
    server: MisbehavingServer, data: Videos, tmp_path: Path
) -> None:
    """Keys named the model alone: with another `base_url` a run was done without a call, by the old one's answers."""
    server.behave(proper)
    run(tmp_path, server, data)
    asked = server.calls.total()
    run(tmp_path, server, data, server="another")
    assert server.calls.total() == 2 * asked
    with MisbehavingServer() as moved:
        run(tmp_path, moved, data)
        assert not moved.calls, "it is called what it was, wherever it is now"


# --- answers --------------------------------------------------------------------------------------------------------

ODD: dict[str, str] = {
    "two braces": '{{"1": "a dog"}}',
    "a set": "The regions {[1], [2]} are here.",
    "digits": '{"1": ' + "1" * 5000 + "}",
    "lines": "Here:" + "\n" * 60_000 + "x",
    "braces": "{a}" * 200_000,
}


@pytest.mark.parametrize("form", ODD)
@pytest.mark.parametrize("role", ["describe", pytest.param("split", marks=slow)])
def test_one_odd_answer_is_unreadable_once(
    role: str, form: str, server: MisbehavingServer, data: Videos, calm: bytes, tmp_path: Path
) -> None:
    """A parser that crashed on an answer did so on every restart, and one that took minutes blocked the run."""
    server.behave(at_first(role, content=ODD[form]))
    started = time.monotonic()
    run(tmp_path, server, data)
    assert time.monotonic() - started < 20
    assert samples(tmp_path) == calm
    assert any(ODD[form][:50].encode() in body for body in map(_unescaped, responses(tmp_path))), "it is kept"
    server.behave(proper)
    run(tmp_path, server, data)
    assert not server.calls


def _unescaped(body: bytes) -> bytes:
    return str(json.loads(body)["choices"][0]["message"]["content"]).encode("utf-8", "replace")


@pytest.mark.parametrize("odd", ["\ud83d", pytest.param("\0", marks=slow), pytest.param("\x1b", marks=slow)])
def test_what_no_file_can_hold_is_taken_out(odd: str, server: MisbehavingServer, data: Videos, tmp_path: Path) -> None:
    """Half a character failed when the next request was sent, and NUL reached the samples."""
    told = json.dumps(dict.fromkeys("12", f"A{odd} ball rolls, it wears a hat, and it stops."))
    server.behave(lambda asked: Reply(told) if asked.role == "describe" else Reply())
    run(tmp_path, server, data)
    assert b"A ball rolls" in samples(tmp_path)
    assert json.dumps(odd).strip('"').encode() not in samples(tmp_path)


USED: dict[str, dict[str, Any]] = {
    "parts": {"content": [{"type": "text", "text": '{"1": "A ball rolls.", "2": "A box stands."}'}]},
    "thoughts beside": {"message": {"reasoning_content": "Hm. {"}},
    "closing tag alone": {"content": 'I see {"1": "no"}. </think>\n{"1": "A ball rolls.", "2": "A box stands."}'},
    "usage is a list": {"usage": [1, 2]},
    "usage is text": {"usage": "none"},
}


@pytest.mark.parametrize("form", ["parts", *(pytest.param(form, marks=slow) for form in list(USED)[1:])])
def test_an_answer_in_another_shape_is_used(form: str, server: MisbehavingServer, data: Videos, tmp_path: Path) -> None:
    """Content as a list of parts: 24 calls paid, 0 samples, exit 0; thoughts stood in 14 of 48 samples."""
    server.behave(lambda asked: Reply(**USED[form]) if asked.role == "describe" else Reply())
    run(tmp_path, server, data)
    assert server.calls["describe"] == len(NAMES), "none was asked for again"
    assert samples(tmp_path).count(b"detailed") >= 2 * len(NAMES)
    assert b"I see" not in samples(tmp_path) and b"Hm." not in samples(tmp_path)


STREAM = b'data: {"choices": [{"delta": {"content": "%s"}}]}\n\ndata: [DONE]\n\n'
PAID: dict[str, dict[str, Any]] = {
    "html": {"body": b"<html>gone</html>"},
    "no choices": {"body": b'{"choices": []}'},
    "a stream of talk": {"body": STREAM % b"Well."},
    "a bad byte": {"body": b'{"choices": [{"message": {"content": "\xff"}}]}'},
    "empty": {"body": b""},
    "a tool": {"content": "", "message": {"tool_calls": [{"id": "1"}]}},
    "thoughts alone": {"content": "", "message": {"reasoning_content": "Hm."}},
    "a thought left over": {"content": "<think> Hm."},
}


@pytest.mark.parametrize("form", ["html", *(pytest.param(form, marks=slow) for form in list(PAID)[1:])])
def test_what_was_paid_for_is_kept(
    form: str, server: MisbehavingServer, data: Videos, calm: bytes, tmp_path: Path
) -> None:
    """Bodies of unknown shape were thrown away, and asked for seven times."""
    server.behave(at_first("describe", **PAID[form]))
    run(tmp_path, server, data)
    assert samples(tmp_path) == calm
    assert server.calls["describe"] == len(NAMES) + 1
    assert len(responses(tmp_path)) == server.calls.total()


def test_a_full_disk_is_one_line_and_nothing_is_paid_twice(
    server: MisbehavingServer, data: Videos, calm: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    server.behave(proper)
    with monkeypatch.context() as patched:
        patched.setattr(
            shutil, "disk_usage", lambda path: usage._replace(free=0 if server.calls.total() > 5 else 2**40)
        )
        with pytest.raises(DataError, match="the disk is full, 0 MiB are free"):
            run(tmp_path, server, data)
    assert len(responses(tmp_path)) == server.calls.total() < 16
    run(tmp_path, server, data)
    assert samples(tmp_path) == calm
    assert max(server.requests.values()) == 1


# --- the budget -----------------------------------------------------------------------------------------------------


def late(asked: Asked) -> Reply:
    """Half of all answers come when nobody waits any more."""
    return Reply(wait=0.5 if asked.number % 2 else 0.0)


BILLS: dict[str, tuple[Callable[[Asked], Reply], int, dict[str, Any]]] = {
    "dear pictures": (proper, 2833, {}),
    "late": (late, 85, {"timeout": 0.25}),
    "thoughts in the total alone": (lambda asked: Reply(hidden=random.Random(asked.text).randrange(3000)), 85, {}),
    "negative": (lambda asked: Reply(usage={"prompt_tokens": -500, "completion_tokens": -9}), 85, {}),
    "nothing counted": (lambda asked: Reply(usage=None), 85, {}),
}


@pytest.mark.parametrize("concurrency", [32, pytest.param(8, marks=slow)])
@pytest.mark.parametrize("kind", BILLS)
def test_the_bill_stays_within_the_limit(
    kind: str, concurrency: int, server: MisbehavingServer, many: Videos, tmp_path: Path
) -> None:
    """Of 100,000 tokens 124,731 were billed at concurrency 8, and 206,117 at 32; and the journal said less."""
    behaviour, image, options = BILLS[kind]
    server.behave(behaviour, image)
    limit = 20_000
    result = run(tmp_path, server, many, budget=Limits(tokens=limit), concurrency=concurrency, **options)
    time.sleep(options.get("timeout", 0.0))
    assert server.calls.total() >= 3
    assert server.bill <= limit
    assert server.bill <= spent(tmp_path) <= limit
    assert result.stopped == "" or "regvid.budget.tokens, 20000" in result.stopped


@pytest.mark.parametrize("kills", [2, pytest.param(6, marks=pytest.mark.slow)])
def test_killed_runs_say_what_they_have_cost(
    kills: int, server: MisbehavingServer, data: Videos, calm: bytes, tmp_path: Path
) -> None:
    """Six kill -9: billed 245,263, journal 234,007."""
    server.behave(lambda asked: Reply(wait=0.02))
    dice = random.Random(kills)
    for _ in range(kills):
        aim = server.calls.total() + dice.randint(1, 4)
        child = os.fork()
        if not child:
            try:
                run(tmp_path, server, data)
            finally:
                os._exit(0)
        while server.calls.total() < aim and os.waitpid(child, os.WNOHANG) == (0, 0):
            time.sleep(0.002)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    time.sleep(0.1)
    assert spent(tmp_path) >= server.bill
    run(tmp_path, server, data)
    assert samples(tmp_path) == calm
    assert spent(tmp_path) >= server.bill


# --- errors ---------------------------------------------------------------------------------------------------------


def failing(status: int, error: Any = "", **headers: str) -> Reply:
    return Reply(status=status, body=json.dumps({"error": error}).encode(), headers=headers)


OF_THE_SETUP: dict[str, Reply] = {
    "402": failing(402, {"message": "no credit"}),
    "another field": failing(400, {"message": "use max_completion_tokens", "param": "max_tokens"}),
    "302": failing(302, Location="https://elsewhere.example"),
    "quota": failing(429, {"message": "quota", "code": "insufficient_quota"}),
}


@pytest.mark.parametrize("kind", OF_THE_SETUP)
def test_a_wrong_setup_stops_at_once(kind: str, server: MisbehavingServer, data: Videos, tmp_path: Path) -> None:
    """All but the last were bad content: the video was done, with 0 samples and exit 0; the last took 53 calls."""
    server.behave(lambda asked: OF_THE_SETUP[kind])
    with pytest.raises(DataError, match=r"model describe at 127\.0\.0\.1 with no key: status"):
        run(tmp_path, server, data)
    assert server.calls.total() == 1


def test_too_long_a_context_lets_its_video_wait(
    server: MisbehavingServer, data: Videos, many: Videos, calm: bytes, tmp_path: Path
) -> None:
    """Nothing is dropped for it, and what fits is done."""
    long = failing(400, {"message": "maximum context length", "code": "context_length_exceeded"})
    server.behave(lambda asked: long if asked.role == "describe" and asked.number == 1 else Reply())
    result = run(tmp_path, server, data, concurrency=1)
    assert result.funnel.waiting == {"describe": 1}
    assert result.funnel.samples == 6 and not result.funnel.dropped
    assert not run(tmp_path, server, data).waits
    assert samples(tmp_path) == calm
    server.behave(lambda asked: long)
    result = run(tmp_path / "all", server, many)
    assert "5 calls in a row got no answer, the last one: status 400: maximum context length" in result.stopped
    assert server.calls.total() == 5


def test_filtered_videos_stop_nothing(server: MisbehavingServer, data: Videos, tmp_path: Path) -> None:
    """A content filter on the first videos stopped every restart at the same place: the refusal is the answer."""
    filtered = failing(400, {"message": "policy", "code": "content_filter"})
    server.behave(lambda asked: filtered if asked.role == "describe" and "s/b-0" not in asked.text else Reply())
    result = run(tmp_path, server, data)
    assert not result.stopped and not result.waits
    assert result.funnel.dropped["describe", "region", "refused"] == 2 * (len(NAMES) - 1)
    assert result.funnel.samples == 6
    before = server.calls.total()
    run(tmp_path, server, data)
    assert server.calls.total() == before


@pytest.mark.parametrize("role", ["describe", pytest.param("split", marks=slow)])
def test_a_run_that_comes_to_nothing_is_an_error(
    role: str, server: MisbehavingServer, data: Videos, tmp_path: Path
) -> None:
    server.behave(lambda asked: Reply("I would rather not.") if asked.role == role else Reply())
    with pytest.raises(DataError, match="nothing is left of 4 regions, the most frequent reason: "):
        run(tmp_path, server, data)
    assert samples(tmp_path) == b""


# --- what providers do each in its way ------------------------------------------------------------------------------


def test_a_model_that_speaks_in_pieces_alone(
    server: MisbehavingServer, data: Videos, calm: bytes, tmp_path: Path
) -> None:
    """Its refusal of anything else was bad content; it names the option, with which the data are the same."""

    def behave(asked: Asked) -> Reply:
        if asked.fields.get("stream"):
            return Reply(pieces=True)
        return failing(400, {"message": "This model only support stream mode, please enable the stream parameter."})

    server.behave(behave)
    with pytest.raises(DataError, match=r"only support stream mode.*: set stream: true of the model"):
        run(tmp_path / "whole", server, data)
    assert server.calls.total() == 1
    run(tmp_path / "out", server, data, stream=True)
    assert samples(tmp_path / "out") == calm
    assert spent(tmp_path / "out") == server.bill, "usage comes at a stream's end"


BROKEN: dict[str, Reply] = {
    "half a stream": Reply(body=b'data: {"choices": [{"delta": {"content": "{\\"1\\": \\"A ball"}}]}\n\n'),
    "an error at its end": Reply(
        body=b'data: {"choices": [{"delta": {"content": "A ball"}}]}\n\ndata: {"error": {"message": "overloaded"}}\n\n'
    ),
    "status 200": Reply(content="", beside={"error": {"message": "upstream", "code": 502}}, finish="error"),
    "in the choice": Reply(content="A ball", choice={"error": {"message": "upstream"}}),
}


@pytest.mark.parametrize("kind", ["status 200", *(pytest.param(kind, marks=slow) for kind in list(BROKEN)[:2])])
def test_an_error_inside_an_answer_is_no_answer(
    kind: str, server: MisbehavingServer, data: Videos, calm: bytes, tmp_path: Path
) -> None:
    """Beside choices an error was overlooked: half a description was read, or asked for again as unreadable."""
    server.behave(lambda asked: BROKEN[kind] if asked.role == "describe" and not asked.number else Reply())
    run(tmp_path, server, data)
    assert samples(tmp_path) == calm
    assert server.calls["describe"] == len(NAMES) + 1
    with Journal(tmp_path / "journal.sqlite") as journal:
        assert journal.calls()["describe"][:3] == (len(NAMES), 0, 1)
    assert spent(tmp_path) >= server.bill


def test_too_many_images_are_one_line(server: MisbehavingServer, data: Videos, tmp_path: Path) -> None:
    """Each video waited for ever, five of them ended the run; and what is known beforehand costs no call at all."""
    server.behave(lambda asked: failing(400, {"message": "At most 1 image(s) may be provided in one prompt."}))
    with pytest.raises(DataError, match=r"At most 1 image.*: most_images of the model says it beforehand"):
        run(tmp_path, server, data)
    assert server.calls.total() == 1
    server.behave(proper)
    with pytest.raises(DataError, match="describe takes at most 1 images a request, 2 are to be shown: mark"):
        run(tmp_path, server, data, most_images=1)
    assert not server.calls


def test_a_context_that_is_cut_in_silence_is_told(server: MisbehavingServer, data: Videos, tmp_path: Path) -> None:
    """Ollama drops what is beyond its context, and says so nowhere but in what it counts; once a model is enough."""
    server.behave(lambda asked: Reply(usage={"prompt_tokens": 100, "completion_tokens": 20}))
    with pytest.warns(UserWarning, match=r"of a prompt of about \d+ tokens 100 count") as told:
        run(tmp_path, server, data)
    assert sorted(str(one.message).split()[1] for one in told) == sorted(ROLES)
    server.behave(proper)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(tmp_path / "calm", server, data)


@pytest.mark.parametrize("kind", ["json_schema", pytest.param("json_object", marks=slow)])
def test_each_role_asks_for_the_form_of_its_own(
    kind: str, server: MisbehavingServer, data: Videos, calm: bytes, tmp_path: Path
) -> None:
    """One format for all made JSON of rewritten descriptions, too, which are plain text."""
    asked_for: dict[str, list[Any]] = {}

    def behave(asked: Asked) -> Reply:
        asked_for.setdefault(asked.role, []).append(asked.fields.get("response_format"))
        # a root that is a list is not allowed
        return Reply(f'{{"claims": {properly("split", asked.text)}}}') if asked.role == "split" else Reply()

    server.behave(behave)
    run(tmp_path, server, data, response_format=kind)
    assert samples(tmp_path) == calm
    assert set(asked_for.pop("rewrite")) == {None}
    assert {form["type"] for forms in asked_for.values() for form in forms} == {kind}
    if kind == "json_schema":
        told = {role: [form["json_schema"] for form in forms] for role, forms in asked_for.items()}
        keys = {role: {" ".join(form["schema"]["properties"]) for form in forms} for role, forms in told.items()}
        # an answer of 500 tokens holds the talk about one region, and two descriptions
        assert keys == {"describe": {"1 2"}, "split": {"claims"}, "judge": {"1 2 3"}, "instruct": {"1", "2"}}
        assert all(form["strict"] for forms in told.values() for form in forms)


def test_further_headers_go_with_every_request_and_the_secret_ones_nowhere_else(
    server: MisbehavingServer, data: Videos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGVID_GATEWAY", KEY)
    echo = json.dumps({"error": {"message": f"who is {KEY}"}}).encode()
    server.behave(at_first("judge", status=500, body=echo))
    named = {"headers": {"X-Title": "regions"}, "header_envs": {"X-Gateway": "REGVID_GATEWAY"}}
    run(tmp_path, server, data, **named)
    sent = [{name.lower(): value for name, value in headers.items()} for headers in server.headers]
    assert {(headers["x-title"], headers["x-gateway"]) for headers in sent} == {("regions", KEY)}
    assert not [path for path in tmp_path.iterdir() if path.is_file() and KEY.encode() in path.read_bytes()]
    monkeypatch.delenv("REGVID_GATEWAY")
    with pytest.raises(DataError, match="REGVID_GATEWAY holds no API key"):
        run(tmp_path, server, data, **named)


def test_what_is_in_the_cache_costs_what_it_costs(server: MisbehavingServer, data: Videos, tmp_path: Path) -> None:
    """By hand: 400 of 500 tokens for a tenth, 20 of the answer in full."""
    told = {"prompt_tokens": 500, "completion_tokens": 20, "prompt_tokens_details": {"cached_tokens": 400}}
    server.behave(lambda asked: Reply(usage=told))
    run(tmp_path, server, data, price_in=10.0, price_cached=1.0, price_out=40.0)
    with Journal(tmp_path / "journal.sqlite") as journal:
        each = (100 * 10 + 400 * 1 + 20 * 40) / 1e6
        assert journal.spent().money == pytest.approx(server.calls.total() * each)


class Limited:
    """Takes so many calls in any second of its own, which is shorter than one."""

    def __init__(self, calls: int, second: float) -> None:
        self.calls, self.second = calls, second
        self.taken: list[float] = []
        self.refused = 0
        self.lock = threading.Lock()

    def __call__(self, asked: Asked) -> Reply:
        with self.lock:
            at = time.monotonic()
            self.taken = [other for other in self.taken if other > at - self.second]
            if len(self.taken) >= self.calls:
                self.refused += 1
                return failing(429, {"message": "slow down"}, **{"Retry-After": f"{self.second}"})
            self.taken.append(at)
            return Reply()


def test_a_server_with_a_rate_is_borne(server: MisbehavingServer, data: Videos, calm: bytes, tmp_path: Path) -> None:
    """At concurrency 32 the run ended after 9 s with nothing done; `test_pace.py` has the pace itself."""
    limited = Limited(5, 0.2)
    server.behave(limited)
    run(tmp_path, server, data, concurrency=32)
    assert samples(tmp_path) == calm
    assert limited.refused < 0.3 * (server.calls.total() - limited.refused)


def test_a_server_that_wants_a_day_is_not_waited_for(server: MisbehavingServer, data: Videos, tmp_path: Path) -> None:
    server.behave(lambda asked: failing(429, {"message": "tomorrow"}, **{"Retry-After": "86400"}))
    result = run(tmp_path, server, data)
    assert "the server wants 86400 s without calls: status 429: tomorrow" in result.stopped
    assert server.calls.total() == 1


# --- what models make of what they are asked ------------------------------------------------------------------------

FALSE = b"wears a hat"


def by_role(**roles: Callable[[Asked], Reply]) -> Callable[[Asked], Reply]:
    """Some roles so, the others properly."""
    return lambda asked: roles.get(asked.role, proper)(asked)


def seven(asked: Asked) -> Reply:
    """Seven sentences of each region, one of them false."""
    true = " ".join(f"The thing does {number} on the way." for number in ["one", "two", "three", "four", "five", "six"])
    return Reply(json.dumps(dict.fromkeys(re.findall(r"^\[(\d+)\]", asked.text, re.M), f"{true} And {LIE}.")))


def split_by(change: Callable[[str], str], first: int = 0) -> Callable[[Asked], Reply]:
    """Sentences as claims; of balls the claims from the first on, in other words."""

    def split(asked: Asked) -> Reply:
        said = re.findall(r"^<description>\n(.+)$", asked.text, re.M)[0]
        parts = re.findall(r"[^.]+\.", said)
        is_ball = "] ball" in asked.text
        claims = [(change(part) if is_ball else part, part) for part in parts[first if is_ball else 0 :]]
        return Reply(json.dumps([{"claim": claim, "question": f"Is it so: {part}?"} for claim, part in claims]))

    return split


SPLITTERS = {"paraphrases": split_by(lambda part: f"It is said: {part}"), "one of seven": split_by(str, 6)}


@pytest.mark.parametrize("kind", ["paraphrases", pytest.param("one of seven", marks=slow)])
def test_nothing_gets_by_a_splitter_that_does_not_quote(
    kind: str, server: MisbehavingServer, data: Videos, tmp_path: Path
) -> None:
    """One that paraphrased left 30 of 112 false sentences, one that gave one claim of seven 27 of 98."""
    server.behave(by_role(describe=seven, split=SPLITTERS[kind]))
    result = run(tmp_path, server, data)
    assert result.funnel.dropped["verify", "region", "split: too little is quoted"] == len(NAMES)
    assert FALSE not in samples(tmp_path) and samples(tmp_path).count(b"detailed") > 0
    verify = result.funnel.counts
    assert verify["verify", "quoted"] == verify["verify", "words"] > 0


@pytest.mark.parametrize("text", [f"A ball rolls, {LIE}, and it stops.", pytest.param("It is so.", marks=slow)])
def test_nothing_gets_by_a_rewriter_that_does_as_it_likes(
    text: str, server: MisbehavingServer, data: Videos, tmp_path: Path
) -> None:
    """One that changed nothing left 30 of 112 false sentences, every one of them denied."""
    two = json.dumps(dict.fromkeys("12", f"A ball rolls, {LIE}, and it stops. It is round."))
    server.behave(by_role(describe=lambda asked: Reply(two), rewrite=lambda asked: Reply(text)))
    result = run(tmp_path, server, data)
    assert result.funnel.dropped["verify", "sentence", "rewrite: unreadable"] == 2 * len(NAMES)
    assert FALSE not in samples(tmp_path) and samples(tmp_path).count(b'"It is round."') == 2 * len(NAMES)


def hasty(asked: Asked) -> Reply:
    """Denies everything, until it is asked in other words."""
    if "Do the frames agree" in asked.text:
        return Reply()
    return Reply(json.dumps(dict.fromkeys(re.findall(r"^(\d+)\. ", asked.text, re.M), "definitely no")))


def test_a_judge_that_errs_is_asked_twice(server: MisbehavingServer, data: Videos, calm: bytes, tmp_path: Path) -> None:
    server.behave(by_role(judge=hasty))
    run(tmp_path, server, data, checks=Checks(verdicts=2))
    assert samples(tmp_path) == calm


def test_what_is_invented_at_last_is_denied_too(
    server: MisbehavingServer, data: Videos, calm: bytes, tmp_path: Path
) -> None:
    """Summaries and conversations went into the data as they came."""

    def invented(asked: Asked) -> Reply:
        turns = [{"question": "What of [1]?", "answer": said} for said in ("It rolls.", f"See, {LIE}.")]
        others = [{"question": "What of [2]?", "answer": f"Look, {LIE}."}]
        first, second = ({"summary": f"A thing, {LIE}.", "conversation": said} for said in (turns, others))
        indices = re.findall(r"^Region: \[(\d)\]", asked.text, re.M)
        return Reply(json.dumps({index: {"1": first, "2": second}[index] for index in indices}))

    server.behave(by_role(instruct=invented))
    result = run(tmp_path, server, data, checks=Checks())
    assert FALSE not in samples(tmp_path) and b"It rolls." in samples(tmp_path)
    of = [result.funnel.dropped["instruct", what, "denied"] for what in ("brief", "turn", "conversation")]
    assert of == [2 * len(NAMES), 2 * len(NAMES), len(NAMES)]


@pytest.mark.parametrize("number", [9, pytest.param(96, marks=slow)])
def test_many_regions_of_one_video_are_not_lost(number: int, server: MisbehavingServer, tmp_path: Path) -> None:
    """One call a video had to fit `max_tokens`: of 96 regions 3 calls were paid for, and there were 0 samples."""

    def holds_three(asked: Asked) -> Reply:
        many = len(re.findall(r"^\[", asked.text, re.M)) > 3 or asked.text.count("<description>") > 3
        return Reply("{", finish="length") if many else Reply()

    server.behave(by_role(describe=holds_three, instruct=holds_three))
    crowd = videos(tmp_path, names=("a",), nouns=tuple(f"ball{place}" for place in range(number)))
    result = run(tmp_path / "out", server, crowd)
    assert result.funnel.samples == 3 * number
    assert server.calls["describe"] == -(-number // 3)
