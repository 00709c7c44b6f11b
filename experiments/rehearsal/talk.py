"""What the stand-ins make of a description, and what is claimed by whatever the judge is asked about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from itertools import product
from typing import Any

from experiments.rehearsal.claims import Claim, Topic, every_claim, read, values

_ASKED: Mapping[Topic, str] = {
    "look": "What does [{}] look like?",
    "start": "Where is [{}] in the first frame?",
    "motion": "How does [{}] move?",
    "end": "Where is [{}] in the last frame?",
    "colour": "What becomes of the colour of [{}]?",
    "neighbour": "What is beside [{}]?",
    "company": "What else is in the picture, beside [{}]?",
}
_SUMMED_UP: tuple[Topic, ...] = ("look", "motion", "start")
_NEIGHBOUR = "a {} it"
_QUOTED = re.compile(r'"([^"]*)"')
_INDEX = re.compile(r"\[\d+\]")


def talk(region: int, description: str) -> Mapping[str, Any]:
    """Summary and conversation of what is left of a description."""
    known = {claim.topic: claim.words for _, claim in read(description) if claim is not None}
    turns = [{"question": _ASKED[topic].format(region), "answer": _answer(topic, known[topic])} for topic in known]
    said = (known.get(topic, "") for topic in _SUMMED_UP)
    return {"summary": _summary(*said), "conversation": turns}


def asked(question: str) -> tuple[Claim, ...]:
    """The claims that a closed question asks about; none for a question that is no model's here.

    It is a question about a sentence, or it holds in quotation marks a sentence, a summary, or a question and its
    answer.
    """
    if known := _by_question().get(question):
        return (known,)
    said = " ".join(_QUOTED.findall(question))
    sentence = f"{said.rstrip('.')}."
    claims = tuple(claim for _, claim in read(sentence) if claim is not None)
    return claims or _by_summary().get(sentence) or _by_turn().get(_INDEX.sub("[{}]", said)) or ()


def _answer(topic: Topic, words: str) -> str:
    return _NEIGHBOUR.format(words) if topic == "neighbour" else words


def _summary(look: str, motion: str, start: str) -> str:
    parts = [f"A {look or 'figure'}", f"that {motion}" if motion else "", start]
    return " ".join(part for part in parts if part) + "."


@cache
def _by_question() -> dict[str, Claim]:
    return {claim.question: claim for claim in every_claim()}


@cache
def _by_turn() -> dict[str, tuple[Claim, ...]]:
    return {f"{_ASKED[claim.topic]} {_answer(claim.topic, claim.words)}": (claim,) for claim in every_claim()}


@cache
def _by_summary() -> dict[str, tuple[Claim, ...]]:
    every: dict[str, tuple[Claim, ...]] = {}
    for words in product(*(("", *values(topic)) for topic in _SUMMED_UP)):
        claims = (Claim(topic, said) for topic, said in zip(_SUMMED_UP, words, strict=True) if said)
        every[_summary(*words)] = tuple(claims)
    return every
