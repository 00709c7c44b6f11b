"""What is known about a region, growing from stage to stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
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
    """Something said of a region that can be true or false by itself.

    Attributes:
        text: It: words of the description, or a summary, or a question and its answer.
        question: The closed question that checks it.
        grade: What the judge says; None before it was asked.
        again: What it says to the same in other words; None if it was not asked a second time.
    """

    text: str
    question: str
    grade: Grade | None = None
    again: Grade | None = None

    @property
    def denied(self) -> bool:
        """Whether the frames contradict it, every time that the judge was asked."""
        return self.grade == DENIED and self.again in (None, DENIED)

    def record(self) -> Mapping[str, Any]:
        """As JSON."""
        verdicts = {"grade": self.grade, "again": self.again, "denied": self.denied}
        return {"claim": self.text, "question": self.question, **verdicts}


@dataclass(frozen=True, slots=True)
class Dropped:
    """What does not get into the data: the whole region, or one sample about it.

    Attributes:
        stage: Where it was lost.
        what: `region`, the sort of sample, or a part of one.
        reason: Why, without the numbers and names that differ from case to case.
        detail: Why, with them.
        answer: The last answer that could not be used, as it came; no more than its beginning if it is long.
    """

    stage: Stage
    what: str
    reason: str
    detail: str = ""
    answer: str = ""


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
        checked: The summary and the turns of the conversation as they were made, graded.
        dropped: What was lost on the way, and why.
    """

    index: int
    noun: str
    description: str | None = None
    claims: tuple[Claim, ...] = ()
    verified: str | None = None
    summary: str | None = None
    conversation: tuple[Exchange, ...] = ()
    checked: tuple[Claim, ...] = ()
    dropped: tuple[Dropped, ...] = ()

    @property
    def alive(self) -> bool:
        """Whether the region itself is still in."""
        return all(item.what != "region" for item in self.dropped)

    def losing(self, *lost: Dropped, **changes: Any) -> Account:
        """The account with more that was dropped, and with other fields as told."""
        return replace(self, dropped=(*self.dropped, *lost), **changes)

    def record(self, video: str) -> dict[str, Any]:
        """As JSON, under the video's id."""
        judged = {name: [claim.record() for claim in getattr(self, name)] for name in ("claims", "checked")}
        return {"video": video, **asdict(self), **judged}
