"""Every table and named benchmark runs from its configuration, on shapes written as its data set is published."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_bensmot import write_bensmot
from test_causal_vidqa import write_causal_vidqa
from test_coco_instances import write_coco
from test_elysium_track import write_elysium_track
from test_grit_captions import write_grit_captions
from test_hc_stvg import write_hc_stvg
from test_hc_stvg_masks import write_hc_stvg_masks
from test_osprey_categories import write_osprey_categories
from test_point_qa import write_point_qa
from test_pope import write_pope
from test_ref_l4 import write_ref_l4
from test_refcocog import references, write_refcocog
from test_vcr import write_vcr
from test_vid_stg import write_vid_stg
from test_visual7w import write_visual7w

import cli
from experiments.named_benchmarks import benchmarks, published_rows
from helpers import ARCHITECTURE, tokenizer_folder, trained
from sentence_model import write_sentence_model
from videorefer_files import write_videorefer_bench_q

ROOT = Path(__file__).parent.parent.parent
TABLES = ROOT / "experiments" / "tables"


@dataclass(frozen=True)
class Table:
    """What it takes to run one.

    Attributes:
        write: How its data are written.
        metrics: Which have to come out, on how many.
        variables: Those that name the data, if it is no named benchmark, which knows them below its root.
        quick: Whether it runs in the default tests.
    """

    write: tuple[Callable[[Path], object], ...]
    metrics: Mapping[str, int]
    variables: Mapping[str, str] | None = None
    quick: bool = False


def write_coco_val(root: Path) -> None:
    write_coco(root)
    (root / "instances_val.json").rename(root / "instances_val2017.json")
    (root / "images").rename(root / "val2017")


def write_refcocos(root: Path) -> None:
    """All three; the other two have other splits, and the same sentences."""
    write_refcocog(root)
    splits = {"train": "val", "val": "testA", "test": "testB"}
    for name in ("refcoco", "refcoco+"):
        (root / name).mkdir()
        shutil.copy(root / "refcocog/instances.json", root / name)
        records = [{**record, "split": splits[record["split"]]} for record in references()]
        (root / name / "refs(unc).p").write_bytes(pickle.dumps(records, 2))


def write_nine_popes(root: Path) -> None:
    """The other six are one array each."""
    write_pope(root)
    shutil.copytree(root / "val2014", root / "gqa")
    for kind in ("random", "popular", "adversarial"):
        lines = (root / f"coco_pope_{kind}.json").read_text().splitlines()
        for pictures in ("aokvqa", "gqa"):
            (root / f"{pictures}_pope_seem_{kind}.json").write_text(json.dumps(list(map(json.loads, lines))))


CAPTIONS = ("meteor", "cider")
REFCOCO = [f"{name}_{split}" for name in ("refcoco", "refcoco_plus") for split in ("val", "testA", "testB")]
REFCOCO += ["refcocog_val", "refcocog_test"]
KINDS = ("random", "popular", "adversarial")
EXPECTED = {
    "table02_causal_vidqa": Table(
        (write_causal_vidqa,),
        {f"choice/{name}": 3 for name in ("d", "e", "p_a", "p_r", "p_ar", "c_a", "c_r", "c_ar", "all")},
    ),
    "table03_video_captioning": Table(
        (write_vid_stg, write_elysium_track, write_bensmot),
        {f"caption/{name}/meteor": 12 for name in ("vid_stg", "elysium", "extended_elysium", "bensmot")},
        {"vid_stg": "", "vidor": "", "elysium": "ElysiumTrack-1M.json", "frames": "", "bensmot": ""},
    ),
    "table04_vcr": Table((write_vcr,), {f"choice/{name}": 6 for name in ("q_a", "qa_r", "q_ar")}),
    "table05_region_captioning": Table(
        (write_refcocog, write_grit_captions),
        {f"caption/{name}/{score}": 9 for name in ("refcocog", "visual_genome") for score in CAPTIONS},
        {"refcocog": "", "vg": "annotations/test.json", "vg_images": "images"},
    ),
    "table06_referring": Table(
        (write_refcocog,),
        {
            f"refer/{name}": 9
            for name in ("val/accuracy", "test/accuracy", "val/accuracy_iou", "test/accuracy_iou_likelihood")
        },
        {"root": ""},
    ),
    "table09_coco_classification": Table((write_coco_val,), {"classify/accuracy": 8, "classify/map": 8}, quick=True),
    "table10_vcr_prompts": Table(
        (write_vcr,), {f"choice/{shown}/q_ar": 6 for shown in ("mask_and_name", "mask", "box_and_name")}
    ),
    "table12_pope": Table(
        (write_pope,), {f"yes_no/{kind}/{name}": 18 for kind in KINDS for name in ("f1", "yes_ratio")}
    ),
    "bensmot": Table((write_bensmot,), {"caption/meteor": 12}),
    "elysium": Table(
        (lambda root: write_elysium_track(root, name="ElysiumTrack-val500.json"),), {"caption/meteor": 12}
    ),
    "hc_stvg": Table((write_hc_stvg_masks,), {f"caption/{name}": 3 for name in (*CAPTIONS, "bleu_4", "rouge_l")}),
    "hc_stvg_boxes": Table((write_hc_stvg,), {f"caption/{name}": 9 for name in (*CAPTIONS, "bleu_4", "rouge_l")}),
    "lvis": Table((write_osprey_categories,), {"classify/similarity": 9, "classify/semantic_iou": 9}),
    "paco": Table(
        (lambda root: write_osprey_categories(root, "paco"),),
        {"classify/paco/similarity": 9, "classify/paco/semantic_iou": 9},
    ),
    "pointqa": Table(
        (write_point_qa,), {f"answer/{kind} question/accuracy": 3 for kind in ("general", "super", "obj")}
    ),
    "pope_nine": Table(
        (write_nine_popes,),
        {f"yes_no/{pictures}{kind}/f1": 18 for pictures in ("", "A-OKVQA ", "GQA ") for kind in KINDS},
    ),
    "ref_l4": Table((write_ref_l4,), {f"caption/{name}": 6 for name in CAPTIONS}),
    "refcoco_captions": Table(
        (write_refcocos,), {f"caption/{part}/{name}": 9 for part in REFCOCO for name in CAPTIONS}
    ),
    "refcoco_rec": Table(
        (write_refcocos,), {f"refer/{part}/{name}": 9 for part in REFCOCO for name in ("accuracy", "accuracy_iou")}
    ),
    "refcocog_captions": Table((write_refcocog,), {f"caption/{name}": 9 for name in CAPTIONS}),
    "vid_stg": Table((write_vid_stg,), {"caption/meteor": 12}),
    "videorefer_q": Table((write_videorefer_bench_q,), {"choice/accuracy": 6, "choice/basic questions/accuracy": 2}),
    "visual7w": Table((write_visual7w,), {"choice/accuracy": 6}, quick=True),
    "visual_genome": Table((write_grit_captions,), {f"caption/{name}": 9 for name in CAPTIONS}),
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a tiny model, where a training leaves its own."""
    return trained(tmp_path_factory.mktemp("trained"))


