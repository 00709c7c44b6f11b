"""Stage 3, verify: a second model answers closed questions about what the first one said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from datamodules.errors import DataError
from datamodules.regvid import schemas
from datamodules.regvid.accounts import Account, Claim
from datamodules.regvid.judge import Judge, named
from datamodules.regvid.mark import MarkedVideo
from datamodules.regvid.parsing import UnreadableError, prose, read_list, read_prose
from datamodules.regvid.questions import Questions, Reading, UnusableError
from datamodules.regvid.quotations import Cut, Description, check_mended
from datamodules.regvid.transport import together
from datamodules.regvid.wanted import Wanted


@dataclass(frozen=True)
class Checks:
    """How strictly is checked what models have written.

    Args:
        coverage: Least share of a description's words that its claims have to quote.
        verdicts: How often the judge has to deny a claim before it is removed, 1 or 2; the second time it is asked
            about those that it has denied, in other words.
        instructions: Whether summaries and conversations are put to the judge as well.
    """

    coverage: float = 0.7
    verdicts: int = 1
    instructions: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.coverage <= 1 or self.verdicts not in (1, 2):
            raise DataError(
                f"regvid.checks: coverage {self.coverage:g} must be in [0, 1], verdicts {self.verdicts} 1 or 2"
            )


@dataclass(frozen=True, slots=True)
class Verify:
    """Three questions a region: split the description, judge its claims, and mend what is left without those denied.

    Claims are quotations. Only what is definitely denied goes; what the frames leave open stays. It is cut out here,
    whatever a model makes of the rest: where nothing usable, whole sentences go instead.

    Attributes:
        questions: Puts them.
        judge: Grades the claims.
        wanted: What is left of a description has to be like.
        coverage: Least share of a description's words that its claims have to quote.
    """

    questions: Questions
    judge: Judge
    wanted: Wanted
    coverage: float = Checks.coverage

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
            account = replace(account, claims=await self.judge("verify", video, account, account.claims))
            step = "rewrite"
            return await self._rewritten(video, account)
        except UnusableError as error:
            return account.losing(error.losing("verify", "region", step))

    async def _split(self, video: MarkedVideo, account: Account) -> tuple[Claim, ...]:
        assert account.description is not None
        fields = {**named(video, account), "description": account.description}
        request = self.questions.prompts.ask("split", fields, schema=schemas.claims())
        read = partial(_read_claims, description=Description(account.description), least=self.coverage)
        return (await self.questions.ask("split", video.video_id, request, read)).value

    async def _rewritten(self, video: MarkedVideo, account: Account) -> Account:
        assert account.description is not None
        denied = [claim.text for claim in account.claims if claim.denied]
        if not denied:
            return replace(account, verified=account.description)
        others = [claim.text for claim in account.claims if not claim.denied]
        cut = Description(account.description).without(denied, others)
        if not cut.text or not others:
            raise UnusableError("every claim is denied", f"{len(denied)} of {len(account.claims)} claims are denied")
        if cut.text == cut.whole:
            return replace(account, verified=cut.text)
        try:
            return replace(account, verified=await self._mended(video, account, cut))
        except UnusableError as error:
            if not cut.whole:
                raise
            return account.losing(error.losing("verify", "sentence", "rewrite"), verified=cut.whole)

    async def _mended(self, video: MarkedVideo, account: Account, cut: Cut) -> str:
        request = self.questions.prompts.ask("rewrite", {**named(video, account), "description": cut.text})
        read = partial(_read_mended, cut=cut, wanted=self.wanted)
        return (await self.questions.ask("rewrite", video.video_id, request, read)).value


def _read_claims(answer: str, description: Description, least: float) -> Reading[tuple[Claim, ...]]:
    """The claims that quote the description; those that do not, and sentences that none quotes, are problems."""
    listed = read_list(answer)
    if not listed:
        raise UnreadableError("there is no claim in the list")
    every = [_claim(item, number) for number, item in enumerate(listed, start=1)]
    claims = tuple(claim for claim in every if description.quoted([claim.text]))
    quotes = [claim.text for claim in claims]
    problems = [f"not word for word in the description: {claim.text}" for claim in every if claim not in claims]
    problems += [f"no claim quotes anything of: {sentence}" for sentence in description.unquoted(quotes)]
    share = len(description.quoted(quotes)) / max(len(description.words), 1)
    if share < least or not claims:
        said = f"the claims quote {share:.0%} of the description's words, {least:.0%} are wanted"
        raise UnreadableError("; ".join([said, *problems]), "too little is quoted")
    return Reading(claims, tuple(problems))


def _claim(item: object, number: int) -> Claim:
    if not isinstance(item, dict) or set(item) != {"claim", "question"}:
        raise UnreadableError(f"item {number} is no object with claim and question")
    return Claim(prose(item["claim"], f"claim {number}"), prose(item["question"], f"question {number}"))


def _read_mended(answer: str, cut: Cut, wanted: Wanted) -> Reading[str]:
    text = wanted.shortened(read_prose(answer), "the text")
    check_mended(text, cut)
    return Reading(text)
