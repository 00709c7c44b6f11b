"""What can be claimed of a figure: as a sentence, as a closed question, and whether it is true.

Every sentence of the stand-in models carries one claim, so a text can be read back without a doubt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeAlias, get_args

from datamodules.shapes import phrases
from datamodules.shapes.figure import COLOURS, MOTIONS, PLACES, SHAPES, Figure, Scene, side_of
from datamodules.shapes.phrases import at

Topic: TypeAlias = Literal["look", "start", "motion", "end", "colour", "neighbour", "company"]
TOPICS: tuple[Topic, ...] = get_args(Topic)

SIDES = {"left": "to the left of", "right": "to the right of", "above": "above", "below": "below"}
COUNTS = ("one other figure", "two other figures", "three other figures")

SENTENCES: Mapping[Topic, tuple[str, ...]] = {
    "look": (
        "The marked region shows a {} with clean edges.",
        "Inside the marked region stands a {} whose edges are clean.",
    ),
    "start": (
        "When the first frame is shown, it can be found {} of the picture.",
        "At the very beginning, its place is {} of the picture.",
    ),
    "motion": (
        "From then on it {} without turning around or changing size.",
        "Over the whole clip it {}, and never turns around.",
    ),
    "end": (
        "By the last frame, its place is {} of the picture.",
        "In the last frame it is found {} of the picture.",
    ),
    "colour": (
        "As to its colour, it {} between the first frame and the last.",
        "Watched from the first frame to the last, it {}.",
    ),
    "neighbour": (
        "Near the beginning, there is a {} it.",
        "In the first frame one sees a {} it.",
    ),
    "company": (
        "All in all, {} can be seen around it.",
        "It shares the picture with {}.",
    ),
}
"""The wordings of each topic's sentence."""

QUESTIONS: Mapping[Topic, str] = {
    "look": "In the first frame, is it a {}?",
    "start": "In the first frame, is it {} of the picture?",
    "motion": "Is it true that it {}?",
    "end": "In the last frame, is it {} of the picture?",
    "colour": "Is it right that it {}?",
    "neighbour": "In the first frame, is there a {} it?",
    "company": "Are there {} in the picture?",
}


@dataclass(frozen=True, slots=True)
class Claim:
    """One statement about one figure.

    Attributes:
        topic: What it is about.
        words: What it says, ready to be set into the topic's sentences and its question.
    """

    topic: Topic
    words: str

    def sentence(self, wording: int) -> str:
        """In one of the topic's wordings."""
        return SENTENCES[self.topic][wording].format(self.words)

    @property
    def question(self) -> str:
        """Closed: yes means that the claim is right."""
        return QUESTIONS[self.topic].format(self.words)


def truths(scene: Scene, number: int) -> dict[Topic, tuple[Claim, ...]]:
    """All that is true of one figure, by topic; no neighbour if none is clearly on one side."""
    figure = scene.figures[number]
    others = [other for place, other in enumerate(scene.figures) if place != number]
    told: dict[Topic, tuple[str, ...]] = {
        "look": (phrases.look(figure),),
        "start": (at(phrases.start(figure)),),
        "neighbour": tuple(dict.fromkeys(_beside(other, figure) for other in others if _side(other, figure))),
        "company": (COUNTS[len(others) - 1],),
    }
    if scene.frames > 1:
        told |= {
            "motion": (_moves(figure.motion),),
            "end": (at(phrases.end(figure)),),
            "colour": (_fate(figure.colour, figure.turns),),
        }
    return {topic: tuple(Claim(topic, words) for words in told[topic]) for topic in TOPICS if topic in told}


def inventions(scene: Scene, claim: Claim) -> list[Claim]:
    """What could be said falsely instead of something true: another colour, motion, place; a neighbour not there."""
    present = {figure.name for figure in scene.figures}
    match claim.topic:
        case "look":
            said = [words for words in values("look") if _same_but_colour(words, claim.words)]
        case "neighbour":
            said = [words for words in values("neighbour") if " ".join(words.split(" ")[:2]) not in present]
        case _:
            said = [words for words in values(claim.topic) if words != claim.words]
    return [Claim(claim.topic, words) for words in said]


def read(text: str) -> list[tuple[str, Claim | None]]:
    """The sentences of a text, and what each of them claims; None for one that is no model's here."""
    sentences = [sentence for sentence in re.split(r"(?<=[.!?])\s+", text.strip()) if sentence]
    return [(sentence, _by_sentence().get(sentence)) for sentence in sentences]


@cache
def _by_sentence() -> dict[str, Claim]:
    return {claim.sentence(wording): claim for claim in every_claim() for wording in range(len(SENTENCES[claim.topic]))}


def every_claim() -> Iterator[Claim]:
    """All that can be claimed."""
    for topic in TOPICS:
        for words in values(topic):
            yield Claim(topic, words)


@cache
def values(topic: Topic) -> tuple[str, ...]:
    """All that can be said on a topic."""
    match topic:
        case "look":
            return tuple(phrases.all_looks())
        case "start" | "end":
            return tuple(at(place) for place in PLACES)
        case "motion":
            return tuple(_moves(motion) for motion in MOTIONS)
        case "colour":
            return tuple(_fate(first, then) for first in COLOURS for then in (None, *COLOURS) if then != first)
        case "neighbour":
            names = [f"{colour} {shape}" for colour in COLOURS for shape in SHAPES]
            return tuple(f"{name} {side}" for name in names for side in SIDES.values())
        case "company":
            return COUNTS


def _same_but_colour(look: str, other: str) -> bool:
    texture, colour, shape = look.split(" ")
    return (texture, shape) == tuple(other.split(" ")[::2]) and colour != other.split(" ")[1]


def _moves(motion: str) -> str:
    return "stays still in one place" if motion == "still" else f"moves steadily {motion}"


def _fate(colour: str, turns: str | None) -> str:
    return f"turns from {colour} to {turns}" if turns else f"stays {colour}"


def _side(other: Figure, figure: Figure) -> str | None:
    return side_of(other.start, figure.start)


def _beside(other: Figure, figure: Figure) -> str:
    side = _side(other, figure)
    assert side is not None, "asked only where there is a side"
    return f"{other.name} {SIDES[side]}"
