"""lmms-eval's own command on our tasks gives the numbers of `python cli.py test`; where lmms-eval is installed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from test_refcocog import write_refcocog
from test_tables import read_results, write_coco_val, write_refcocos
from test_vcr import write_vcr
from test_vid_stg import write_vid_stg

import cli
from datamodules.formats import Vcr
from experiments.lmms_eval import TASKS, manifest
from helpers import tiny_module
from lightning_modules import ImageRegionModule, ask, load
from lightning_modules.checkpoints.description import DESCRIPTION
from lightning_modules.checkpoints.export import export
from metrics import Prediction, predictions_file
from videorefer_files import write_videorefer_bench_q

pytest.importorskip("lmms_eval")
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
WRITERS: Mapping[str, Callable[[Path], object]] = {
    "refcocog_captions": write_refcocog,  # captions
    "vcr": write_vcr,  # options by their likelihood
    "refcoco_rec": write_refcocos,  # a region among regions
    "coco_classification": write_coco_val,  # names of classes
    "videorefer_q": write_videorefer_bench_q,  # letters, videos
    "vid_stg": write_vid_stg,  # captions of tracked objects, and how the guide head follows them
}
LENGTH = 3
"""Tokens of an answer: those of random weights end nowhere."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an image module: what answers about videos is decided by the data."""
    folder = tmp_path_factory.mktemp("checkpoint")
    module = tiny_module(folder, ImageRegionModule)
    torch.save({DESCRIPTION: module.describe(), "state_dict": module.state_dict()}, folder / "last.ckpt")
    return folder / "last.ckpt"


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of all benchmarks' folders, and our model known by its entry point or not."""
    from lmms_eval.models import MODEL_REGISTRY_V2

    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("REGION_BENCHMARKS", str(tmp_path / "data"))
    MODEL_REGISTRY_V2.register_manifest(manifest(), overwrite=True)
    return tmp_path / "data"


def evaluated(folder: Path, tasks: Sequence[str], *options: str, of: Path = TASKS) -> dict[str, Any]:
    """What the command leaves: task -> its numbers by their names. lmms-eval's own two thousand files are not read."""
    from lmms_eval import __main__ as command

    arguments = ["lmms-eval", "--tasks", ",".join(f"region_{task}" for task in tasks), "--include_path", str(of)]
    arguments += ["--output_path", str(folder), "--log_samples", "--verbosity", "DEBUG", *options]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", arguments)
        patch.setattr(command, "TaskManager", partial(command.TaskManager, include_defaults=False))
        command.cli_evaluate()
    (path,) = folder.rglob("*_results.json")
    results: dict[str, Any] = json.loads(path.read_text())["results"]
    return {
        task.removeprefix("region_"): {
            name.removesuffix(",none"): value for name, value in found.items() if "_stderr" not in name
        }
        for task, found in results.items()
    }


