"""Numbers from predictions: gathered from all ranks, scored once, each with its protocol."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metrics.accuracy import ExactMatch
    from metrics.captioning import Captioning, score_captions
    from metrics.causal_vidqa import CausalVidQa
    from metrics.classification import RegionClassification
    from metrics.dlc_bench import dlc_scores, parse_choice
    from metrics.evaluation import Evaluation
    from metrics.guide import GuideTracking
    from metrics.multiple_choice import MultipleChoice
    from metrics.open_vocabulary import OpenVocabulary
    from metrics.pope import Pope
    from metrics.predictions import Prediction, PredictionMetric, Score, by_group
    from metrics.referring import Referring
    from metrics.unjudged import Unjudged
    from metrics.vcr import Vcr

__all__ = [
    "Captioning",
    "CausalVidQa",
    "Evaluation",
    "ExactMatch",
    "GuideTracking",
    "MultipleChoice",
    "OpenVocabulary",
    "Pope",
    "Prediction",
    "PredictionMetric",
    "Referring",
    "RegionClassification",
    "Score",
    "Unjudged",
    "Vcr",
    "by_group",
    "dlc_scores",
    "parse_choice",
    "score_captions",
]

_ROOMS = {
    "Captioning": "captioning",
    "CausalVidQa": "causal_vidqa",
    "Evaluation": "evaluation",
    "ExactMatch": "accuracy",
    "GuideTracking": "guide",
    "MultipleChoice": "multiple_choice",
    "OpenVocabulary": "open_vocabulary",
    "Pope": "pope",
    "Prediction": "predictions",
    "PredictionMetric": "predictions",
    "Referring": "referring",
    "RegionClassification": "classification",
    "Score": "predictions",
    "Unjudged": "unjudged",
    "Vcr": "vcr",
    "by_group": "predictions",
    "dlc_scores": "dlc_bench",
    "parse_choice": "dlc_bench",
    "score_captions": "captioning",
}


def __getattr__(name: str) -> Any:
    # torch takes seconds to import, and the help of a command does not need it
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)
