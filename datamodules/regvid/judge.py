"""Closed questions about one region, which a second model answers from the frames without marks."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from datamodules.errors import DataError
from datamodules.media.clips import sample_frames
from datamodules.regvid import schemas
from datamodules.regvid.accounts import GRADES, Account, Claim, Grade, Stage
from datamodules.regvid.mark import MarkedVideo
from datamodules.regvid.models import Pictures
from datamodules.regvid.parsing import UnreadableError, read_object
from datamodules.regvid.questions import Questions, Reading

_NO_LETTERS = re.compile(r"[^a-z]+")


class Shown(NamedTuple):
    """Frames without marks, and the lines that say where regions are on them."""

    images: Pictures
    boxes: str


@dataclass(frozen=True, slots=True)
class Judge:
    """Grades claims; what it denies may be put to it a second time, in other words.

    Attributes:
        questions: Puts them.
        frames: How many frames it is shown.
        verdicts: How often it has to deny a claim, 1 or 2.
    """

    questions: Questions
    frames: int
    verdicts: int

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise DataError(f"verify: {self.frames} frames, the judge needs at least 1")

    async def __call__(
        self,
        stage: Stage,
        video: MarkedVideo,
        account: Account,
        claims: Sequence[Claim],
        others: Collection[int] = (),
    ) -> tuple[Claim, ...]:
        """The claims, graded.

        Args:
            stage: Where they were made.
            video: Its frames.
            account: The region that they are about.
            claims: At least one.
            others: Indices of the other regions that questions point at.

        Raises:
            UnusableError: There are no grades for them.
            WaitingError: A question is not answered in this run.
        """
        shown = self._shown(video, account, others)
        ask = partial(self._grades, stage, video, account, shown)
        grades = await ask([claim.question for claim in claims])
        graded = [replace(claim, grade=grade) for claim, grade in zip(claims, grades, strict=True)]
        denied = [claim for claim in graded if claim.denied]
        if not denied or self.verdicts == 1:
            return tuple(graded)
        again = iter(await ask([_in_other_words(claim, account.noun) for claim in denied]))
        return tuple(replace(claim, again=next(again)) if claim.denied else claim for claim in graded)

    async def _grades(
        self, stage: Stage, video: MarkedVideo, account: Account, shown: Shown, asked: Sequence[str]
    ) -> list[Grade]:
        questions = "\n".join(f"{number}. {question}" for number, question in enumerate(asked, start=1))
        fields = {**named(video, account), "box": shown.boxes, "questions": questions}
        schema = schemas.verdicts(range(1, 1 + len(asked)))
        request = self.questions.prompts.ask("judge", fields, shown.images, schema)
        read = partial(_read_grades, count=len(asked))
        return (await self.questions.ask("judge", video.video_id, request, read, stage)).value

    def _shown(self, video: MarkedVideo, account: Account, others: Collection[int]) -> Shown:
        """Frames spread over those that were marked, one on which the region is known among them."""
        places = [place for place in range(len(video.frames)) if video.box(account.index - 1, place) is not None]
        assert places, "the prompted frame is one of those that were sampled"
        chosen = sample_frames(0, len(video.frames), self.frames, places[:1])
        lines = [f"Box in {_box(video, account.index, chosen, chosen.index(places[0]))}"]
        for other in sorted(others):
            known = (at for at, place in enumerate(chosen) if video.box(other - 1, place) is not None)
            if (first := next(known, None)) is not None:
                noun = video.nouns[other - 1]
                lines.append(f"Another object, [{other}] {noun}, is in {_box(video, other, chosen, first)}")
        return Shown(video.pictures("plain", chosen), "\n".join(lines))


def named(video: MarkedVideo, account: Account) -> dict[str, str]:
    """The fields of a prompt that say which region it is about."""
    return {"video": video.video_id, "index": str(account.index), "noun": account.noun}


def _box(video: MarkedVideo, index: int, chosen: Sequence[int], at: int) -> str:
    box = video.box(index - 1, chosen[at])
    assert box is not None
    where = "the first image" if at == 0 else f"image {at + 1}"
    return f"{where}: {', '.join(f'{max(edge, 0.0):.1f}' for edge in box)}"


def _in_other_words(claim: Claim, noun: str) -> str:
    """Whoever guesses does not guess the same twice."""
    return f'Do the frames agree that this can be said of the {noun}: "{claim.text}"?'


def _read_grades(answer: str, count: int) -> Reading[list[Grade]]:
    """A grade for every question and for no other: what is not graded cannot be guessed."""
    said = read_object(answer)
    if set(said) != set(range(1, count + 1)):
        raise UnreadableError(f"there are {count} questions, answered are {sorted(said)}")
    return Reading([_grade(said[number], number) for number in range(1, count + 1)])


def _grade(value: object, number: int) -> Grade:
    words = _NO_LETTERS.sub(" ", str(value).lower()).strip()
    for grade in GRADES:
        if words == grade:
            return grade
    raise UnreadableError(f"the answer to question {number} is none of {', '.join(GRADES)}")