def logged(folder: Path, task: str) -> list[dict[str, Any]]:
    """What the command leaves of each document."""
    (path,) = folder.rglob(f"*samples_region_{task}.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def by_test(folder: Path, task: str, checkpoint: Path, root: Path) -> Path:
    """The folder in which `python cli.py benchmark`, which is `test`, leaves numbers and predictions."""
    cli.main([
        "benchmark", task, f"--ckpt_path={checkpoint}", f"--root={root / task}", f"--run.root={folder}", "--run.name=x",
        "--run.pictures=0", "--data.num_workers=0", "--trainer.accelerator=cpu", "--data.eval_batch_size=4",
        f"--model.max_new_tokens={LENGTH}", "--trainer.logger=false",
    ])  # fmt: skip
    return folder / f"benchmark-{task}" / "x"


def test_the_numbers_are_those_of_test(checkpoint: Path, roots: Path, tmp_path: Path) -> None:
    """To the last digit, all of them and every likelihood, for a checkpoint and for an export."""
    for task, write in WRITERS.items():
        write(roots / task)
    export(checkpoint, tmp_path / "exported")
    options = ["--model", "region", "--batch_size", "4", "--device", "cpu", "--gen_kwargs", f"max_new_tokens={LENGTH}"]
    given = f"pretrained={checkpoint},num_workers=0"
    found = evaluated(tmp_path / "lmms", list(WRITERS), *options, "--model_args", given)
    for task in WRITERS:
        folder = by_test(tmp_path, task, checkpoint, roots)
        expected = {name: score["value"] for name, score in read_results(folder).items()}
        assert {name: found[task][name] for name in expected} == expected
        assert set(found[task]) - set(expected) == {"alias"}
        said = [Prediction.from_json(one["filtered_resps"]) for one in logged(tmp_path / "lmms", task)]
        known = predictions_file.read(folder / "predictions.jsonl")
        assert sorted(said, key=attrgetter("id")) == sorted(known, key=attrgetter("id"))
    exported = f"pretrained={tmp_path / 'exported'},num_workers=0"
    again = evaluated(tmp_path / "again", ["vcr"], *options, "--model_args", exported)
    assert again["vcr"] == found["vcr"]


def test_others_answer_by_letter(roots: Path, tmp_path: Path) -> None:
    """A model that always says A is right where the first option is."""
    write_vcr(roots / "vcr")
    source = Vcr(roots / "vcr", split="val")
    answers = [sample.label == 0 for sample in source if sample.meta["part"] == "answer"]
    found = evaluated(tmp_path, ["vcr"], "--model", "dummy", "--model_args", "response=A")
    assert found["vcr"]["choice/q_a"] == sum(answers) / len(answers)


def test_others_are_shown_pictures_and_words(roots: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models that take messages are given them; whatever they reason does not count."""
    from lmms_eval.api.model import lmms
    from lmms_eval.models import MODEL_REGISTRY_V2
    from lmms_eval.models.registry_v2 import ModelManifest

    asked: list[list[dict[str, Any]]] = []

    class Talker(lmms):
        is_simple = False

        def __init__(self, **_: object) -> None:
            super().__init__()

        def generate_until(self, requests: Sequence[Any]) -> list[str]:
            for _, messages, _, number, task, split in (request.args for request in requests):
                asked.append(messages(self.task_dict[task][split][number]))
            return ["<think>which one?</think>a cat"] * len(requests)

        def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
            raise NotImplementedError

        generate_until_multi_round = generate_until

    monkeypatch.setattr(sys.modules[__name__], "Talker", Talker, raising=False)
    MODEL_REGISTRY_V2.register_manifest(ModelManifest("talker", chat_class_path=f"{__name__}.Talker"), overwrite=True)
    monkeypatch.setenv("REGION_SHOWN", "text")
    write_coco_val(roots / "coco_classification")
    found = evaluated(tmp_path, ["coco_classification"], "--model", "talker")
    assert found["coco_classification"]["classify/accuracy"] == 0
    (turn,) = asked[0]
    picture, text = turn["content"]
    assert isinstance(picture["url"], Image.Image) and "What is the category of [" in text["text"]
    documents = logged(tmp_path, "coco_classification")
    assert [one["doc_id"] for one in documents] == list(range(8))
    assert all(one["input"].startswith("What is the category of <region>?") for one in documents)


PICTURES = """
from PIL import Image

def visual(doc):
    return [Image.open(doc["image"])]

def scored(doc, results):
    return {"length": len(results[0])}
"""
TASK = """
task: region_theirs
dataset_path: json
dataset_kwargs: {data_files: {test: questions.json}}
test_split: test
output_type: generate_until
doc_to_visual: !function pictures.visual
doc_to_text: "{{question}}"
doc_to_target: ""
process_results: !function pictures.scored
generation_kwargs: {max_new_tokens: 6, until: []}
metric_list: [{metric: length, aggregation: mean, higher_is_better: true}]
"""


def test_a_task_of_others_is_answered(roots: Path, tmp_path: Path, checkpoint: Path) -> None:
    """About a picture without regions, as `ask` answers."""
    task = tmp_path / "tasks"
    task.mkdir()
    write_coco_val(tmp_path)
    pictures = sorted((tmp_path / "val2017").iterdir())[:3]
    asked = [{"image": str(picture), "question": f"what is it {number}"} for number, picture in enumerate(pictures)]
    (task / "questions.json").write_text(json.dumps(asked))
    (task / "pictures.py").write_text(PICTURES)
    (task / "theirs.yaml").write_text(TASK)
    ours = ["--model", "region", "--batch_size", "2", "--device", "cpu", "--model_args", f"pretrained={checkpoint}"]
    evaluated(tmp_path / "out", ["theirs"], *ours, of=task)
    module = load(checkpoint)
    expected = [ask(module, one["image"], [], one["question"]).conversation[-1].answer for one in asked]
    assert [one["filtered_resps"] for one in logged(tmp_path / "out", "theirs")] == expected


def test_what_cannot_be_done_is_one_line(roots: Path, tmp_path: Path, checkpoint: Path) -> None:
    from datamodules.errors import DataError

    write_coco_val(roots / "coco_classification")
    ours = ["--model", "region", "--device", "cpu", "--model_args", f"pretrained={checkpoint},num_workers=0"]
    with pytest.raises(DataError, match=r"^--root .*/vcr: no val.jsonl"):
        evaluated(tmp_path, ["vcr"], "--model", "dummy")
    with pytest.raises(DataError, match=r"^generation .*'temperature': 0.5.*: answers are the likeliest text"):
        evaluated(tmp_path, ["coco_classification"], *ours, "--gen_kwargs", "temperature=0.5")
    with pytest.raises(DataError, match=r"^region_coco_classification: --num_fewshot 2, .*: nothing stands before"):
        evaluated(tmp_path, ["coco_classification"], "--model", "dummy", "--num_fewshot", "2")
    with pytest.raises(DataError, match=r"^--batch_size auto: a number is needed"):
        evaluated(tmp_path, ["coco_classification"], *ours, "--batch_size", "auto")
