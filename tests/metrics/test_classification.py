"""Accuracy, balanced accuracy and mAP of the classes named for regions."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TypeAlias

import pytest
from sklearn.metrics import balanced_accuracy_score  # type: ignore[import-untyped]  # has no types

from datamodules.errors import DataError
from metrics import Prediction, RegionClassification

Predict: TypeAlias = Callable[..., Prediction]

CLASSES = ["red cell", "white cell", "platelet", "dog", "cat", "traffic light"]


def _region(predict: Predict, number: int, answer: str, truth: str, image: int = 1) -> Prediction:
    """A region apart from all others of its image."""
    box = [20.0 * number, 5.0, 10.25, 8.5]
    return predict(
        f"{number:03}",
        task="classify",
        prediction=answer,
        references=(truth,),
        meta={"image_id": image, "bbox": box, "category_id": CLASSES.index(truth)},
    )


def _values(predictions: Sequence[Prediction]) -> dict[str, float]:
    return {name: score.value for name, score in RegionClassification().score(predictions).items()}


def _random_regions(predict: Predict) -> list[Prediction]:
    """Eighty regions in eight images, a third of them named wrongly; one class has no region."""
    draw = random.Random(1)
    regions = []
    for number in range(80):
        truth = draw.choice(CLASSES[:-1])
        answer = truth if draw.random() < 0.67 else draw.choice([*CLASSES, "a bird"])
        regions.append(_region(predict, number, answer, truth, image=number // 10))
    return regions


def test_numbers_worked_by_hand(predict: Predict) -> None:
    regions = [
        _region(predict, 0, "cat", "cat"),
        _region(predict, 1, "dog", "cat"),
        _region(predict, 2, "dog", "dog"),
    ]
    scores = RegionClassification().score(regions)
    assert scores["accuracy"].value == 2 / 3
    assert scores["balanced_accuracy"].value == (1 / 2 + 1) / 2
    # cat: precision 1 up to recall 0.5, 51 of COCO's 101 levels. dog: one false, then one true detection.
    assert scores["map"].value == pytest.approx((51 / 101 + 1 / 2) / 2, abs=1e-12)
    assert {score.n for score in scores.values()} == {3}
    assert len({score.protocol for score in scores.values()}) == 3


def test_balanced_accuracy_is_that_of_scikit_learn(predict: Predict) -> None:
    regions = [item for item in _random_regions(predict) if item.prediction in CLASSES[:-1]]
    truths = [item.references[0] for item in regions]
    expected = balanced_accuracy_score(truths, [item.prediction for item in regions])
    assert _values(regions)["balanced_accuracy"] == pytest.approx(expected, abs=1e-12)


def _average_precision(hits: Sequence[bool], positives: int) -> float:
    """Area under the interpolated precision at COCO's 101 recall levels."""
    precisions = [sum(hits[:rank]) / rank for rank in range(1, len(hits) + 1)]
    recalls = [sum(hits[:rank]) / positives for rank in range(1, len(hits) + 1)]
    points = list(zip(recalls, precisions, strict=True))
    # As in COCO, a recall that is the level but for rounding reaches it.
    levels = (max((p for r, p in points if r + 1e-9 >= step / 100), default=0.0) for step in range(101))
    return sum(levels) / 101


def test_map_equals_brute_force(predict: Predict) -> None:
    regions = _random_regions(predict)
    values = []
    for name in CLASSES[:-1]:
        hits = [item.references[0] == name for item in regions if item.prediction == name]
        values.append(_average_precision(hits, sum(item.references[0] == name for item in regions)))
    assert 0.3 < _values(regions)["map"] < 0.7
    assert _values(regions)["map"] == pytest.approx(sum(values) / len(values), abs=1e-9)


def test_images_of_two_data_sets_do_not_meet(predict: Predict) -> None:
    """With one image id for both, the dog of the first would match the box of the second."""
    one = predict("a/1", task="classify", group="a", prediction="dog", references=("cat",), meta=_square(1))
    other = predict("b/1", task="classify", group="b", prediction="cat", references=("dog",), meta=_square(1))
    assert _values([one, other])["map"] == 0.0
    assert _values([one, other])["b/accuracy"] == 0.0


def _square(image: int) -> dict[str, object]:
    return {"image_id": image, "bbox": [0.0, 0.0, 10.0, 10.0]}


def test_accuracy_is_exact_and_map_reads_up_to_the_comma(predict: Predict) -> None:
    regions = [
        _region(predict, 0, "Cat, sitting", "cat"),
        _region(predict, 1, "dog", "dog"),
        _region(predict, 2, "traffic light", "traffic light"),
    ]
    assert _values(regions) == {"accuracy": 2 / 3, "balanced_accuracy": 2 / 3, "map": pytest.approx(1.0)}


def test_underscores_of_class_names_are_blanks_for_map(predict: Predict) -> None:
    region = predict("a", task="classify", prediction="traffic light", references=("traffic_light",), meta=_square(1))
    assert _values([region]) == {"accuracy": 0.0, "balanced_accuracy": 0.0, "map": pytest.approx(1.0)}


def test_answers_outside_the_classes_are_dropped(predict: Predict) -> None:
    """A wrong class costs precision in that class, an unknown word only recall in its own."""
    known = [_region(predict, 0, "dog", "cat"), _region(predict, 1, "dog", "dog")]
    unknown = [_region(predict, 0, "bird", "cat"), _region(predict, 1, "dog", "dog")]
    assert _values(known)["map"] == pytest.approx(0.25)
    assert _values(unknown)["map"] == pytest.approx(0.5)
    assert _values(unknown[:1])["map"] == 0.0


def test_nothing_is_printed(predict: Predict, capfd: pytest.CaptureFixture[str]) -> None:
    RegionClassification().score([_region(predict, 0, "cat", "cat")])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("missing", ["image_id", "bbox"])
def test_missing_meta_is_an_error_that_names_the_sample(predict: Predict, missing: str) -> None:
    meta = {key: value for key, value in _square(1).items() if key != missing}
    region = predict("s9", task="classify", references=("cat",), meta=meta)
    with pytest.raises(DataError, match=f"'s9': meta has no '{missing}'"):
        RegionClassification().score([region])
