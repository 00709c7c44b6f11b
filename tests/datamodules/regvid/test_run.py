"""Whole runs on models in memory: what is written, and that it does not depend on what happened on the way."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from chat_models import FAST, LIE, USUAL, Fake, Reply, carry_out, counts, models, plainly, samples_in, unwatched, videos
from datamodules.errors import DataError
from datamodules.regvid.accounts import STAGES
from datamodules.regvid.budget import Limits
from datamodules.regvid.journal import Journal
from datamodules.regvid.models import CallError, ChatRequest, Role
from datamodules.regvid.options import Options
from datamodules.regvid.output import OrderedFile
from datamodules.regvid.prompts import BUILT_IN
from datamodules.regvid.run import Run
from helpers import loss_mask, make_batch, tiny_module

NAMES = tuple("abcdefg")


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def funnel(folder: Path) -> Any:
    return json.loads((folder / "funnel.json").read_text())


def test_every_region_becomes_three_samples_that_train(tmp_path: Path) -> None:
    """The file is read by the project's own reader, and a model takes a batch of it."""
    made, fakes = models()
    out = tmp_path / "out"
    carry_out(out, made, videos(tmp_path / "data"))
    samples = samples_in(out)
    assert [sample.id for sample in samples[:6]] == [
        f"s/a-0/{index}/{kind}" for index in (1, 2) for kind in ("detailed", "brief", "conversation")
    ]
    detailed, brief, talk = samples[3:6]
    assert (detailed.task, brief.task, talk.task) == ("caption", "caption", "answer")
    assert [sample.group for sample in (detailed, brief, talk)] == ["detailed", "brief", "conversation"]
    assert detailed.conversation[0].answer == "A box rolls and it stops."
    assert "<region0>" in detailed.conversation[0].question
    assert brief.conversation[0].answer == "A box rolls."
    assert [(turn.question, turn.answer) for turn in talk.conversation] == [("What of <region0>?", "It rolls.")]
    assert talk.regions == detailed.regions == videos(tmp_path / "data")[0].regions[1:]
    batch = make_batch(tiny_module(tmp_path), *samples)
    assert batch.region_counts.tolist() == [1] * 18
    assert loss_mask(batch).any(1).all() and batch.mark_weights.sum() > 0
    assert counts(fakes) == {"describe": 3, "split": 6, "judge": 6, "rewrite": 6, "instruct": 3}


def test_a_question_about_two_regions_holds_both(tmp_path: Path) -> None:
    turns = [{"question": "Is [2] left of [1]?", "answer": "No."}, {"question": "And [2]?", "answer": "It stops."}]

    def script(role: Role, request: ChatRequest, number: int) -> Reply:
        if role != "instruct":
            return None
        first = {"summary": "A ball.", "conversation": turns}
        return json.dumps({"1": first, "2": {"summary": "A box.", "conversation": turns[1:]}})

    made, _ = models(script)
    carry_out(tmp_path / "out", made, videos(tmp_path / "data", names=("a",)))
    samples = {sample.id: sample for sample in samples_in(tmp_path / "out")}
    both, alone = samples["s/a-0/1/conversation"], samples["s/a-0/2/conversation"]
    assert [turn.question for turn in both.conversation] == ["Is <region1> left of <region0>?", "And <region1>?"]
    assert [region.category for region in both.regions] == ["ball", "box"]
    assert [turn.question for turn in alone.conversation] == ["And <region0>?"]
    assert [region.category for region in alone.regions] == ["box"]


def test_the_funnel_counts_what_happened(tmp_path: Path) -> None:
    def script(role: Role, request: ChatRequest, number: int) -> Reply:
        if role == "describe" and "Video: s/a-0" in request.text:
            return '{"1": null, "2": "It stands."}'
        if role == "judge" and "Video: s/b-0" in request.text and "[1]" in request.text:
            return "hm"
        if role == "split" and "It stands" in request.text:
            return '[{"claim": "It stands", "question": "Does it stand?"}]'
        if role == "judge" and "Does it stand" in request.text:
            return '{"1": "probably no"}'
        return None

    made, _ = models(script)
    carry_out(tmp_path / "out", made, videos(tmp_path / "data"))
    told = funnel(tmp_path / "out")
    assert told["videos"] == {"found": 3, "done": 3, "waiting": {}, "dropped": {}}
    assert told["regions"] == {"found": 6, "without noun": 0}
    assert told["describe"] == {"described": 5, "not seen": 1, "dropped": {"region": {"not seen": 1}}}
    verify = told["verify"]
    assert verify["claims"] == 3 * 3 + 1
    assert (verify["denied"], verify["unsure"], verify["grades"]["probably no"]) == (3, 6, 1)
    assert (verify["rewritten"], verify["verified"]) == (3, 4)
    assert (verify["words"], verify["quoted"]) == (4 * 10 + 2, 4 * 9 + 2)
    assert verify["dropped"] == {"region": {"judge: unreadable": 1}}
    assert told["instruct"] == {
        "detailed": 4,
        "brief": 4,
        "conversation": 4,
        "turns": 4,
        "checked": 0,
        "denied": 0,
        "dropped": {},
    }
    assert told["calls"]["judge"] | {"money": 0} == {
        "answered": 7, "unreadable": 3, "failed": 0, "prompt_tokens": 700, "completion_tokens": 70, "money": 0,
    }  # fmt: skip
    regions = {(item["video"], item["index"]): item for item in lines(tmp_path / "out" / "regions.jsonl")}
    assert regions["s/a-0", 1]["dropped"][0]["reason"] == "not seen"
    assert regions["s/b-0", 1]["dropped"][0]["detail"] == "there is no object with an index for each region or question"
    assert regions["s/c-0", 2]["claims"][1] == {
        "claim": LIE, "question": f"Is it true: {LIE}?", "grade": "definitely no", "again": None, "denied": True,
    }  # fmt: skip


