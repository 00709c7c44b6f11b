"""DLC-Bench: whether the described object is of the right class, then multiple choice about the description.

Two protocols are in use and differ by tenths. The benchmark's own judge, Llama 3.1 8B, has the description alone; what
GAR's authors recommend, GPT-4o, is shown the object and its mask as well, and does not take what it cannot know for a
mistake.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from string import ascii_uppercase

from datamodules.errors import DataError
from datamodules.reading.fields import array, filled, mapping, member
from datamodules.regvid.prompts import fenced
from metrics.dlc_bench import RECOGNITION, dlc_scores, parse_questions
from metrics.judging.pictures import regions_and_masks
from metrics.judging.protocol import Asked, Judgement, JudgeProtocol
from metrics.judging.verdicts import choice
from metrics.judging.wording import Wording
from metrics.predictions import Prediction, Score, data_protocols

_TEXTS = {
    "text": frozenset({"description", "question", "choices"}),
    "recognised": frozenset({"class_name"}),
}
_RULE = "at most 0 where not recognised"


def _ask(prediction: Prediction, wording: Wording) -> list[Asked]:
    class_name = filled(prediction.need("class_name"), f"sample {prediction.id!r}: meta.class_name")
    questions = [(wording.say("recognised", class_name=class_name), RECOGNITION), *_questions(prediction)]
    description = fenced("description", prediction.prediction)
    return [
        Asked(
            wording.say("text", description=description, question=question, choices=_listed(choices)),
            partial(choice, choices=choices),
        )
        for question, choices in questions
    ]


def _questions(prediction: Prediction) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The words and the choices of each; what a score needs is looked at before a call is spent on it."""
    where = f"sample {prediction.id!r}: meta.questions"
    value = prediction.need("questions")
    for number, question in enumerate(parse_questions(value, where)):
        at = f"{where}[{number}]"
        if not 0 < len(question.choices) <= len(ascii_uppercase):
            raise DataError(f"{at}.choices: {len(question.choices)}, expected 1 to {len(ascii_uppercase)}")
        told = mapping(array(value, where)[number], at)
        yield filled(member(told, "question", at), f"{at}.question"), question.choices


def _listed(choices: Sequence[str]) -> str:
    return "\n".join(f"{letter}. {text}" for letter, text in zip(ascii_uppercase, choices, strict=False))


def _score(judgements: Sequence[Judgement], rule: str) -> dict[str, Score]:
    predictions = [prediction for prediction, _ in judgements]
    scores = dlc_scores(
        {prediction.id: prediction.need("questions") for prediction in predictions},
        {prediction.id: verdicts for prediction, verdicts in judgements},
        f"{rule}; {_RULE}",
    )
    data = data_protocols(predictions)
    return {name: score._replace(protocol="; ".join([score.protocol, *data])) for name, score in scores.items()}


DLC_TEXT = JudgeProtocol("DLC-Bench", "reads the description alone", "dlc_text", _TEXTS, _ask, _score)
DLC_IMAGES = JudgeProtocol(
    "DLC-Bench", "sees the object and its mask, cut out at three times its size", "dlc_images", _TEXTS, _ask, _score,
    regions_and_masks,
)  # fmt: skip
