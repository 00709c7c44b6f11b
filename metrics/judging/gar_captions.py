"""GAR-Bench's captions: whether an answer means the right one, or a description tells the relation of two masks."""

from __future__ import annotations

from collections.abc import Sequence

from datamodules.regvid.prompts import fenced
from metrics.judging.pictures import picture_and_regions
from metrics.judging.protocol import Asked, Judgement, JudgeProtocol, mean_of_first, scored_by
from metrics.judging.verdicts import truth
from metrics.judging.wording import Wording
from metrics.predictions import Prediction, Score, spell_regions

_SEES = "sees the picture, and each mask cut out at three times its size"
_RELATION = ("subject_name", "predicate_name", "object_name")


def _ask_simple(prediction: Prediction, wording: Wording) -> list[Asked]:
    text = wording.say(
        "text",
        reference=fenced("reference", spell_regions(prediction.references[0])),
        answer=fenced("answer", prediction.prediction),
    )
    return [Asked(text, truth)]


def _ask_detailed(prediction: Prediction, wording: Wording) -> list[Asked]:
    subject, predicate, other = (str(prediction.need(name)) for name in _RELATION)
    text = wording.say(
        "text",
        subject=subject,
        predicate=predicate,
        object=other,
        description=fenced("description", prediction.prediction),
    )
    return [Asked(text, truth)]


def _score(judgements: Sequence[Judgement], rule: str) -> dict[str, Score]:
    return scored_by(judgements, "accuracy", f"{rule}; share that is judged True", mean_of_first)


GAR_SIMPLE = JudgeProtocol(
    "GAR-Bench-Caption-Simple", _SEES, "gar_simple", {"text": frozenset({"reference", "answer"})}, _ask_simple, _score,
    picture_and_regions,
)  # fmt: skip
GAR_DETAILED = JudgeProtocol(
    "GAR-Bench-Caption-Detailed", _SEES, "gar_detailed",
    {"text": frozenset({"subject", "predicate", "object", "description"})}, _ask_detailed, _score, picture_and_regions,
)  # fmt: skip
