"""ViP-Bench: how right an answer is, from 0 to 1, over all questions and for each capability that they need."""

from __future__ import annotations

from collections.abc import Sequence

from datamodules.reading.fields import array, filled
from datamodules.regvid.prompts import fenced
from metrics.judging.protocol import Asked, Judgement, JudgeProtocol
from metrics.judging.verdicts import share
from metrics.judging.wording import Wording
from metrics.predictions import Prediction, Score, spell_regions


def _capabilities(prediction: Prediction) -> list[str]:
    where = f"sample {prediction.id!r}: meta.capability"
    return [filled(name, where) for name in array(prediction.need("capability"), where)]


def _ask(prediction: Prediction, wording: Wording) -> list[Asked]:
    _capabilities(prediction)
    truth = prediction.references[0].replace("<AND>", " <AND> ").replace("<OR>", " <OR> ")
    text = wording.say(
        "text",
        question=spell_regions(str(prediction.need("question"))),
        reference=fenced("reference", truth),
        answer=fenced("answer", prediction.prediction),
    )
    return [Asked(text, share)]


def _score(judgements: Sequence[Judgement], rule: str) -> dict[str, Score]:
    within: dict[str, list[Judgement]] = {"": list(judgements)}
    for judgement in judgements:
        for name in sorted(set(_capabilities(judgement.prediction))):
            within.setdefault(f"{name}/", []).append(judgement)
    return {
        f"{prefix}correctness": Score.of(
            sum(verdicts[0] for _, verdicts in within[prefix]) / len(within[prefix]),
            [prediction for prediction, _ in within[prefix]],
            f"{rule}; mean correctness",
        )
        for prefix in sorted(within)
    }


VIP = JudgeProtocol(
    "ViP-Bench",
    "reads question, right answer and answer",
    "vip",
    {"text": frozenset({"question", "reference", "answer"})},
    _ask,
    _score,
)
