"""Ferret-Bench and MDVP-Bench: the answer beside a reference, both from 1 to 10; the number is how the sums compare.

The judge does not know which of the two is the model's, which is always the second, as in the benchmarks' own scripts.
"""

from __future__ import annotations

from collections.abc import Sequence

from datamodules.regvid.prompts import fenced
from metrics.judging.pictures import numbered_regions
from metrics.judging.protocol import Asked, Judgement, JudgeProtocol, Verdict, scored_by
from metrics.judging.verdicts import pair
from metrics.judging.wording import Wording
from metrics.predictions import Prediction, Score, spell_regions

_PAIR = frozenset({"question", "first", "second"})


def _answers(prediction: Prediction) -> dict[str, str]:
    return {
        "question": str(prediction.need("question")),
        "first": fenced("first", spell_regions(prediction.references[0])),
        "second": fenced("second", prediction.prediction),
    }


def _ask_ferret(prediction: Prediction, wording: Wording) -> list[Asked]:
    return [Asked(wording.say("text", context=str(prediction.need("context")), **_answers(prediction)), pair)]


def _ask_mdvp(prediction: Prediction, wording: Wording) -> list[Asked]:
    return [Asked(wording.say("text", **_answers(prediction)), pair)]


def _relative(verdicts: Sequence[tuple[Verdict, ...]]) -> float:
    references, answers = (sum(numbers[place] for (numbers,) in verdicts) for place in (0, 1))
    return float(answers / references)


def _score(judgements: Sequence[Judgement], rule: str) -> dict[str, Score]:
    return scored_by(
        judgements, "relative", f"{rule}; sum of the answers' grades by that of the references'", _relative
    )


FERRET = JudgeProtocol(
    "Ferret-Bench",
    "reads what is known of the picture, a reference and the answer",
    "ferret",
    {"text": _PAIR | {"context"}},
    _ask_ferret,
    _score,
)
MDVP = JudgeProtocol(
    "MDVP-Bench", "sees the picture with its regions numbered, a reference and the answer", "mdvp", {"text": _PAIR},
    _ask_mdvp, _score, numbered_regions,
)  # fmt: skip
