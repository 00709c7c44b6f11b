"""Region classification, the protocol RegionGPT used on COCO."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from typing import Any

from metrics.accuracy import accuracies
from metrics.predictions import Prediction, PredictionMetric, Score

_EXACT = "text equals the class name"
_MAP = "COCO box AP; ground-truth boxes, class before the first ',', score 1, other classes dropped"


class RegionClassification(PredictionMetric):
    """Accuracy, balanced accuracy and mAP of the class named for each ground-truth region.

    A sample's reference is its class name in lower case; its meta has `image_id` (an integer) and `bbox`
    (x, y, width, height in pixels). The classes are those of the samples scored. A longer list would not
    change mAP: a class without a ground-truth region has no average precision and is left out of the mean.
    """

    def score(self, predictions: Sequence[Prediction]) -> dict[str, Score]:
        """`accuracy`, `balanced_accuracy` and `map`, each in [0, 1]; `<group>/accuracy` in each group.

        Raises:
            DataError: A sample's meta lacks `image_id` or `bbox`.
        """
        balanced = f"{_EXACT}, mean recall of classes"
        return accuracies(predictions, _is_right, _EXACT) | {
            "balanced_accuracy": Score.of(_balanced_accuracy(predictions), predictions, balanced),
            "map": Score.of(mean_average_precision(predictions), predictions, _MAP),
        }


def _is_right(prediction: Prediction) -> bool:
    return prediction.prediction == prediction.references[0]


def _balanced_accuracy(predictions: Sequence[Prediction]) -> float:
    right: dict[str, list[bool]] = {}
    for prediction in predictions:
        right.setdefault(prediction.references[0], []).append(_is_right(prediction))
    return sum(sum(marks) / len(marks) for marks in right.values()) / len(right)


def mean_average_precision(predictions: Sequence[Prediction]) -> float:
    """COCO's box average precision (IoU 0.50 to 0.95) in [0, 1].

    The prediction is the ground truth's box with the class named before the first comma and score 1. As all
    scores are equal, AP depends on the order: by group, then image id, then the order given.

    Raises:
        DataError: A sample's meta lacks `image_id` or `bbox`.
    """
    ordered = sorted(predictions, key=_image)
    images = {key: number for number, key in enumerate(dict.fromkeys(map(_image, ordered)), start=1)}
    names = sorted({_class(item.references[0]) for item in ordered})
    classes = {name: number for number, name in enumerate(names, start=1)}
    truths = [_annotation(item, images, classes[_class(item.references[0])]) for item in ordered]
    answers = [(item, item.prediction.split(",")[0].lower()) for item in ordered]
    detections = [_annotation(item, images, classes[name]) for item, name in answers if name in classes]
    return _coco_average_precision(images.values(), classes.values(), truths, detections)


def _class(name: str) -> str:
    return name.replace("_", " ").lower()


def _image(prediction: Prediction) -> tuple[str, int]:
    """The image, told apart from another data set's image of the same number."""
    image: int = prediction.need("image_id")
    return prediction.group, image


def _annotation(prediction: Prediction, images: Mapping[tuple[str, int], int], category: int) -> dict[str, Any]:
    x, y, width, height = prediction.need("bbox")
    return {
        "image_id": images[_image(prediction)],
        "category_id": category,
        "bbox": [x, y, width, height],
        "area": width * height,
        "iscrowd": 0,
        "score": 1.0,
    }


def _coco_average_precision(
    images: Iterable[int],
    categories: Iterable[int],
    truths: Sequence[Mapping[str, Any]],
    detections: Sequence[Mapping[str, Any]],
) -> float:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def annotated(annotations: Sequence[Mapping[str, Any]]) -> Any:
        # Numbered from 1: COCOeval takes a match with annotation 0 for none.
        numbered = [{**annotation, "id": number} for number, annotation in enumerate(annotations, start=1)]
        coco = COCO()
        coco.dataset = {
            "images": [{"id": image} for image in images],
            "categories": [{"id": category} for category in categories],
            "annotations": numbered,
        }
        coco.createIndex()
        return coco

    with redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        evaluation = COCOeval(annotated(truths), annotated(detections), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])
