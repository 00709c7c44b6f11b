"""How much goes in and comes out at every stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from datamodules.regvid.accounts import DENIED, GRADES, NOT_SEEN, STAGES, Account, Stage
from datamodules.regvid.journal import Calls, Journal
from datamodules.regvid.models import Usage
from datamodules.regvid.quotations import Description


@dataclass(slots=True)
class Funnel:
    """Counts over videos, in whatever order they are finished.

    Attributes:
        videos: In the sources.
        without_noun: Regions that were left out before the first stage.
        regions: In the videos that could be marked.
        counts: By stage and name.
        dropped: By stage, what is lost, and reason.
        unreadable: Videos that could not be marked, by reason.
        waiting: Videos by the stage whose answers are not there yet.
    """

    videos: int
    without_noun: int = 0
    regions: int = 0
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    dropped: Counter[tuple[Stage, str, str]] = field(default_factory=Counter)
    unreadable: Counter[str] = field(default_factory=Counter)
    waiting: Counter[Stage] = field(default_factory=Counter)

    @property
    def done(self) -> int:
        """Videos that went through all stages."""
        return self.videos - self.waiting.total() - self.unreadable.total()

    @property
    def samples(self) -> int:
        """Of all sorts."""
        return sum(self.counts["instruct", kind] for kind in ("detailed", "brief", "conversation"))

    def add(self, account: Account, done: bool) -> None:
        """Counts one region, as far as it got; its samples if its video is done."""
        count = self.counts
        if account.description is not None:
            count["describe", "described"] += 1
            if account.claims:
                description = Description(account.description)
                count["verify", "words"] += len(description.words)
                count["verify", "quoted"] += len(description.quoted(claim.text for claim in account.claims))
        for claim in account.claims:
            if claim.grade is not None:
                count["verify", "claims"] += 1
                count["verify", claim.grade] += 1
                count["verify", "denied"] += claim.denied
        if account.verified is not None:
            count["verify", "verified"] += 1
            count["verify", "rewritten"] += account.verified != account.description
        for item in account.dropped:
            self.dropped[item.stage, item.what, item.reason] += 1
        if done:
            self._count_samples(account)

    def _count_samples(self, account: Account) -> None:
        count = self.counts
        count["instruct", "detailed"] += account.verified is not None
        count["instruct", "brief"] += account.summary is not None
        count["instruct", "conversation"] += bool(account.conversation)
        count["instruct", "turns"] += len(account.conversation)
        count["instruct", "checked"] += len(account.checked)
        count["instruct", "denied"] += sum(claim.denied for claim in account.checked)

    def report(self, journal: Journal) -> Mapping[str, Any]:
        """All counts as JSON; calls are those of all runs on the journal."""
        count = self.counts
        calls = journal.calls()
        waiting = {stage: self.waiting[stage] for stage in STAGES if self.waiting[stage]}
        grades = {grade: count["verify", grade] for grade in GRADES}
        denied = count["verify", "denied"]
        judged = {"denied": denied, "not denied again": grades[DENIED] - denied, "unsure": grades["unsure"]}
        passed = {name: count["verify", name] for name in ("rewritten", "verified", "words", "quoted")}
        kinds = ("detailed", "brief", "conversation", "turns", "checked", "denied")
        return {
            "videos": {
                "found": self.videos,
                "done": self.done,
                "waiting": waiting,
                "dropped": dict(sorted(self.unreadable.items())),
            },
            "regions": {"found": self.regions, "without noun": self.without_noun},
            "describe": {
                "described": count["describe", "described"],
                "not seen": self.dropped["describe", "region", NOT_SEEN],
                "dropped": self._reasons("describe"),
            },
            "verify": {"claims": count["verify", "claims"], "grades": grades, **judged, **passed}
            | {"dropped": self._reasons("verify")},
            "instruct": {kind: count["instruct", kind] for kind in kinds} | {"dropped": self._reasons("instruct")},
            "calls": {role: _calls(calls[role]) for role in calls},
            "total": _usage(journal.spent()),
        }

    def _reasons(self, stage: Stage) -> Mapping[str, Mapping[str, int]]:
        """By what is lost and why."""
        reasons: dict[str, dict[str, int]] = {}
        for (where, what, reason), number in sorted(self.dropped.items()):
            if where == stage:
                reasons.setdefault(what, {})[reason] = number
        return reasons


def _calls(calls: Calls) -> Mapping[str, Any]:
    counted = {"answered": calls.answered, "unreadable": calls.unreadable, "failed": calls.failed}
    return {**counted, **_usage(calls.usage)}


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "money": round(usage.money, 6),
    }
