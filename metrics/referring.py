"""Referring expression comprehension among given proposals: which region is meant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

from datamodules.errors import DataError
from datamodules.reading.fields import array
from datamodules.reading.geometry import parse_box
from metrics.accuracy import accuracies, normalise
from metrics.multiple_choice import ChoiceRule, choice_protocol, likeliest_option, right_option
from metrics.predictions import Prediction, PredictionMetric, Score

_EXACT = "exact id among the given regions"
_OVERLAP = "IoU > 0.5 of the chosen proposal with the truth"

Choice: TypeAlias = Callable[[Prediction], int | None]
"""The option that a prediction chose, if it did."""

Corners: TypeAlias = tuple[float, float, float, float]
"""A box (x0, y0, x1, y1) in pixels, half-open."""


class Referring(PredictionMetric):
    """The share of expressions for which the region of the label was chosen, or one that overlaps the truth.

    The options are regions, `<region0>`, `<region1>`, ... `accuracy` judges the generated text: all of it,
    normalised as for exact match, has to be the right region's mention, `[2]`. `accuracy_likelihood` judges
    the option that the model finds most likely, and is there where options were scored.

    Samples whose meta has `boxes`, one [x0, y0, x1, y1] in pixels for each option, and `target`, the box of the truth,
    are judged by overlap too: `accuracy_iou` and `accuracy_iou_likelihood` are the shares whose chosen box has an
    intersection over union of more than 0.5 with it; a text that is no option's mention is wrong. Such a sample needs
    no label, as the truth need not be among the proposals; it is left out of the exact numbers then.

    Each number also by group, as `<group>/accuracy`.

    Args:
        rule: What the most likely option has most of: `likelihood`, the option's summed log-likelihood, or
            `likelihood_per_token`, that sum divided by the option's number of tokens.
    """

    def __init__(self, rule: ChoiceRule = "likelihood") -> None:
        super().__init__()
        self.rule: ChoiceRule = rule

    def score(self, predictions: Sequence[Prediction]) -> dict[str, Score]:
        """Accuracies in [0, 1].

        Raises:
            DataError: Options, scores, lengths, label and boxes of a sample do not fit together, or the options of
                only some samples were scored.
        """
        scores = _accuracies(predictions, mentioned_option, "the generated text is its mention and nothing else", "")
        if any(prediction.option_scores for prediction in predictions):
            likeliest = partial(likeliest_option, rule=self.rule)
            scores |= _accuracies(predictions, likeliest, choice_protocol(self.rule), "_likelihood")
        return scores


def _accuracies(predictions: Sequence[Prediction], choose: Choice, how: str, suffix: str) -> dict[str, Score]:
    placed = [item for item in predictions if "boxes" in item.meta]
    labelled = [item for item in predictions if item.label is not None or "boxes" not in item.meta]
    scores: dict[str, Score] = {}
    if labelled:
        right = partial(_is_label, choose=choose)
        scores |= accuracies(labelled, right, f"{_EXACT}, {how}", f"accuracy{suffix}")
    if placed:
        right = partial(_overlaps, choose=choose)
        scores |= accuracies(placed, right, f"{_OVERLAP}, {how}", f"accuracy_iou{suffix}")
    return scores


def mentioned_option(prediction: Prediction) -> int | None:
    """Index of the option whose mention the generated text is; None where it is no option's."""
    mentions = [normalise(option) for option in prediction.options]
    text = normalise(prediction.prediction)
    return mentions.index(text) if text in mentions else None


def _is_label(prediction: Prediction, choose: Choice) -> bool:
    return choose(prediction) == right_option(prediction)


def _overlaps(prediction: Prediction, choose: Choice) -> bool:
    boxes, target = _proposals(prediction)
    chosen = choose(prediction)
    return chosen is not None and overlap(boxes[chosen], target) > 0.5


def _proposals(prediction: Prediction) -> tuple[list[Corners], Corners]:
    """The box of each option, and that of the truth."""
    target = prediction.need("target")
    try:
        boxes = array(prediction.need("boxes"), "meta.boxes", len(prediction.options))
        corners = [parse_box(box, f"meta.boxes[{number}]").xyxy for number, box in enumerate(boxes)]
        return corners, parse_box(target, "meta.target").xyxy
    except DataError as error:
        raise prediction.error(str(error)) from None


def overlap(one: Corners, other: Corners) -> float:
    """Intersection over union of two boxes with an area."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return width * height / (areas - width * height)
