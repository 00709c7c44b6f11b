"""Referring among given regions, by text and by likelihood, by the very region and by overlap."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from datamodules.errors import DataError
from metrics import Prediction, Referring, Score
from metrics.referring import overlap

Predict: TypeAlias = Callable[..., Prediction]

PROPOSALS: dict[str, Any] = {
    "task": "refer",
    "references": ("<region2>",),
    "options": ("<region0>", "<region1>", "<region2>", "<region12>"),
    "label": 2,
}


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("[2]", True),
        (" [2].\n", True),
        ("<region2>", True),
        ("[12]", False),
        ("2", False),
        ("[2] [3]", False),
        ("the dog [2]", False),
        ("[ 2 ]", False),
        ("", False),
    ],
)
def test_the_whole_text_has_to_be_the_mention(predict: Predict, text: str, right: bool) -> None:
    scores = Referring().score([predict("a", **PROPOSALS, prediction=text)])
    assert set(scores) == {"accuracy"}
    assert scores["accuracy"].value == right


def test_likelihood_is_a_number_of_its_own(predict: Predict) -> None:
    samples = [
        predict("a", **PROPOSALS, group="val", prediction="[2]", option_scores=(-1.0, -2.0, -3.0, -4.0)),
        predict("b", **PROPOSALS, group="val", prediction="[2]", option_scores=(-4.0, -3.0, -2.0, -3.0)),
    ]
    scores = Referring().score(samples)
    assert {name: score.value for name, score in scores.items()} == {
        "accuracy": 1.0,
        "val/accuracy": 1.0,
        "accuracy_likelihood": 0.5,
        "val/accuracy_likelihood": 0.5,
    }


def test_options_scored_for_some_samples_only_are_an_error(predict: Predict) -> None:
    scored = predict("a", **PROPOSALS, option_scores=(-1.0, -2.0, -3.0, -4.0))
    with pytest.raises(DataError, match="'b': 0 option scores for 4 options"):
        Referring().score([scored, predict("b", **PROPOSALS)])


def test_a_label_without_its_option_is_an_error(predict: Predict) -> None:
    with pytest.raises(DataError, match="'a': label 4 with 4 options"):
        Referring().score([predict("a", **(PROPOSALS | {"label": 4}))])


# --- by overlap ---------------------------------------------------------------------------------------------

TARGET = [0, 0, 10, 10]
BOXES: dict[str, Any] = {"boxes": [[0, 0, 10, 5], [0, 0, 10, 6], TARGET, [20, 0, 30, 10]], "target": TARGET}


def _pixels(box: list[int]) -> set[tuple[int, int]]:
    return {(x, y) for x in range(box[0], box[2]) for y in range(box[1], box[3])}


def _box(draw: random.Random) -> list[int]:
    x, y = draw.randrange(8), draw.randrange(8)
    return [x, y, x + draw.randint(1, 8), y + draw.randint(1, 8)]


def test_overlap_is_that_of_pixels_counted() -> None:
    draw = random.Random(0)
    for _ in range(200):
        one, other = _box(draw), _box(draw)
        first, second = _pixels(one), _pixels(other)
        expected = len(first & second) / len(first | second)
        assert overlap(tuple(one), tuple(other)) == pytest.approx(expected)  # type: ignore[arg-type]  # four numbers each


@pytest.mark.parametrize(
    ("text", "right"), [("[0]", False), ("[1]", True), ("[2]", True), ("[12]", False), ("[7]", False), ("a dog", False)]
)
def test_more_than_half_of_the_union_is_right_and_no_box_is_wrong(predict: Predict, text: str, right: bool) -> None:
    """The first box has an IoU of exactly a half."""
    scores = Referring().score([predict("a", **PROPOSALS, meta=BOXES, prediction=text)])
    assert {name: score.value for name, score in scores.items()} == {"accuracy": text == "[2]", "accuracy_iou": right}


def test_numbers_by_overlap_are_those_of_a_loop(
    predict: Predict, score_shuffled: Callable[..., dict[str, Score]]
) -> None:
    draw = random.Random(1)
    predictions, said, likely = [], 0, 0
    for number in range(200):
        boxes, target, label = [_box(draw) for _ in range(4)], _box(draw), draw.randrange(4)
        boxes[label] = target
        mention, scores = draw.choice([label, *range(5)]), [draw.random() for _ in range(4)]
        areas = [len(_pixels(box) & _pixels(target)) * 2 > len(_pixels(box) | _pixels(target)) for box in boxes]
        said += mention < 4 and areas[mention]
        likely += areas[max(range(4), key=scores.__getitem__)]
        predictions.append(
            predict(
                f"{number}",
                task="refer",
                options=tuple(f"<region{index}>" for index in range(4)),
                label=label,
                prediction=f"[{mention}]",
                option_scores=tuple(scores),
                meta={"boxes": boxes, "target": target},
            )
        )
    results = score_shuffled(Referring, predictions)
    assert (results["accuracy_iou"].value, results["accuracy_iou_likelihood"].value) == (said / 200, likely / 200)
    assert results["accuracy"].value < results["accuracy_iou"].value
    assert results["accuracy_likelihood"].value < results["accuracy_iou_likelihood"].value
    assert "IoU > 0.5" in results["accuracy_iou"].protocol


def test_a_truth_that_is_no_proposal_is_judged_by_overlap_alone(predict: Predict) -> None:
    proposed = predict("a", **(PROPOSALS | {"label": None}), meta=BOXES, prediction="[1]")
    assert {name: score.n for name, score in Referring().score([proposed]).items()} == {"accuracy_iou": 1}
    named = predict("b", **PROPOSALS, prediction="[2]")
    scores = Referring().score([proposed, named])
    assert {name: (score.value, score.n) for name, score in scores.items()} == {
        "accuracy": (1.0, 1),
        "accuracy_iou": (1.0, 1),
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"boxes": [TARGET]}, "'a': meta.boxes: expected 4 elements"),
        ({"boxes": [TARGET, TARGET, TARGET, [0, 0, 0, 1]]}, r"'a': meta.boxes\[3\]: inverted or empty"),
        ({"target": [0, 0, float("inf"), 1]}, "'a': meta.target: expected a finite number, got inf"),
        ({"target": None}, "'a': meta.target: expected 4 elements, got None"),
    ],
)
def test_boxes_that_do_not_fit_are_an_error(predict: Predict, change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Referring().score([predict("a", **PROPOSALS, meta=BOXES | change)])


def test_boxes_without_a_target_are_an_error(predict: Predict) -> None:
    with pytest.raises(DataError, match=r"^sample 'a': meta has no 'target', which its metric needs; it has"):
        Referring().score([predict("a", **PROPOSALS, meta={"boxes": BOXES["boxes"]})])
