"""What is known about a region, growing from stage to stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

Stage: TypeAlias = Literal["describe", "verify", "instruct"]
Grade: TypeAlias = Literal["definitely yes", "probably yes", "unsure", "probably no", "definitely no"]

STAGES: tuple[Stage, ...] = get_args(Stage)
"""In the order in which each needs the one before it."""

GRADES: tuple[Grade, ...] = get_args(Grade)
DENIED: Grade = "definitely no"
NOT_SEEN = "not seen"
"""The reason why a region is dropped that the describer cannot see."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One part of a description that can be true or false by itself.

    Attributes:
        text: The part.
        question: The closed question that checks it.
        grade: What the judge says; None before it was asked.
    """

    text: str
    question: str
    grade: Grade | None = None

    @property
    def denied(self) -> bool:
        """Whether the frames contradict it."""
        return self.grade == DENIED


@dataclass(frozen=True, slots=True)
class Dropped:
    """What does not get into the data: the whole region, or one sample about it.

    Attributes:
        stage: Where it was lost.
        what: `region`, or the sort of sample.
        reason: Why, without the numbers and names that differ from case to case.
        detail: Why, with them.
    """

    stage: Stage
    what: str
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question with indices such as `[1]` in it, and its answer without."""

    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Account:
    """One region of a video.

    Attributes:
        index: Its number, from 1, as models read and see it.
        noun: What it is.
        description: What the describer says; None before it was asked, and for a region that was dropped there.
        claims: What the description claims, graded.
        verified: The description without what was denied.
        summary: In one sentence.
        conversation: Questions about the region and answers.
        dropped: What was lost on the way, and why.
    """

    index: int
    noun: str
    description: str | None = None
    claims: tuple[Claim, ...] = ()
    verified: str | None = None
    summary: str | None = None
    conversation: tuple[Exchange, ...] = ()
    dropped: tuple[Dropped, ...] = ()

    @property
    def alive(self) -> bool:
        """Whether the region itself is still in."""
        return all(item.what != "region" for item in self.dropped)

    def record(self, video: str) -> Mapping[str, Any]:
        """As JSON, under the video's id."""
        claims = [{"claim": claim.text, "question": claim.question, "grade": claim.grade} for claim in self.claims]
        turns = [{"question": turn.question, "answer": turn.answer} for turn in self.conversation]
        dropped = [
            {"stage": item.stage, "what": item.what, "reason": item.reason, "detail": item.detail}
            for item in self.dropped
        ]
        return {
            "video": video,
            "index": self.index,
            "noun": self.noun,
            "description": self.description,
            "claims": claims,
            "verified": self.verified,
            "summary": self.summary,
            "conversation": turns,
            "dropped": dropped,
        }
