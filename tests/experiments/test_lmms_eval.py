"""The plugin of lmms-eval, but for what needs lmms-eval: which tasks there are, and what a model of others is shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from test_refcocog import write_refcocog
from test_vcr import write_vcr

import metrics
from datamodules.errors import DataError
from datamodules.formats import RefCocog, Vcr
from datamodules.media.clips import read_clip
from experiments.lmms_eval import TASKS
from experiments.lmms_eval.documents import Documents
from experiments.lmms_eval.showing import WAYS, asked, show, way
from experiments.lmms_eval.tables import read_table
from experiments.named_benchmarks import benchmarks
from helpers import tiny_module
from lightning_modules import TextCoordinates, VisualMarker


def documents(name: str, root: Path) -> Documents:
    return Documents(*read_table(name, root, {"data.num_workers": 0}))


def test_every_benchmark_without_a_judge_is_a_task(tmp_path: Path) -> None:
    tasks = {path.stem: yaml.safe_load(path.read_text()) for path in TASKS.glob("*.yaml")}
    asked = [name for name, benchmark in benchmarks().items() if not benchmark.judged]
    assert tasks == {name: {"include": "_region", "task": f"region_{name}"} for name in asked}
    assert (TASKS / "_region").is_file()
    with pytest.raises(DataError, match=r"^dlc_bench is scored by a judge model"):
        read_table("dlc_bench", tmp_path)


def test_a_benchmark_is_what_its_configuration_says(tmp_path: Path) -> None:
    """Metric, length of answers and class of module are the table's, options those of `test`."""
    write_vcr(tmp_path)
    module, data = read_table("vcr", tmp_path, {"data.eval_batch_size": 3, "data.test.val.init_args.prompt": "box"})
    assert isinstance(module.evaluation.metrics["choice"], metrics.Vcr)
    assert isinstance(module.evaluation.metrics["refer"], metrics.Referring)
    assert (module.max_new_tokens, data.eval_batch_size, data.num_workers) == (64, 3, 8)
    found = Documents(module, data)
    assert len(found) == 12 and found[3]["number"] == 3 and found[3]["id"] == found.sample(3).id
    assert found[0]["id"].startswith("val/") and "box" in found[0]["protocol"]
    assert [one["id"] for one in found[:2]] == [found[0]["id"], found[1]["id"]]
    assert found.features.keys() == found[0].keys()


def test_a_file_that_is_missing_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"^--root {tmp_path}: no val.jsonl \(the questions\); 2 of 2 that vcr needs"):
        read_table("vcr", tmp_path)
    with pytest.raises(DataError, match=r"^regions shown as 'drawing'; it takes drawn, text"):
        way("drawing")


def test_an_option_is_asked_for_by_its_letter(tmp_path: Path) -> None:
    """Text does not tell how likely an option is; where its mention is judged, a region is chosen by that."""
    write_vcr(tmp_path)
    choice = asked(Vcr(tmp_path, split="val")[0])
    assert choice.answering == "letter" and "\nB. " in choice.conversation[-1].question
    write_refcocog(tmp_path)
    referred = RefCocog(tmp_path, split="val", task="refer")[0]
    assert asked(referred) is referred


def test_others_are_shown_what_a_base_is_shown(tmp_path: Path) -> None:
    """The same words and pixels as under `benchmark --base-model-only`, of one region and of several."""
    write_vcr(tmp_path / "vcr")
    found = documents("vcr", tmp_path / "vcr")
    samples = [asked(found.sample(number)) for number in range(len(found))]
    assert len({len(sample.regions) for sample in samples}) > 1
    for name, encoder in (("text", TextCoordinates()), ("drawn", VisualMarker())):
        module = tiny_module(tmp_path, region_encoder=encoder)
        process = module.processor(found.data.num_frames)
        for sample in samples:
            shown = show(sample, found.data, WAYS[name])
            assert shown.question in process(sample).rendered.prompt and "<region" not in shown.question
            clip = read_clip(sample.media, 1)
            drawn = process.pointing.draw(clip, sample.regions).pixels
            assert [np.asarray(picture).tolist() for picture in shown.pictures] == drawn.tolist()
            assert (drawn == clip.pixels).all() == (name == "text")
