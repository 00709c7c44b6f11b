"""Causal-VidQA's nine numbers, by the loop over six entries at a time that its authors count with."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import pytest

from datamodules.errors import DataError
from metrics import CausalVidQa, Prediction, Score

Predict: TypeAlias = Callable[..., Prediction]

PARTS = ("d", "e", "p", "pr", "c", "cr")


def _said(predict: Predict, video: str, part: str, chosen: int, label: int) -> Prediction:
    return predict(
        f"{video}_{part}",
        task="choice",
        options=("1", "2", "3", "4", "5"),
        label=label,
        answering="letter",
        prediction="ABCDE"[chosen],
        meta={"video": video, "part": part},
    )


def _random_answers() -> dict[str, dict[str, int]]:
    """Forty videos as the published prediction file has them, each key's ending its part, in order."""
    draw = random.Random(5)
    answers = {}
    for number in range(40):
        for part in range(6):
            label = draw.randrange(5)
            chosen = label if draw.random() < 0.7 else draw.randrange(5)
            answers[f"I3lGH_{number:02}_000001_{part}"] = {"prediction": chosen, "answer": label}
    return answers


def _six_at_a_time(answers: Mapping[str, Mapping[str, int]]) -> dict[str, float]:
    """Counts of entries in groups of six, which have to come sorted."""
    rows = [entry["prediction"] == entry["answer"] for _, entry in sorted(answers.items())]
    counts = dict.fromkeys(["d", "e", "p_a", "p_r", "c_a", "c_r", "p_ar", "c_ar"], 0)
    total = videos = 0
    for start in range(0, len(rows), 6):
        d, e, p, pr, c, cr = rows[start : start + 6]
        for name, right in zip(counts, (d, e, p, pr, c, cr, p and pr, c and cr), strict=True):
            counts[name] += right
        total += d + e + (p and pr) + (c and cr)
        videos += 1
    return {name: count / videos for name, count in counts.items()} | {"all": total / (4 * videos)}


def test_numbers_are_those_of_the_loop_over_six(
    predict: Predict, score_shuffled: Callable[..., dict[str, Score]]
) -> None:
    answers = _random_answers()
    predictions = [
        _said(predict, key[:-2], PARTS[int(key[-1])], entry["prediction"], entry["answer"])
        for key, entry in answers.items()
    ]
    scores = score_shuffled(CausalVidQa, predictions)
    expected = _six_at_a_time(answers)
    assert 0.2 < expected["c_ar"] < expected["c_a"] < 1
    assert {name: score.value for name, score in scores.items()} == pytest.approx(expected, abs=1e-12)
    assert {score.n for score in scores.values()} == {40}
    assert scores["p_ar"].protocol.startswith("Causal-VidQA P, both right; generated letter, extract")


def _marks(answer: int, reason: int, both: int) -> list[tuple[bool, bool]]:
    """A thousand pairs of marks with these counts."""
    only = [(True, False)] * (answer - both) + [(False, True)] * (reason - both)
    return ([(True, True)] * both + only + [(False, False)] * 1000)[:1000]


def test_all_is_the_mean_that_the_paper_prints(predict: Predict) -> None:
    videos = zip(
        [number < 840 for number in range(1000)],
        [number < 846 for number in range(1000)],
        _marks(842, 854, 769),
        _marks(747, 740, 643),
        strict=True,
    )
    predictions = [
        _said(predict, f"{number:04}", part, 0, 0 if right else 1)
        for number, (d, e, p, c) in enumerate(videos)
        for part, right in zip(PARTS, (d, e, *p, *c), strict=True)
    ]
    values = {name: round(100 * score.value, 6) for name, score in CausalVidQa().score(predictions).items()}
    assert values == {
        "d": 84.0,
        "e": 84.6,
        "p_a": 84.2,
        "p_r": 85.4,
        "p_ar": 76.9,
        "c_a": 74.7,
        "c_r": 74.0,
        "c_ar": 64.3,
        "all": 77.45,
    }


def _video(predict: Predict, video: str, parts: Sequence[str]) -> list[Prediction]:
    return [_said(predict, video, part, 0, 0) for part in parts]


def test_a_video_without_all_its_parts_is_an_error(predict: Predict) -> None:
    predictions = [*_video(predict, "v1", PARTS), *_video(predict, "v2", PARTS[:3])]
    with pytest.raises(DataError) as caught:
        CausalVidQa().score(predictions)
    message = "Causal-VidQA: 9 predictions of 2 videos, which need 6 each: 'v2' lacks pr, c, cr"
    assert str(caught.value) == message


def test_a_part_of_another_name_is_an_error(predict: Predict) -> None:
    with pytest.raises(DataError, match=r"'v1_0': meta.part: expected one of d, e, p, pr, c, cr, got '0'"):
        CausalVidQa().score(_video(predict, "v1", ["0"]))


def test_likelihoods_and_lengths_give_both_rules(predict: Predict) -> None:
    likely = {"option_scores": (-2.0, -3.0), "option_lengths": (1, 3), "options": ("yes", "not at all"), "label": 1}
    predictions = [predict(part, task="choice", **likely, meta={"video": "v", "part": part}) for part in PARTS]
    scores = CausalVidQa().score(predictions)
    assert (scores["all"].value, scores["all_per_token"].value) == (0.0, 1.0)
    assert len(scores) == 18
