"""What a run would call and cost, without a call: the pipeline on some videos, with answers of the usual size."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

from datamodules.regvid.completions import completion
from datamodules.regvid.models import ROLES, ChatModel, ChatRequest, Models, Received, Role, Usage
from datamodules.regvid.pipeline import Outcome, Pipeline
from datamodules.regvid.videos import Videos, spread

MOST_LOOKED_AT = 32

_TURNS = 4
_WORDS = [f"word{number}" for number in range(75)]
_SENTENCES = [" ".join(_WORDS[first : first + 15]) for first in range(0, 75, 15)]
_DESCRIPTION = ". ".join(map(str.capitalize, _SENTENCES)) + "."
_CLAIMS = [" ".join(_WORDS[first : first + 9]) for first in range(0, 75, 9)]
_QUESTION = "Is this part of the description true of the object?"
_INDEX = re.compile(r"\[(\d+)\]")
_NUMBER = re.compile(r"^(\d+)\. ", re.M)
_FENCED = re.compile(r"<(description|questions)>\n(.*?)\n</", re.S)


class Planned(NamedTuple):
    """What one role would do: an estimate."""

    calls: int
    usage: Usage


class Plan(NamedTuple):
    """What a run would do from the beginning.

    Attributes:
        roles: By role; rewriting is counted for every region, of which only those with a sentence cut in part need it.
        videos: In the sources.
        looked_at: Of them; the others are taken to be like these.
        unreadable: Of those looked at, videos that cannot be marked.
    """

    roles: Mapping[Role, Planned]
    videos: int
    looked_at: int
    unreadable: int

    @property
    def total(self) -> Planned:
        """Of all roles."""
        usage = sum((planned.usage for planned in self.roles.values()), Usage())
        return Planned(sum(planned.calls for planned in self.roles.values()), usage)


class StandIn(ChatModel):
    """Answers in the form that is asked for, at once and for nothing, with the name and the prices of another model.

    Args:
        model: The other one.
        role: What is asked of it.
    """

    def __init__(self, model: ChatModel, role: Role) -> None:
        self.model = model.model
        self.options = model.options
        self.max_tokens = model.max_tokens
        self.price_in = model.price_in
        self.price_out = model.price_out
        self.role = role

    async def send(self, request: ChatRequest) -> Received:
        """An answer as long as one usually is."""
        text = _ANSWERS[self.role](request.text)
        return completion(text, request.estimated_tokens(), ChatRequest("", text).estimated_tokens())


def stand_ins(models: Models) -> Models:
    """One for every role."""
    return Models(**{role: StandIn(models.of(role), role) for role in ROLES})


def plan(pipeline: Pipeline, videos: Videos, most: int = MOST_LOOKED_AT) -> Plan:
    """What a pipeline would do.

    Args:
        pipeline: With stand-ins as its models, and an empty journal.
        videos: All of them.
        most: How many are looked at for it, spread evenly over all.
    """
    some = replace(videos, places=[videos.places[place] for place in spread(len(videos), most)])
    unreadable: list[str] = []

    def note(place: int, outcome: Outcome) -> None:
        unreadable.extend(filter(None, [outcome.unreadable]))

    asyncio.run(pipeline.run(some, note))
    calls = pipeline.questions.transport.journal.calls()
    share = len(videos) / len(some)
    roles = {role: Planned(round(calls[role].answered * share), calls[role].usage.times(share)) for role in ROLES}
    return Plan(roles, len(videos), len(some), len(unreadable))


def _described(text: str) -> str:
    return json.dumps(dict.fromkeys(_INDEX.findall(text), _DESCRIPTION))


def _split(text: str) -> str:
    return json.dumps([{"claim": claim, "question": _QUESTION} for claim in _CLAIMS])


def _judged(text: str) -> str:
    # one is denied, so that there is something to mend, and perhaps a second verdict
    numbers = _NUMBER.findall(_fenced(text))
    return json.dumps({number: "definitely no" if number == "1" else "probably yes" for number in numbers})


def _fenced(text: str) -> str:
    """What stands between the tags of a prompt; every template has them."""
    found = _FENCED.search(text)
    return found[2] if found else ""


def _instructed(text: str) -> str:
    indices = _INDEX.findall(text)
    turns = {
        index: [{"question": f"What is it that [{index}] does?", "answer": _SENTENCES[0]}] * _TURNS for index in indices
    }
    return json.dumps({index: {"summary": _SENTENCES[0], "conversation": turns[index]} for index in indices})


_ANSWERS: Mapping[Role, Callable[[str], str]] = {
    "describe": _described,
    "split": _split,
    "judge": _judged,
    "rewrite": _fenced,
    "instruct": _instructed,
}