def test_order_does_not_depend_on_concurrency(tmp_path: Path) -> None:
    made = videos(tmp_path / "data", names=NAMES)
    written = set()
    for number, (concurrency, delay) in enumerate([(1, 0.0), (4, 0.004), (16, 0.001)]):
        carry_out(tmp_path / str(number), models(delay=delay)[0], made, concurrency=concurrency)
        written.add((tmp_path / str(number) / "samples.jsonl").read_text())
    assert len(written) == 1
    assert len(lines(tmp_path / "0" / "samples.jsonl")) == 3 * 2 * len(NAMES)


def test_an_interrupted_run_finishes_the_calls_under_way(tmp_path: Path) -> None:
    def script(role: Role, request: ChatRequest, number: int) -> Reply:
        if (role, number) == ("split", 4):
            os.kill(os.getpid(), signal.SIGINT)
        return None

    made, fakes = models(script, delay=0.001)
    data = videos(tmp_path / "data", names=NAMES)
    result = carry_out(tmp_path / "out", made, data)
    assert result.stopped == "interrupted"
    before = sum(counts(fakes).values())
    with Journal(tmp_path / "out" / "journal.sqlite") as journal:
        assert sum(calls.answered for calls in journal.calls().values()) == before < 7 * (1 + 2 * 3 + 1)
    assert not carry_out(tmp_path / "out", made, data).waits
    assert sum(counts(fakes).values()) == 7 * (1 + 2 * 3 + 1)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("seed", range(4))
def test_a_killed_run_goes_on_where_it_was(seed: int, tmp_path: Path) -> None:
    """Killed three times at any call: the end is the same, and only calls that were under way are made again."""
    # more calls than three runs can make before they are killed
    made = videos(tmp_path / "data", names=tuple("abcdefghijklmnop"))
    carry_out(tmp_path / "whole", models(delay=0.0005)[0], made)
    drawn = random.Random(seed)
    asked: list[tuple[str, str]] = []
    lost = 0
    for _ in range(3):
        last_call = len(asked) + drawn.randint(1, 8)

        def script(role: Role, request: ChatRequest, number: int, last_call: int = last_call) -> Reply:
            asked.append((role, request.text))
            return Killed() if len(asked) == last_call else None

        with pytest.raises(Killed):
            carry_out(tmp_path / "killed", models(script, delay=0.0005)[0], made)
        lost += 1
    last, fakes = models(delay=0.0005)
    carry_out(tmp_path / "killed", last, made)
    for name in ("samples.jsonl", "regions.jsonl"):
        assert (tmp_path / "killed" / name).read_text() == (tmp_path / "whole" / name).read_text()
    asked += [(role, request.text) for role, fake in fakes.items() for request in fake.asked]
    repeated = sum(count - 1 for count in Counter(asked).values())
    assert repeated <= lost * 8
    with Journal(tmp_path / "killed" / "journal.sqlite") as journal:
        answered = sum(calls.answered for calls in journal.calls().values())
    assert answered == len(set(asked))


def test_a_stage_by_itself_goes_on_from_the_one_before(tmp_path: Path) -> None:
    made, fakes = models()
    data, out = videos(tmp_path / "data"), tmp_path / "out"
    result = carry_out(out, made, data, stages=["describe"])
    assert counts(fakes) == {"describe": 3, "split": 0, "judge": 0, "rewrite": 0, "instruct": 0}
    assert funnel(out)["videos"]["waiting"] == {"verify": 3}
    assert funnel(out)["describe"]["described"] == 6
    assert not (out / "samples.jsonl").exists()
    assert result.waits
    carry_out(out, made, data, stages=["instruct"])
    assert counts(fakes)["instruct"] == 0
    carry_out(out, made, data, stages=["verify"])
    assert counts(fakes) == {"describe": 3, "split": 6, "judge": 6, "rewrite": 6, "instruct": 0}
    result = carry_out(out, made, data, stages=["instruct"])
    assert counts(fakes) == {"describe": 3, "split": 6, "judge": 6, "rewrite": 6, "instruct": 3}
    assert not result.waits
    carry_out(tmp_path / "at once", models()[0], data)
    assert (out / "samples.jsonl").read_text() == (tmp_path / "at once" / "samples.jsonl").read_text()


