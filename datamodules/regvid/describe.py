"""Stage 2, describe: what a vision-language model sees of each numbered region."""

from __future__ import annotations

from functools import partial

from datamodules.regvid import schemas
from datamodules.regvid.accounts import NOT_SEEN, Account, Dropped
from datamodules.regvid.mark import MarkedVideo
from datamodules.regvid.parsing import UnreadableError, read_object, seen
from datamodules.regvid.questions import Questions, Reading, UnusableError
from datamodules.regvid.wanted import Wanted


class Describe:
    """One question a video: all its regions on the marked frames.

    Args:
        questions: Puts them.
        wanted: What a description has to be like.
    """

    def __init__(self, questions: Questions, wanted: Wanted) -> None:
        self.questions = questions
        self.wanted = wanted

    async def __call__(self, video: MarkedVideo) -> tuple[Account, ...]:
        """An account of each region, with its description or with the reason why there is none.

        Raises:
            WaitingError: The question is not answered in this run.
        """
        accounts = tuple(Account(index, noun) for index, noun in enumerate(video.nouns, start=1))
        listed = "\n".join(f"[{account.index}] {account.noun}" for account in accounts)
        fields = {"video": video.video_id, "regions": listed}
        request = self.questions.prompts.ask(
            "describe", fields, video.pictures("marked"), schemas.descriptions(account.index for account in accounts)
        )
        try:
            read = partial(_read, count=len(accounts), wanted=self.wanted)
            said = await self.questions.ask("describe", video.video_id, request, read)
        except UnusableError as error:
            lost = Dropped("describe", "region", error.reason, error.detail)
            return tuple(Account(account.index, account.noun, dropped=(lost,)) for account in accounts)
        return tuple(_told(account, said) for account in accounts)


def _told(account: Account, said: dict[int, str | None]) -> Account:
    if description := said.get(account.index):
        return Account(account.index, account.noun, description)
    reason = NOT_SEEN if account.index in said else "not described"
    return Account(account.index, account.noun, dropped=(Dropped("describe", "region", reason),))


def _read(answer: str, count: int, wanted: Wanted) -> Reading[dict[int, str | None]]:
    """The description of each region that the answer speaks of properly."""
    spoken = read_object(answer)
    if strange := sorted(set(spoken) - set(range(1, count + 1))):
        # numbers that are not on the frames may stand for others that are
        raise UnreadableError(f"index {strange[0]} is none of 1 to {count}")
    said: dict[int, str | None] = {}
    problems = [f"there is nothing about [{index}]" for index in range(1, count + 1) if index not in spoken]
    for index, value in spoken.items():
        where = f"the description of [{index}]"
        try:
            text = seen(value, where)
            said[index] = None if text is None else wanted.described(text, where)
        except UnreadableError as error:
            problems.append(str(error))
    return Reading(said, tuple(problems))
