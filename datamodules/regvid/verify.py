"""Stage 3, verify: a second model answers closed questions about what the first one said."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from datamodules.errors import DataError
from datamodules.media.clips import sample_frames
from datamodules.regvid import schemas
from datamodules.regvid.accounts import GRADES, Account, Claim, Dropped, Grade
from datamodules.regvid.mark import MarkedVideo
from datamodules.regvid.models import ChatRequest, Pictures
from datamodules.regvid.parsing import UnreadableError, one_line, prose, read_list, read_object, read_prose
from datamodules.regvid.questions import Questions, Reading, UnusableError
from datamodules.regvid.transport import together
from datamodules.regvid.wanted import Wanted

_WORDS = re.compile(r"[^a-z]+")


class Shown(NamedTuple):
    """Frames without marks, and the line that says where the region is on one of them."""

    images: Pictures
    box: str


class Verify:
    """Three questions a region: split the description, judge its claims, and rewrite it without those denied.

    Only what is definitely denied goes; what the frames leave open stays.

    Args:
        questions: Puts them.
        wanted: What is left of a description has to be like.
        frames: How many frames the judge is shown.
    """

    def __init__(self, questions: Questions, wanted: Wanted, frames: int = 8) -> None:
        if frames < 1:
            raise DataError(f"verify: {frames} frames, the judge needs at least 1")
        self.questions = questions
        self.wanted = wanted
        self.frames = frames

    async def __call__(self, video: MarkedVideo, accounts: Sequence[Account]) -> tuple[Account, ...]:
        """The accounts with graded claims, and with the verified description or the reason why there is none.

        Raises:
            WaitingError: A question is not answered in this run.
        """
        return await together([self._verified(video, account) for account in accounts])

    async def _verified(self, video: MarkedVideo, account: Account) -> Account:
        if account.description is None:
            return account
        step = "split"
        try:
            account = replace(account, claims=await self._split(video, account))
            step = "judge"
            account = replace(account, claims=await self._judge(video, account))
            step = "rewrite"
            return replace(account, verified=await self._rewrite(video, account))
        except UnusableError as error:
            return _drop(account, f"{step}: {error.reason}", error.detail)

    async def _split(self, video: MarkedVideo, account: Account) -> tuple[Claim, ...]:
        assert account.description is not None
        fields = {**_named(video, account), "description": account.description}
        request = self.questions.prompts.ask("split", fields, schema=schemas.claims())
        return await self.questions.ask("split", video.video_id, request, _read_claims)

    async def _judge(self, video: MarkedVideo, account: Account) -> tuple[Claim, ...]:
        questions = "\n".join(f"{number}. {claim.question}" for number, claim in enumerate(account.claims, start=1))
        images, box = self._shown(video, account.index - 1)
        fields = {**_named(video, account), "box": box, "questions": questions}
        request = self.questions.prompts.ask(
            "judge", fields, images, schemas.verdicts(range(1, 1 + len(account.claims)))
        )
        read = partial(_read_grades, count=len(account.claims))
        grades = await self.questions.ask("judge", video.video_id, request, read)
        return tuple(replace(claim, grade=grade) for claim, grade in zip(account.claims, grades, strict=True))

    async def _rewrite(self, video: MarkedVideo, account: Account) -> str:
        assert account.description is not None
        denied = [claim.text for claim in account.claims if claim.denied]
        if not denied:
            return account.description
        if len(denied) == len(account.claims):
            raise UnusableError("every claim is denied", f"all {len(denied)} claims are denied")
        request = self._rewriting(video, account, denied)
        read = partial(_read_rewritten, description=account.description, denied=denied, wanted=self.wanted)
        return await self.questions.ask("rewrite", video.video_id, request, read)

    def _rewriting(self, video: MarkedVideo, account: Account, denied: Iterable[str]) -> ChatRequest:
        assert account.description is not None
        claims = "\n".join(f"- {claim}" for claim in denied)
        fields = {**_named(video, account), "description": account.description, "claims": claims}
        return self.questions.prompts.ask("rewrite", fields)

    def _shown(self, video: MarkedVideo, number: int) -> Shown:
        """Frames spread over those that were marked, one on which the region is known among them."""
        places = [place for place in range(len(video.frames)) if video.box(number, place) is not None]
        assert places, "the prompted frame is one of those that were sampled"
        chosen = sample_frames(0, len(video.frames), self.frames, places[:1])
        box = video.box(number, places[0])
        assert box is not None
        place = chosen.index(places[0])
        where = "the first image" if place == 0 else f"image {place + 1}"
        line = f"Box in {where}: {', '.join(f'{max(edge, 0.0):.1f}' for edge in box)}"
        return Shown(video.pictures("plain", chosen), line)


def _named(video: MarkedVideo, account: Account) -> dict[str, str]:
    return {"video": video.video_id, "index": str(account.index), "noun": account.noun}


def _drop(account: Account, reason: str, detail: str) -> Account:
    return replace(account, dropped=(*account.dropped, Dropped("verify", "region", reason, detail)))


def _read_claims(answer: str) -> Reading[tuple[Claim, ...]]:
    listed = read_list(answer)
    if not listed:
        raise UnreadableError("there is no claim in the list")
    return Reading(tuple(_claim(item, number) for number, item in enumerate(listed, start=1)))


def _claim(item: object, number: int) -> Claim:
    if not isinstance(item, dict) or set(item) != {"claim", "question"}:
        raise UnreadableError(f"item {number} is no object with claim and question")
    return Claim(prose(item["claim"], f"claim {number}"), prose(item["question"], f"question {number}"))


def _read_grades(answer: str, count: int) -> Reading[list[Grade]]:
    """A grade for every question and for no other: what is not graded cannot be guessed."""
    said = read_object(answer)
    if set(said) != set(range(1, count + 1)):
        raise UnreadableError(f"there are {count} questions, answered are {sorted(said)}")
    return Reading([_grade(said[number], number) for number in range(1, count + 1)])


def _grade(value: object, number: int) -> Grade:
    words = _WORDS.sub(" ", str(value).lower()).strip()
    for grade in GRADES:
        if words == grade:
            return grade
    raise UnreadableError(f"the answer to question {number} is none of {', '.join(GRADES)}")


def _read_rewritten(answer: str, description: str, denied: Sequence[str], wanted: Wanted) -> Reading[str]:
    text = wanted.shortened(read_prose(answer), "the text")
    before, after = description.lower(), text.lower()
    for claim in denied:
        part = one_line(claim).lower().rstrip(".!")
        if part in before and after.count(part) >= before.count(part):
            raise UnreadableError(f"it still says: {claim}")
    if len(said := _words(after)) > 2 * len(said & _words(before)):
        # a refusal, for one: what is left of a description is in its words
        raise UnreadableError("most of its words are not those of the description")
    return Reading(text)


def _words(text: str) -> set[str]:
    return set(_WORDS.sub(" ", text).split())