CHANGED = [
    ("instruct", {"instruct"}),
    ("rewrite", {"rewrite"}),
    ("judge", {"judge"}),
    ("split", {"split"}),
    ("describe", {"describe"}),
    ("requests", set()),
    ("retry", set()),
]


@pytest.mark.parametrize(("template", "redone"), CHANGED)
def test_a_changed_template_redoes_what_depends_on_it(template: str, redone: set[str], tmp_path: Path) -> None:
    """The models say the same again, so nothing further down has to be asked anew; see the next test for when not."""
    made, fakes = models()
    data, folder = videos(tmp_path / "data"), tmp_path / "templates"
    shutil.copytree(BUILT_IN, folder)
    carry_out(tmp_path / "out", made, data, templates=folder)
    before = counts(fakes)
    path, words = folder / f"{template}.yaml", {"requests": "Describe", "retry": "Answer"}.get(template, "You ")
    assert words in path.read_text()
    path.write_text(path.read_text().replace(words, f"Now {words}", 1))
    carry_out(tmp_path / "out", made, data, templates=folder)
    assert {role for role in before if counts(fakes)[role] > before[role]} == redone


def test_another_description_redoes_what_follows(tmp_path: Path) -> None:
    made, fakes = models()
    data = videos(tmp_path / "data")
    carry_out(tmp_path / "out", made, data)

    def script(role: Role, request: ChatRequest, number: int) -> Reply:
        said = {"1": f"A ball jumps, {LIE}, and it stops.", "2": f"A box rolls, {LIE}, and it stops."}
        return json.dumps(said) if "s/b-0" in request.text and role == "describe" else None

    describer = Fake("describe", script)
    describer.model = "another"
    carry_out(tmp_path / "out", replace(made, describe=describer), data)
    # one of the two descriptions of one video differs
    assert counts(fakes) == {"describe": 3, "split": 7, "judge": 7, "rewrite": 7, "instruct": 4}
    assert len(describer.asked) == 3


def test_a_budget_stops_cleanly_and_a_larger_one_goes_on(tmp_path: Path) -> None:
    made, fakes = models(delay=0.0005)
    data, out = videos(tmp_path / "data", names=NAMES), tmp_path / "out"
    result = carry_out(out, made, data, budget=Limits(tokens=4500))
    assert "regvid.budget.tokens, 4500" in result.stopped
    first = sum(counts(fakes).values())
    assert 0 < funnel(out)["total"]["prompt_tokens"] + funnel(out)["total"]["completion_tokens"] <= 4500
    assert sum(funnel(out)["videos"]["waiting"].values()) > 0
    with Journal(out / "journal.sqlite") as journal:
        assert journal.spent().tokens == 110 * first
    carry_out(out, made, data, budget=Limits(tokens=100_000))
    carry_out(tmp_path / "whole", models()[0], data)
    assert (out / "samples.jsonl").read_text() == (tmp_path / "whole" / "samples.jsonl").read_text()
    assert sum(counts(fakes).values()) == 7 * (1 + 2 * 3 + 1)


def test_money_is_a_budget_too(tmp_path: Path) -> None:
    made, _ = models(price_in=1000.0, price_out=0.0)
    out = tmp_path / "out"
    result = carry_out(out, made, videos(tmp_path / "data", names=NAMES), budget=Limits(money=3.0))
    assert "regvid.budget.money, 3" in result.stopped
    assert 0 < funnel(out)["total"]["money"] <= 3.0
    with pytest.raises(DataError, match="no model has price_in"):
        carry_out(out, models()[0], videos(tmp_path / "data"), budget=Limits(money=1.0))


def test_videos_that_cannot_be_marked_are_dropped_and_counted(tmp_path: Path) -> None:
    data = videos(tmp_path / "data")

    def mark(video: Any, kept: Any) -> Any:
        if video.id != "s/a-0":
            raise video.error("17 frames are prompted, but 16 are sampled")
        return plainly(video)

    options = Options(to=tmp_path / "out", models=models()[0], **USUAL)
    result = Run(options, mark, STAGES).carry_out(data, unwatched)
    assert funnel(tmp_path / "out")["videos"]["dropped"] == {"… frames are prompted, but … are sampled": 2}
    assert "s/b-0" in result.unreadable
    with pytest.raises(DataError, match="none of 2 videos can be used"):
        Run(options, mark, STAGES).carry_out(replace(data, places=data.places[1:]), unwatched)


