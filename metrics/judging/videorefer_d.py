"""VideoRefer-Bench-D: a description beside the right one, in four respects from 0 to 5."""

from __future__ import annotations

from collections.abc import Sequence

from datamodules.regvid.prompts import fenced
from metrics.judging.protocol import Asked, Judgement, JudgeProtocol, Verdict, scored_by
from metrics.judging.verdicts import named_numbers
from metrics.judging.wording import Wording
from metrics.predictions import Prediction, Score

DIMENSIONS = (
    "Subject Correspondence",
    "Appearance Description",
    "Temporal Description",
    "Hallucination Detection",
)
MOST = 5


def _ask(prediction: Prediction, wording: Wording) -> list[Asked]:
    text = wording.say(
        "text",
        reference=fenced("reference", prediction.references[0]),
        description=fenced("description", prediction.prediction),
    )
    return [Asked(text, lambda answer: named_numbers(answer, DIMENSIONS, MOST))]


def _score(judgements: Sequence[Judgement], rule: str) -> dict[str, Score]:
    scores: dict[str, Score] = {}
    for place, dimension in enumerate(DIMENSIONS):
        name = dimension.lower().replace(" ", "_")

        def mean(verdicts: Sequence[tuple[Verdict, ...]], place: int = place) -> float:
            return sum(float(numbers[place]) for (numbers,) in verdicts) / len(verdicts)

        scores |= scored_by(judgements, name, f"{rule}; mean of 0 to {MOST}", mean)
    average = f"{rule}; mean of the four means of 0 to {MOST}"
    return scores | scored_by(
        judgements,
        "average",
        average,
        lambda verdicts: sum(sum(numbers) for (numbers,) in verdicts) / len(verdicts) / len(DIMENSIONS),
    )


VIDEOREFER_D = JudgeProtocol(
    "VideoRefer-Bench-D",
    "reads the description and the right one",
    "videorefer_d",
    {"text": frozenset({"reference", "description"})},
    _ask,
    _score,
)
