"""The end of stage 4: summaries and conversations are put to the judge as descriptions are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from datamodules.regvid.accounts import Account, Claim, Dropped, Exchange
from datamodules.regvid.instruct import mentioned
from datamodules.regvid.judge import Judge
from datamodules.regvid.mark import MarkedVideo
from datamodules.regvid.questions import UnusableError
from datamodules.regvid.transport import together


@dataclass(frozen=True, slots=True)
class Check:
    """A question a region; a denied summary goes, and of a conversation the turns that are denied.

    Attributes:
        judge: Grades them.
    """

    judge: Judge

    async def __call__(self, video: MarkedVideo, accounts: Sequence[Account]) -> tuple[Account, ...]:
        """The accounts with what was not denied; what nobody could judge is dropped.

        Raises:
            WaitingError: A question is not answered in this run.
        """
        return await together([self._checked(video, account) for account in accounts])

    async def _checked(self, video: MarkedVideo, account: Account) -> Account:
        claims = [] if account.summary is None else [_of_summary(account.summary, account.noun)]
        claims += map(_of_turn, account.conversation)
        if not claims:
            return account
        others = {index for turn in account.conversation for index in mentioned(turn)} - {account.index}
        try:
            checked = await self.judge("instruct", video, account, claims, others)
        except UnusableError as error:
            made = {"brief": account.summary, "conversation": account.conversation}
            lost = (error.losing("instruct", what, "judge") for what in made if made[what])
            return account.losing(*lost, summary=None, conversation=())
        return _without_denied(replace(account, checked=checked))


def _without_denied(account: Account) -> Account:
    turns = account.checked[len(account.checked) - len(account.conversation) :]
    lost = [Dropped("instruct", "turn", "denied", claim.text) for claim in turns if claim.denied]
    kept = tuple(turn for turn, claim in zip(account.conversation, turns, strict=True) if not claim.denied)
    if account.conversation and all(account.index not in mentioned(turn) for turn in kept):
        kept = ()
        lost.append(Dropped("instruct", "conversation", "denied"))
    summary = account.summary
    if summary is not None and account.checked[0].denied:
        lost.append(Dropped("instruct", "brief", "denied", summary))
        summary = None
    return account.losing(*lost, summary=summary, conversation=kept)


def _of_summary(summary: str, noun: str) -> Claim:
    return Claim(summary, f'Is it true to say of the {noun}: "{summary}"?')


def _of_turn(turn: Exchange) -> Claim:
    return Claim(f"{turn.question} {turn.answer}", f'Asked "{turn.question}", is it true to say: "{turn.answer}"?')
