"""Stage 2, describe: what a vision-language model sees of each numbered region."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from datamodules.regvid import schemas
from datamodules.regvid.accounts import NOT_SEEN, Account, Dropped
from datamodules.regvid.mark import MarkedVideo
from datamodules.regvid.parsing import UnreadableError, read_object, seen
from datamodules.regvid.questions import Questions, Reading, UnusableError
from datamodules.regvid.wanted import Wanted

_TOKENS_AROUND = 16  # index, quotation marks


@dataclass(frozen=True, slots=True)
class Describe:
    """A question for as many regions of a video as an answer can hold, each time on the same marked frames.

    Attributes:
        questions: Puts them.
        wanted: What a description has to be like.
    """

    questions: Questions
    wanted: Wanted

    async def __call__(self, video: MarkedVideo) -> tuple[Account, ...]:
        """An account of each region, with its description or with the reason why there is none.

        Raises:
            WaitingError: A question is not answered in this run.
        """
        accounts = [Account(index, noun) for index, noun in enumerate(video.nouns, start=1)]
        tokens = self.wanted.usual_tokens + _TOKENS_AROUND
        return await self.questions.in_batches("describe", accounts, tokens, partial(self._described, video), _lost)

    async def _described(self, video: MarkedVideo, accounts: Sequence[Account]) -> list[Account]:
        listed = "\n".join(f"[{account.index}] {account.noun}" for account in accounts)
        fields = {"video": video.video_id, "regions": listed}
        request = self.questions.prompts.ask(
            "describe", fields, video.pictures("marked"), schemas.descriptions(account.index for account in accounts)
        )
        read = partial(_read, indices={account.index for account in accounts}, wanted=self.wanted)
        reading = await self.questions.ask("describe", video.video_id, request, read)
        return [_told(account, reading) for account in accounts]


def _told(account: Account, reading: Reading[dict[int, str | None]]) -> Account:
    if description := reading.value.get(account.index):
        return replace(account, description=description)
    reason = NOT_SEEN if account.index in reading.value else "not described"
    return account.losing(Dropped("describe", "region", reason, answer=reading.answer))


def _lost(account: Account, error: UnusableError) -> Account:
    return account.losing(error.losing("describe", "region"))


def _read(answer: str, indices: set[int], wanted: Wanted) -> Reading[dict[int, str | None]]:
    """The description of each region that the answer speaks of properly."""
    spoken = read_object(answer, indices)
    said: dict[int, str | None] = {}
    problems = [f"there is nothing about [{index}]" for index in sorted(indices) if index not in spoken]
    for index, value in spoken.items():
        where = f"the description of [{index}]"
        try:
            text = seen(value, where)
            said[index] = None if text is None else wanted.described(text, where)
        except UnreadableError as error:
            problems.append(str(error))
    return Reading(said, tuple(problems))
