"""What a model said about a sample, and the metric that gathers it from all ranks and scores it once.

Corpus scores (CIDEr, METEOR, average precision) are no averages over batches, so a metric's state is the
predictions themselves. They travel to the first rank as text in tensors, where they are scored in one order whatever
the number of ranks; the others are told the scores.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, NamedTuple, Self, TypeAlias

import torch
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from datamodules.errors import DataError
from datamodules.prompting.placeholders import PLACEHOLDER
from datamodules.types import Task
from metrics.ranks import joined_on_first, on_first_rank
from metrics.sample_sums import SampleSums

Chosen: TypeAlias = Literal["likelihood", "letter", "number"]
"""How an option was chosen: as `datamodules.types.Answering`, or it is told as a number."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model answered to one sample, with everything needed to score it.

    Attributes:
        id: The sample's id; predictions with the same id are one sample, seen twice.
        task: How it is scored.
        group: What its number is reported under, or empty.
        prompt: The text the model was given.
        prediction: The generated text, without surrounding whitespace.
        references: All answers that count as right; at least the sample's answer.
        options: The options of a multiple choice, or empty.
        label: Index of the right option.
        option_scores: Log-likelihood of each option, summed over its tokens, or empty.
        option_lengths: Number of tokens of each option, or empty.
        answering: How one of the options is chosen: by `likelihood`, by the `letter` that was generated, or by the
            `number` that somebody else's file gives, which is then the prediction, counted from 0.
        protocol: What of the data the number depends on; printed beside it.
        cluster: The name of what it shares with the predictions that are no evidence independent of it; empty in files
            of earlier versions, which do not say.
        meta: What a metric needs beyond the text; JSON values only.
    """

    id: str
    task: Task
    group: str
    prompt: str
    prediction: str
    references: tuple[str, ...]
    options: tuple[str, ...] = ()
    label: int | None = None
    option_scores: tuple[float, ...] = ()
    option_lengths: tuple[int, ...] = ()
    answering: Chosen = "likelihood"
    protocol: str = ""
    cluster: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """The prediction as one line of ASCII, without a line break.

        Raises:
            DataError: `meta` holds something that JSON has no word for.
        """
        record = {item.name: getattr(self, item.name) for item in fields(self)}
        try:
            return json.dumps(record | {"meta": dict(self.meta)})
        except TypeError as error:
            raise DataError(f"sample {self.id!r}: prediction: {error}") from error

    @classmethod
    def from_json(cls, line: str) -> Self:
        """The prediction that `to_json` wrote.

        Raises:
            DataError: The line is no JSON, or has a missing or an unknown field.
        """
        try:
            record = json.loads(line)
            values: dict[str, Any] = {
                key: tuple(value) if isinstance(value, list) else value for key, value in record.items()
            }
            return cls(**values)
        except (ValueError, TypeError, AttributeError) as error:
            raise DataError(f"not a prediction ({error}): {line[:80]!r}") from error

    def need(self, name: str) -> Any:
        """The value in `meta` that a metric cannot do without.

        Raises:
            DataError: It is not there.
        """
        if name not in self.meta:
            raise self.error(f"meta has no {name!r}, which its metric needs; it has {sorted(self.meta)}")
        return self.meta[name]

    def error(self, problem: str) -> DataError:
        """The one error line for this prediction."""
        return DataError(f"sample {self.id!r}: {problem}")


# No frozen dataclass: torchmetrics rebuilds what `compute` returns, and refuses to rebuild one.
class Score(NamedTuple):
    """A number, how many samples it stands on, and the protocol it was measured by."""

    value: float
    n: int
    protocol: str

    @classmethod
    def of(cls, value: float, predictions: Sequence[Prediction], rule: str) -> Score:
        """A number on these predictions: the protocol is the `rule` it was scored by, and how their data was made."""
        return cls(value, len(predictions), "; ".join([rule, *data_protocols(predictions)]))


def data_protocols(predictions: Sequence[Prediction]) -> list[str]:
    """What the data of these predictions say of themselves, sorted; of how many each is said if it is not of all."""
    counts = Counter(prediction.protocol for prediction in predictions)
    if len(counts) == 1:
        return [protocol for protocol in counts if protocol]
    return [f"{protocol} ({counts[protocol]} of {len(predictions)})" for protocol in sorted(counts) if protocol]


class PredictionMetric(Metric, ABC):
    """Gathers predictions; a subclass says how a complete list of them is scored.

    `update` takes the predictions of a batch, `compute` returns the scores of all batches of all ranks, on every rank.
    Samples that a distributed sampler repeated count once; neither order nor number of ranks changes a bit.

    Attributes:
        item: Where the meta of a prediction names the item that it is a part of, if items are scored whole; a
            comparison resamples them whole as well.
    """

    item: ClassVar[str] = ""

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    lines: list[torch.Tensor] | torch.Tensor

    def __init__(self) -> None:
        super().__init__(sync_on_compute=False)  # every rank would have the predictions of all
        self.add_state("lines", default=[], dist_reduce_fx="cat")

    @abstractmethod
    def score(self, predictions: Sequence[Prediction]) -> dict[str, Score]:
        """The scores of these predictions: at least one, one a sample, sorted by id. Pure."""

    def sample_sums(self, name: str, predictions: Sequence[Prediction]) -> SampleSums | None:
        """By what sums over samples a score comes, where that is known.

        Args:
            name: As in `score`.
            predictions: As in `score`.
        """
        return None

    def update(self, predictions: Sequence[Prediction]) -> None:
        """Adds the predictions of a batch."""
        text = "".join(f"{prediction.to_json()}\n" for prediction in predictions)
        if text:
            assert isinstance(self.lines, list), "update of a metric that is synchronised"
            self.lines.append(torch.frombuffer(bytearray(text, "utf-8"), dtype=torch.uint8).to(self.device))

    def compute(self) -> dict[str, Score]:
        """The scores of all predictions of all ranks; empty where there is none.

        Every rank has to call it. The first one scores, the others are told.

        Raises:
            DataError: A prediction cannot be scored, or two different samples have one id.
        """
        return self.scores_and_predictions()[0]

    def predictions(self) -> list[Prediction]:
        """All ranks' predictions, one a sample, sorted by id; none but on the first rank. Every rank has to call it.

        Raises:
            DataError: Two different samples have one id.
        """
        lines, predictions = self._gathered(), list[Prediction]()
        on_first_rank(lambda: predictions.extend(_decoded(lines)), self.device)
        return predictions

    def scores_and_predictions(self) -> tuple[dict[str, Score], list[Prediction]]:
        """What `compute` and `predictions` return, gathered and read once.

        Raises:
            DataError: As `compute`.
        """
        lines, predictions = self._gathered(), list[Prediction]()

        def work() -> dict[str, Score]:
            predictions.extend(_decoded(lines))
            return self.score(predictions) if predictions else {}

        return on_first_rank(work, self.device), predictions

    def _gathered(self) -> bytes:
        """The lines of all ranks, on the first."""
        own = dim_zero_cat(self.lines) if len(self.lines) else torch.empty(0, dtype=torch.uint8, device=self.device)
        gathered: bytes = joined_on_first(own).cpu().numpy().tobytes()
        return gathered


def _decoded(lines: bytes) -> list[Prediction]:
    """One a sample, sorted by id."""
    unique: dict[str, Prediction] = {}
    # Sorted, so that which one of several answers to a sample is kept does not depend on the ranks.
    for line in sorted(set(lines.decode().splitlines())):
        prediction = Prediction.from_json(line)
        _check_same_sample(unique.setdefault(prediction.id, prediction), prediction)
    return [unique[key] for key in sorted(unique)]


def _check_same_sample(kept: Prediction, dropped: Prediction) -> None:
    for name in ("task", "group", "references", "options", "label", "cluster"):
        one, other = getattr(kept, name), getattr(dropped, name)
        if one != other:
            raise kept.error(f"two different samples have this id: {name} {one!r} and {other!r}")


def by_group(predictions: Sequence[Prediction]) -> dict[str, list[Prediction]]:
    """The predictions of each group, groups sorted by name; those without a group are left out."""
    groups: dict[str, list[Prediction]] = {}
    for prediction in predictions:
        groups.setdefault(prediction.group, []).append(prediction)
    return {name: groups[name] for name in sorted(groups) if name}


def with_groups(predictions: Sequence[Prediction]) -> dict[str, Sequence[Prediction]]:
    """What a number is given for, by the prefix of its name: all of them as "", and each group as "group/"."""
    return {"": predictions, **{f"{name}/": part for name, part in by_group(predictions).items()}}


def spell_regions(text: str) -> str:
    """The text with regions as a model writes them: `<region2>` becomes `[2]`, `<region>` becomes `[0]`."""
    return PLACEHOLDER.sub(lambda match: f"[{match[1].lstrip('0') or 0}]", text)
