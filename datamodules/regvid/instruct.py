"""Stage 4, instruct: summaries and conversations out of verified descriptions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from datamodules.regvid import schemas
from datamodules.regvid.accounts import Account, Dropped, Exchange
from datamodules.regvid.parsing import UnreadableError, one_line, prose, read_object
from datamodules.regvid.prompts import fenced
from datamodules.regvid.questions import Questions, Reading, UnusableError
from datamodules.regvid.wanted import Wanted

MOST_WORDS = 20
_TOKENS = 400
"""Of a summary and a conversation of five turns."""

MENTION = re.compile(r"\[\s*(\d{1,4})\s*\]")
_FOREIGN = re.compile(r"<\s*region\s*\d*\s*>|<image>", re.I)


class Talk(NamedTuple):
    """What a model made of one description; None is what it did not make properly, and `lost` says why."""

    summary: str | None
    conversation: tuple[Exchange, ...]
    lost: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Instruct:
    """A question for as many verified descriptions of a video as an answer can hold.

    Attributes:
        questions: Puts them.
        wanted: What has to be written like.
    """

    questions: Questions
    wanted: Wanted

    async def __call__(self, video_id: str, accounts: Sequence[Account]) -> tuple[Account, ...]:
        """The accounts with summaries and conversations, or with the reason why there is none.

        Raises:
            WaitingError: A question is not answered in this run.
        """
        verified = [account for account in accounts if account.verified is not None]
        if not verified:
            return tuple(accounts)
        made = await self.questions.in_batches("instruct", verified, _TOKENS, partial(self._made, video_id), _lost)
        of = {account.index: account for account in made}
        return tuple(of.get(account.index, account) for account in accounts)

    async def _made(self, video_id: str, accounts: Sequence[Account]) -> list[Account]:
        listed = "\n".join(
            f"Region: [{account.index}] {account.noun}\n{fenced('description', str(account.verified))}"
            for account in accounts
        )
        fields = {"video": video_id, "regions": listed}
        schema = schemas.talks(account.index for account in accounts)
        request = self.questions.prompts.ask("instruct", fields, schema=schema)
        read = partial(_read, indices={account.index for account in accounts}, wanted=self.wanted)
        reading = await self.questions.ask("instruct", video_id, request, read)
        return [_told(account, reading.value[account.index], reading.answer) for account in accounts]


def _told(account: Account, talk: Talk, answer: str) -> Account:
    lost = (Dropped("instruct", what, f"no usable {what}", why, answer) for what, why in talk.lost.items())
    return account.losing(*lost, summary=talk.summary, conversation=talk.conversation)


def _lost(account: Account, error: UnusableError) -> Account:
    return account.losing(*(error.losing("instruct", what) for what in ("brief", "conversation")))


def _read(answer: str, indices: set[int], wanted: Wanted) -> Reading[dict[int, Talk]]:
    """What the answer makes of each region; a part that is not as it must be is left out and a problem."""
    said = read_object(answer, indices)
    talks = {index: _talk(said.get(index), index, indices, wanted) for index in sorted(indices)}
    return Reading(talks, tuple(problem for talk in talks.values() for problem in talk.lost.values()))


def _talk(value: object, index: int, indices: set[int], wanted: Wanted) -> Talk:
    fields: Mapping[str, Any] = value if isinstance(value, dict) else {}
    lost: dict[str, str] = {}
    summary: str | None = None
    conversation: tuple[Exchange, ...] = ()
    try:
        where = f"the summary of [{index}]"
        summary = wanted.written(_summary(fields.get("summary"), where), where)
    except UnreadableError as error:
        lost["brief"] = str(error)
    try:
        turns = _conversation(fields.get("conversation"), index, indices)
        for turn in turns:
            wanted.written(f"{turn.question} {turn.answer}", f"the conversation of [{index}]")
        conversation = turns
    except UnreadableError as error:
        lost["conversation"] = str(error)
    return Talk(summary, conversation, lost)


def _summary(value: object, where: str) -> str:
    summary = prose(value, where)
    if (words := len(summary.split())) > MOST_WORDS:
        raise UnreadableError(f"{where} has {words} words, more than {MOST_WORDS}")
    return summary


def _conversation(value: object, index: int, indices: set[int]) -> tuple[Exchange, ...]:
    where = f"the conversation of [{index}]"
    if not isinstance(value, list) or not value:
        raise UnreadableError(f"{where} is no list of turns")
    turns = tuple(_turn(turn, indices, f"{where}, turn {number}") for number, turn in enumerate(value, start=1))
    if all(index not in mentioned(turn) for turn in turns):
        raise UnreadableError(f"{where} never asks about [{index}]")
    return turns


def _turn(value: object, indices: set[int], where: str) -> Exchange:
    if not isinstance(value, dict) or not isinstance(value.get("question"), str) or not value["question"].strip():
        raise UnreadableError(f"{where} is no object with question and answer")
    turn = Exchange(one_line(value["question"]), prose(value.get("answer"), f"{where}, the answer"))
    named = mentioned(turn)
    if not named:
        raise UnreadableError(f"{where}, the question points at no region")
    if strange := sorted(set(named) - indices):
        raise UnreadableError(f"{where}, the question points at [{strange[0]}], which is not listed")
    if _FOREIGN.search(turn.question):
        raise UnreadableError(f"{where}, the question holds a placeholder")
    return turn


def mentioned(turn: Exchange) -> list[int]:
    """The indices that a question points at, in its order."""
    return [int(index) for index in MENTION.findall(turn.question)]
