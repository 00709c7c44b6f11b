"""`python cli.py score`: saved predictions give the metric's own numbers, in a table and in results.json."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import given

import cli
from attempts import problem
from damage import FUZZ, damaged, dump_jsonl
from datamodules.errors import DataError
from experiments.commands.score import main
from metrics import (
    CausalVidQa,
    Evaluation,
    MultipleChoice,
    Pope,
    Prediction,
    PredictionMetric,
    Referring,
    RegionClassification,
    Vcr,
    score_captions,
)
from metrics.benchmarks import BENCHMARKS
from metrics.peer_files.caption import read as read_captions
from metrics.saved import score_files

Predict: TypeAlias = Callable[..., Prediction]

OPTIONS: dict[str, Any] = {"options": ("a", "b", "c"), "option_lengths": (1, 2, 4), "label": 1}


def save(path: Path, predictions: Sequence[Prediction]) -> Path:
    """As a run leaves them."""
    path.write_text("".join(f"{prediction.to_json()}\n" for prediction in predictions))
    return path


def choices(predict: Predict, **meta: Sequence[str]) -> list[Prediction]:
    """A choice for every combination of names; which ones are right is a pattern."""
    (item, names), (_, parts) = meta.items()
    return [
        predict(
            f"{name}/{part}",
            task="choice",
            meta={item: name, "part": part},
            option_scores=(-3.0, -1.0 - 3.0 * ((row + column) % 3 == 0), -2.0),
            **OPTIONS,
        )
        for row, name in enumerate(names)
        for column, part in enumerate(parts)
    ]


def of_benchmark(predict: Predict, name: str) -> tuple[list[Prediction], PredictionMetric]:
    """Some predictions of a benchmark, and the metric they belong to."""
    box = {"bbox": [1.0, 2.0, 30.0, 40.0]}
    made: dict[str, tuple[list[Prediction], PredictionMetric]] = {
        "causal_vidqa": (choices(predict, video="vwx", part=("d", "e", "p", "pr", "c", "cr")), CausalVidQa()),
        "vcr": (choices(predict, annot_id="stuv", part=("answer", "rationale")), Vcr()),
        "multiple_choice": (choices(predict, video="vw", part="pq"), MultipleChoice()),
        "gar_vqa": (
            [
                predict(f"{kind}{said}", task="choice", group=kind, prediction=said, answering="letter", **OPTIONS)
                for kind in ("color", "mirror")
                for said in ("B", "(B)", "a")
            ],
            MultipleChoice(letter_rule="exact"),
        ),
        "videorefer_q": (
            [
                predict(f"{kind}{said}", task="choice", group=kind, prediction=said, answering="letter", **OPTIONS)
                for kind in ("Basic", "Future")
                for said in ("(B) b", "b", "A)", "")
            ],
            MultipleChoice(letter_rule="extract"),
        ),
        "pope": (
            [
                predict(f"{kind}{said}", task="yes_no", group=kind, prediction=said, references=("no",))
                for kind in ("random", "popular")
                for said in ("Yes", "No", "not\n", "no it is")
            ],
            Pope(),
        ),
        "referring": (
            [
                predict(said, task="refer", prediction=said, options=("<region0>", "<region1>"), label=1)
                for said in ("[1]", "[0]", "1")
            ],
            Referring(),
        ),
        "region_classification": (
            [
                predict(said, task="classify", prediction=said, references=("dog",), meta={"image_id": number} | box)
                for number, said in enumerate(("dog", "Dog, brown", "cat"))
            ],
            RegionClassification(),
        ),
    }
    return made[name]


# open_vocabulary needs a model of sentences: `test_open_vocabulary.py`
@pytest.mark.parametrize("name", sorted(BENCHMARKS.keys() - {"caption", "dlc", "open_vocabulary"}))
def test_our_own_predictions_give_the_metric_s_numbers(tmp_path: Path, predict: Predict, name: str) -> None:
    predictions, metric = of_benchmark(predict, name)
    metric.update(predictions)
    expected = metric.compute()
    assert any(score.value for score in expected.values())
    half = len(predictions) // 2
    for files in ([predictions[::-1]], [predictions[half:], predictions[: half + 1]]):
        paths = [save(tmp_path / f"{number}.jsonl", part) for number, part in enumerate(files)]
        assert score_files(name, paths) == expected


def test_captions_of_our_own_give_the_metric_s_numbers(tmp_path: Path, predict: Predict) -> None:
    captions = [predict(str(n), task="caption", prediction="a dog " * n, references=("a big dog",)) for n in range(3)]
    names = ("meteor", "cider", "bleu", "rouge_l")
    expected = score_captions(
        {item.id: item.prediction for item in captions}, {str(n): ["a big dog"] for n in range(3)}, names
    )
    found = score_files("caption", [save(tmp_path / "predictions.jsonl", captions)])
    assert {name: score.value for name, score in found.items()} == expected


def test_without_a_benchmark_every_task_has_its_metric(tmp_path: Path, predict: Predict) -> None:
    predictions = [
        predict("a", prediction="A dog."),
        predict("b", task="refer", prediction="[1]", options=("<region0>", "<region1>"), label=1),
        *choices(predict, video="v", part="pq"),
    ]
    metric = Evaluation()
    metric.update(predictions)
    found = score_files(None, [save(tmp_path / "predictions.jsonl", predictions)])
    assert found == metric.compute()
    assert found["answer/accuracy"].value == 1.0
    assert found["refer/accuracy"].value == 1.0


def test_the_command_prints_and_saves(
    tmp_path: Path, predict: Predict, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    path = save(tmp_path / "predictions.jsonl", [predict("a", prediction="a dog"), predict("b", prediction="a cat")])
    cli.main(["score", "--predictions", str(path), "--output", str(tmp_path / "new" / "results.json")])
    printed = capsys.readouterr().out
    for words in ("saved predictions", "answer/accuracy", "0.5000", "2", "exact match with any reference"):
        assert words in printed
    saved = json.loads((tmp_path / "new" / "results.json").read_text())
    assert saved["checkpoint"] is None
    assert saved["results"] == [
        {
            "metric": "answer/accuracy",
            "value": 0.5,
            "n": 2,
            "protocol": "exact match with any reference; case, whitespace and one trailing '.' ignored",
        }
    ]


def test_help_names_every_benchmark_and_imports_nothing_heavy() -> None:
    heavy = {"torch", "lightning", "transformers", "torchmetrics", "rich"}
    program = (
        "import sys, cli\ntry:\n    cli.main(['score', '--help'])\n"
        f"except SystemExit:\n    print(sorted({heavy} & set(sys.modules)))"
    )
    root = Path(cli.__file__).parent
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root)
    assert all(f"  {name} " in done.stdout for name in BENCHMARKS)
    assert done.stdout.endswith("[]\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--predictions", "gone.jsonl"], "error: gone.jsonl: No such file or directory"),
        (["--benchmark", "vcr", "--predictions", "gone.csv"], "1 files of predictions and 0 of references were given"),
        (["--benchmark", "dlc", "--predictions", "a", "b", "--references", "c"], "2 files of predictions and 1 of"),
        (["--benchmark", "pope", "--predictions", "a", "b", "--references", "c"], "2 files of predictions and 1 of"),
        (["--benchmark", "causal_vidqa", "--predictions", "a", "--references", "c"], "1 files of predictions and 1 of"),
        (["--benchmark", "colour", "--predictions", "a"], "invalid choice: 'colour'"),
    ],
)
def test_bad_requests_are_one_line(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        cli.main(["score", *arguments])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1]


def test_references_beside_our_own_are_an_error(tmp_path: Path, predict: Predict) -> None:
    path = save(tmp_path / "predictions.jsonl", [predict("a", task="yes_no", references=("no",))])
    with pytest.raises(DataError, match=r"predictions.jsonl has its references in it, but 1 files of them were given"):
        score_files("pope", [path], [path])


def test_results_that_cannot_be_written_are_an_error(tmp_path: Path, predict: Predict) -> None:
    path = save(tmp_path / "predictions.jsonl", [predict("a")])
    with pytest.raises(SystemExit):
        cli.main(["score", "--predictions", str(path), "--output", str(path / "results.json")])


PEERS: dict[str, tuple[str, str, dict[str, str]]] = {
    "caption": (
        '[{"region": 1, "said": "a dog"}]',
        '{"annotations": [{"region": 1, "said": "a dog"}]}',
        {"image_id": "region", "caption": "said"},
    ),
    "causal_vidqa": (
        json.dumps({f"v_{part}": {"chosen": 2, "gold": 2} for part in range(6)}),
        "",
        {"prediction": "chosen", "answer": "gold"},
    ),
    "dlc": (
        '{"7": {"judged": ["Yes", "red", "no"]}}',
        '{"7": [{"question": "?", "choices": [["red", 1], ["blue", 0]], "type": "positive"},'
        ' {"question": "?", "choices": [["yes", -1], ["no", 1]], "type": "negative"}]}',
        {"response": "judged"},
    ),
    "pope": (
        '{"said": "yes"}',
        '{"query": "?", "label": "Yes", "category": "random"}',
        {"answer": "said", "text": "query"},
    ),
    "vcr": (
        ",".join(["id", *(f"answer_{n}" for n in range(4))])
        + "".join(f",rationale_conditioned_on_a{a}_{n}" for a in range(4) for n in range(4))
        + "\nq"
        + ",1,0,0,0" * 5,
        '{"id": "q", "answer_label": 0, "rationale_label": 0}',
        {"annot_id": "id"},
    ),
    "videorefer_q": ('{"output": "A", "Answer": "A", "kind": "x"}', "", {"pred": "output", "type": "kind"}),
}


@pytest.mark.parametrize("name", PEERS)
def test_fields_of_others_have_their_names(tmp_path: Path, name: str) -> None:
    """Regression: a file that called its answers `model_output` had to be written anew."""
    predictions, references, names = PEERS[name]
    said, beside = tmp_path / ("said.csv" if name == "vcr" else "said.json"), tmp_path / "references.json"
    said.write_text(predictions)
    beside.write_text(references)
    files = ([said], [beside] if references else [])
    with pytest.raises(DataError):
        score_files(name, *files)
    if name == "caption":  # without Java's seconds
        [prediction] = read_captions(said, beside, names=names)
        assert (prediction.prediction, prediction.references) == ("a dog", ("a dog",))
    else:
        assert any(score.value == 1.0 for score in score_files(name, *files, names=names).values())


def test_fields_of_our_own_file_and_without_a_name(tmp_path: Path, predict: Predict) -> None:
    path = str(save(tmp_path / "predictions.jsonl", [predict("a", task="yes_no", references=("no",))]))
    for fields, message in (
        ("answer=said", "have their own names in it"),
        ("answer", "'answer': a name, '=' and what"),
    ):
        with pytest.raises(DataError, match=message):
            main(["--benchmark", "pope", "--predictions", path, "--fields", fields])


def test_two_samples_of_one_id_are_an_error(tmp_path: Path, predict: Predict) -> None:
    paths = [save(tmp_path / f"{number}.jsonl", [predict("a", references=(text,))]) for number, text in enumerate("xy")]
    with pytest.raises(DataError, match=r"'a': two different samples have this id: references"):
        score_files(None, paths)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"references": []}, "references: expected 1 or more, got 0"),
        ({"references": "a dog"}, "references: expected an array, got 'a dog'"),
        ({"label": True}, "label: expected an integer, got True"),
        ({"task": ""}, "task: expected text, got ''"),
        ({"option_scores": [float("nan")]}, r"option_scores\[0\]: expected a finite number, got nan"),
        ({"meta": {"bbox": [1, 2, 3]}}, r"meta.bbox: expected 4 elements, got \[1, 2, 3\]"),
        ({"meta": {"guide_tokens": 3}}, "meta: missing key 'guide_hits'"),
        ({"colour": "red"}, "unknown key 'colour'"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, predict: Predict, change: dict[str, Any], message: str) -> None:
    record = json.loads(predict("a").to_json())
    path = tmp_path / "predictions.jsonl"
    path.write_bytes(dump_jsonl([record, record | change]))
    with pytest.raises(DataError, match=message) as error:
        score_files(None, [path])
    assert str(error.value).startswith(f"{path}:2: ")


def _lines(predict: Predict) -> list[Any]:
    metas = [{"image_id": 1, "bbox": [1, 2, 3, 4]}, {"guide_hits": 2, "guide_tokens": 3}]
    predictions = [
        predict("a", task="classify", references=("dog",), prediction="dog", meta=metas[0]),
        predict("b", meta=metas[1]),
        predict("c", task="yes_no", references=("yes",), prediction="yes"),
        predict("d", task="choice", option_scores=(-1.0, -2.0, -3.0), **OPTIONS),
        predict("e", task="refer", prediction="[1]", options=("<region0>", "<region1>"), label=1),
    ]
    return [json.loads(prediction.to_json()) for prediction in predictions]


def _prediction(name: str, **values: Any) -> Prediction:
    return Prediction(
        **(
            {"id": name, "task": "answer", "group": "", "prompt": "?", "prediction": "a"}
            | {"references": ("a",)}
            | values
        )
    )


@FUZZ
@given(data=damaged(_lines(_prediction), dump_jsonl))
def test_damage_ends_in_one_error(tmp_path: Path, data: bytes) -> None:
    """What a metric says of predictions that contradict themselves names the sample; all else names the file."""
    path = tmp_path / "predictions.jsonl"
    path.write_bytes(data)
    said = problem(lambda: score_files(None, [path]))
    assert not said or str(path) in said or said.startswith("sample '")
