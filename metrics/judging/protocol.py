"""What a judged benchmark is: the words of its questions, how an answer is read, and what all answers come to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from datamodules.regvid.models import Image
from datamodules.types import RegionSample
from metrics.judging.wording import Wording
from metrics.predictions import Prediction, Score, with_groups

Verdict: TypeAlias = Any
"""What a judge has said to one question, as a JSON value."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One question to the judge.

    Attributes:
        text: Its words.
        read: The verdict in an answer without thoughts and blanks around it; raises `UnreadableError` without one.
    """

    text: str
    read: Callable[[str], Verdict]


class Judgement(NamedTuple):
    """A prediction and the judge's verdicts, one to each question about it."""

    prediction: Prediction
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class JudgeProtocol:
    """How a judge scores the answers of one benchmark.

    Attributes:
        title: The benchmark's name.
        sees: What the judge is given, in words that stand behind its name.
        wording: Name of the file of its words.
        texts: The texts of that file, and what each has to hold.
        ask: The questions about a prediction; `DataError` if it lacks something.
        score: What the judgements come to, at least one, sorted by id, under a protocol that begins as given.
        shown: The pictures that stand before each question about a sample; None for a judge that reads only.
    """

    title: str
    sees: str
    wording: str
    texts: Mapping[str, frozenset[str]]
    ask: Callable[[Prediction, Wording], Sequence[Asked]]
    score: Callable[[Sequence[Judgement], str], dict[str, Score]]
    shown: Callable[[RegionSample], tuple[Image, ...]] | None = None


def scored_by(
    judgements: Sequence[Judgement],
    name: str,
    rule: str,
    value: Callable[[Sequence[tuple[Verdict, ...]]], float],
) -> dict[str, Score]:
    """A number over all judgements as `name`, and as `<group>/name` in each group.

    Args:
        judgements: At least one.
        name: Of the number.
        rule: Its protocol.
        value: Of the verdicts of some of them.
    """
    verdicts = {prediction.id: said for prediction, said in judgements}
    return {
        f"{prefix}{name}": Score.of(value([verdicts[item.id] for item in part]), part, rule)
        for prefix, part in with_groups([prediction for prediction, _ in judgements]).items()
    }


def mean_of_first(verdicts: Sequence[tuple[Verdict, ...]]) -> float:
    """The mean of each prediction's first verdict, a number or a truth."""
    return sum(float(first) for first, *_ in verdicts) / len(verdicts)
