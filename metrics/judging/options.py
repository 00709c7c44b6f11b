"""What a configuration says of a judge."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from datamodules.errors import DataError, at_least
from datamodules.regvid.budget import Limits
from datamodules.regvid.models import ChatModel
from datamodules.regvid.patience import Patience
from metrics.judging.protocols import ProtocolName


@dataclass(frozen=True)
class Options:
    """A judge, and what it judges.

    Args:
        protocol: The benchmark and what the judge is given.
        model: The judge.
        predictions: What `test` has left.
        to: Folder of journal, verdicts and numbers; `judge-<protocol>` beside the predictions if left out.
        budget: What all runs on this folder's journal may use together.
        patience: What is done when things go wrong, and how often an answer that cannot be read is asked for.
        concurrency: Most calls at the same time.
        templates: Folder with a file of other words for the protocol, named as the built-in one.
    """

    protocol: ProtocolName
    model: ChatModel
    predictions: Path
    to: Path | None = None
    budget: Limits = field(default_factory=Limits)
    patience: Patience = field(default_factory=Patience)
    concurrency: int = 8
    templates: Path | None = None

    def __post_init__(self) -> None:
        at_least(1, **{"judge.concurrency": self.concurrency})
        if self.budget.money is not None and not self.model.price_in + self.model.price_out:
            raise DataError(f"judge.budget.money is {self.budget.money:g}, but the model has no price_in and price_out")

    @property
    def folder(self) -> Path:
        """Where everything goes."""
        return self.to or self.predictions.parent / f"judge-{self.protocol}"
