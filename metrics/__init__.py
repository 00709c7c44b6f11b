"""Numbers from predictions: gathered from all ranks, scored once, each with its protocol."""

from metrics.accuracy import ExactMatch
from metrics.captioning import Captioning, score_captions
from metrics.classification import RegionClassification
from metrics.evaluation import Evaluation
from metrics.guide import GuideTracking
from metrics.multiple_choice import MultipleChoice
from metrics.predictions import Prediction, PredictionMetric, Score, by_group
from metrics.referring import Referring

__all__ = [
    "Captioning",
    "Evaluation",
    "ExactMatch",
    "GuideTracking",
    "MultipleChoice",
    "Prediction",
    "PredictionMetric",
    "Referring",
    "RegionClassification",
    "Score",
    "by_group",
    "score_captions",
]