def test_every_table_is_here() -> None:
    assert {path.stem for path in TABLES.glob("*.yaml")} == set(EXPECTED)
    named = {benchmark.path.stem for benchmark in benchmarks().values() if benchmark.path.parent == TABLES}
    assert named == {name for name, table in EXPECTED.items() if table.variables is None}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if table.quick else [pytest.mark.slow]) for name, table in EXPECTED.items()]
)
def test_a_table_runs(name: str, tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers, those that others have published too, how many samples they stand on, and a protocol with the data."""
    monkeypatch.chdir(ROOT)
    table = EXPECTED[name]
    for write in table.write:
        write(tmp_path / "data")
    options = [f"--run.root={tmp_path}", "--run.pictures=1", "--data.num_workers=0", "--trainer.accelerator=cpu"]
    options.append("--model.max_new_tokens=3")
    if table.variables is None:
        short = name.partition("_")[2] if name.startswith("table") else name
        if name in ("lvis", "paco"):
            options += [f"--vars.sentences={write_sentence_model(tmp_path / 'encoder')}"]
        cli.main(["benchmark", short, f"--ckpt_path={checkpoint}", f"--root={tmp_path / 'data'}", *options])
        folder = tmp_path / f"benchmark-{short}" / "omni_rgpt-tiny"
    else:
        base = {"architecture": ARCHITECTURE, "tokenizer": tokenizer_folder(tmp_path / "tokenizer"), "checkpoint": None}
        cli.main([
            "test", f"--config=experiments/tables/{name}.yaml", "--config=experiments/models/llava-1.5-7b.yaml",
            f"--model.base={json.dumps(base)}", "--model.base.dtype=float32", *options,
            *(f"--vars.{key}={tmp_path / 'data' / value}" for key, value in table.variables.items()),
        ])  # fmt: skip
        folder = tmp_path / "tables" / name
    scored = read_results(folder)
    assert {metric: scored[metric]["n"] for metric in table.metrics} == table.metrics
    assert all(scored[metric]["protocol"].count(";") >= 1 for metric in table.metrics)
    section = yaml.safe_load((TABLES / f"{name}.yaml").read_text()).get("benchmark", {})
    published = {metric for row in published_rows(section) for metric in row.values}
    # the built-in questions are of three of the five kinds
    assert published - set(scored) <= {
        f"choice/{kind}/accuracy" for kind in ("reasoning questions", "future predictions")
    }


@pytest.mark.slow
@pytest.mark.parametrize("shown", ["text", "drawn"])
def test_a_base_alone_runs(shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a checkpoint, on the weights that the base was published with."""
    monkeypatch.chdir(ROOT)
    write_coco_val(tmp_path / "data")
    cli.main([
        "benchmark", "coco_classification", f"--root={tmp_path / 'data'}",
        "--base-model-only", shown, "--base=experiments/models/shapes", "--model.prompt=plain",
        f"--run.root={tmp_path}", "--run.pictures=1", "--data.num_workers=0", "--trainer.accelerator=cpu",
    ])  # fmt: skip
    folder = tmp_path / "benchmark-coco_classification" / f"shapes-{shown}"
    assert read_results(folder)["classify/accuracy"]["n"] == 8
    assert json.loads((folder / "results.json").read_text())["checkpoint"] is None
    asked = json.loads((folder / "predictions.jsonl").read_text().splitlines()[0])["prompt"]
    assert ("[" in asked) == (shown == "text")


def read_results(folder: Path) -> dict[str, dict[str, Any]]:
    return {item["metric"]: item for item in json.loads((folder / "results.json").read_text())["results"]}