def test_a_wrong_setup_ends_the_run_with_its_line_and_keeps_what_came(tmp_path: Path) -> None:
    def script(role: Role, request: ChatRequest, number: int) -> Reply:
        return DataError("model m: status 401") if role == "judge" else None

    made, fakes = models(script)
    with pytest.raises(DataError, match="status 401"):
        carry_out(tmp_path / "out", made, videos(tmp_path / "data", names=NAMES))
    assert len(fakes["judge"].asked) <= 2 * 8
    assert funnel(tmp_path / "out")["describe"]["described"] > 0


def test_an_error_of_ours_leaves_the_old_files(tmp_path: Path) -> None:
    out = tmp_path / "out"
    data = videos(tmp_path / "data")
    carry_out(out, models()[0], data)
    before = (out / "samples.jsonl").read_text()

    def script(role: Role, request: ChatRequest, number: int) -> Reply:
        return RuntimeError("a bug") if role == "instruct" else None

    made, fakes = models(script)
    fakes["instruct"].model = "another"
    with pytest.raises(RuntimeError, match="a bug"):
        carry_out(out, made, data)
    assert (out / "samples.jsonl").read_text() == before
    assert sorted(path.name for path in out.iterdir() if "sqlite" not in path.name) == [
        "frames", "funnel.json", "regions.jsonl", "samples.jsonl",
    ]  # fmt: skip


def test_faults_on_the_way_change_nothing(tmp_path: Path) -> None:
    """Every third call fails, every fifth answer is nonsense: the same data, and every answer is on record."""

    def script(role: Role, request: ChatRequest, number: int) -> Reply:
        if number % 3 == 1:
            return CallError("status 500")
        return "What do you mean?" if number % 5 == 2 else None

    data = videos(tmp_path / "data", names=NAMES)
    carry_out(tmp_path / "whole", models()[0], data)
    made, fakes = models(script)
    patience = replace(FAST, retries=6, attempts=6, outage=99)
    carry_out(tmp_path / "out", made, data, patience=patience)
    assert (tmp_path / "out" / "samples.jsonl").read_text() == (tmp_path / "whole" / "samples.jsonl").read_text()
    calls = funnel(tmp_path / "out")["calls"]
    assert sum(role["answered"] + role["failed"] for role in calls.values()) == sum(counts(fakes).values())


def test_the_dry_run_makes_no_call_and_counts_them_right(tmp_path: Path) -> None:
    made, fakes = models(price_in=1.0)
    data = videos(tmp_path / "data", names=NAMES)
    run = Run(Options(to=tmp_path / "out", models=made, **USUAL), plainly, STAGES)
    plan = run.plan(data)
    assert sum(counts(fakes).values()) == 0
    assert not (tmp_path / "out").exists()
    assert (plan.videos, plan.looked_at, plan.unreadable) == (7, 7, 0)
    carry_out(tmp_path / "out", made, data)
    assert {role: planned.calls for role, planned in plan.roles.items()} == counts(fakes)
    assert plan.total.calls == 7 * (1 + 2 * 3 + 1)
    estimated = sum(map(fakes["describe"].estimated_tokens, fakes["describe"].asked))
    assert plan.roles["describe"].usage.prompt_tokens == estimated
    assert plan.roles["describe"].usage.money == pytest.approx(estimated / 1e6)


def test_a_large_dry_run_looks_at_some(tmp_path: Path) -> None:
    from datamodules.regvid import dry_run

    data = videos(tmp_path / "data")
    many = replace(data, places=[place for _ in range(100) for place in data.places])
    options = Options(to=tmp_path / "out", models=models()[0], **USUAL)
    plan = Run(options, plainly, STAGES).plan(many)
    assert (plan.videos, plan.looked_at) == (300, dry_run.MOST_LOOKED_AT)
    assert plan.roles["describe"].calls > 0


def test_parts_are_written_in_their_order(tmp_path: Path) -> None:
    with OrderedFile(tmp_path / "x.jsonl") as file:
        for place in (2, 0, 3, 1):
            file.put(place, [{"place": place}] * place)
        assert not (tmp_path / "x.jsonl").exists()
    places = [record["place"] for record in lines(tmp_path / "x.jsonl")]
    assert places == [1, 2, 2, 3, 3, 3]
    assert all(one <= other for one, other in pairwise(places))


def test_roles_without_a_model_are_named(tmp_path: Path) -> None:
    made, _ = models()
    with pytest.raises(DataError, match=r"no model for judge: set regvid\.models\.judge"):
        carry_out(tmp_path / "out", replace(made, judge=None), videos(tmp_path / "data"))
