"""What a run would call and cost: the pipeline on some videos, with answers of the usual size.

Without a call tokens of prompts are estimated by rules. Where calls were made, of the same role by the same model, the
estimate is corrected by what they were billed.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

from datamodules.regvid.completions import completion
from datamodules.regvid.image_tokens import USUAL
from datamodules.regvid.journal import Billed
from datamodules.regvid.models import (
    LOOKING,
    ROLES,
    ChatModel,
    ChatRequest,
    Models,
    Received,
    Role,
    Usage,
    words_in_tokens,
)
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
    """What one role would do: an estimate, and what it stands on."""

    calls: int
    usage: Usage
    basis: str = ""


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
        self.real = model
        self.model = model.model
        self.options = model.options
        self.max_tokens = model.max_tokens
        self.image_tokens = model.image_tokens
        self.most_images = model.most_images
        self.role = role

    def estimated_tokens(self, request: ChatRequest) -> int:
        """By the other's rules."""
        return self.real.estimated_tokens(request)

    def usage(self, prompt_tokens: int, completion_tokens: int, cached: int = 0, batched: bool = False) -> Usage:
        """At the other's prices, as its calls go."""
        return self.real.usage(prompt_tokens, completion_tokens, cached, self.real.batching is not None)

    async def send(self, request: ChatRequest) -> Received:
        """An answer as long as one usually is."""
        text = _ANSWERS[self.role](request.text)
        return completion(text, self.estimated_tokens(request), round(words_in_tokens(text)))


def stand_ins(models: Models) -> Models:
    """One for every role."""
    return Models(**{role: StandIn(models.of(role), role) for role in ROLES})


def some_of(videos: Videos, most: int = MOST_LOOKED_AT) -> Videos:
    """So many of the videos, spread evenly over all."""
    return replace(videos, places=[videos.places[place] for place in spread(len(videos), most)])


def plan(pipeline: Pipeline, videos: Videos, billed: Mapping[tuple[Role, str], Billed]) -> Plan:
    """What a pipeline would do.

    Args:
        pipeline: With stand-ins as its models, and an empty journal.
        videos: All of them.
        billed: What earlier calls were billed, by role and model.
    """
    some = some_of(videos)
    unreadable: list[str] = []

    def note(place: int, outcome: Outcome) -> None:
        unreadable.extend(filter(None, [outcome.unreadable]))

    asyncio.run(pipeline.run(some, note))
    calls = pipeline.questions.transport.journal.calls()
    share = len(videos) / len(some)
    roles: dict[Role, Planned] = {}
    for role in ROLES:
        model = pipeline.questions.models.of(role)
        planned = Planned(round(calls[role].answered * share), calls[role].usage.times(share), _rule(model, role))
        earlier = billed.get((role, model.model))
        roles[role] = planned if earlier is None else _corrected(planned, earlier, model)
    return Plan(roles, len(videos), len(some), len(unreadable))


def _corrected(planned: Planned, billed: Billed, model: ChatModel) -> Planned:
    """As much more or less as the calls that were billed differ from their estimates."""
    off = billed.prompt / max(billed.estimated, 1)
    answers = round(planned.calls * billed.answers / billed.calls)
    usage = model.usage(round(planned.usage.prompt_tokens * off), answers)
    return Planned(planned.calls, usage, f"{billed.calls} calls, {off:.2f} of the rule")


def _rule(model: ChatModel, role: Role) -> str:
    """By what the tokens of a role's prompts are estimated."""
    if role not in LOOKING:
        return "words"
    return type(model.rule).__name__ + (", a guess" if model.rule is USUAL else "")


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
