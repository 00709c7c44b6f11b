"""Every table of the paper runs from its configuration on the built-in shapes, written as that table's data set is."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from test_bensmot import write_bensmot
from test_causal_vidqa import write_causal_vidqa
from test_coco_instances import write_coco
from test_elysium_track import write_elysium_track
from test_grit_captions import write_grit_captions
from test_pope import write_pope
from test_refcocog import write_refcocog
from test_vcr import write_vcr
from test_vid_stg import write_vid_stg

import cli
from helpers import ARCHITECTURE, tokenizer_folder

ROOT = Path(__file__).parent.parent.parent
TABLES = ROOT / "experiments" / "tables"


@dataclass(frozen=True)
class Table:
    """How the data of a table is written, which variables name it, and which metrics have to come out on how many."""

    write: tuple[Callable[[Path], object], ...]
    variables: Mapping[str, str]
    metrics: Mapping[str, int]


def write_coco_val(root: Path) -> None:
    write_coco(root / "coco")


EXPECTED = {
    "table02_causal_vidqa": Table(
        (write_causal_vidqa,),
        {"root": ""},
        {f"choice/{name}": 3 for name in ("d", "e", "p_a", "p_r", "p_ar", "c_a", "c_r", "c_ar", "all")},
    ),
    "table03_video_captioning": Table(
        (write_vid_stg, write_elysium_track, write_bensmot),
        {"vid_stg": "", "vidor": "", "elysium": "ElysiumTrack-1M.json", "frames": "", "bensmot": ""},
        {f"caption/{name}/meteor": 12 for name in ("vid_stg", "elysium", "extended_elysium", "bensmot")},
    ),
    "table04_vcr": Table((write_vcr,), {"root": ""}, {f"choice/{name}": 6 for name in ("q_a", "qa_r", "q_ar")}),
    "table05_region_captioning": Table(
        (write_refcocog, write_grit_captions),
        {"refcocog": "", "vg": "annotations/test.json", "vg_images": "images"},
        {
            f"caption/{name}/{score}": count
            for name, count in (("refcocog", 9), ("visual_genome", 9))
            for score in ("meteor", "cider")
        },
    ),
    "table06_referring": Table(
        (write_refcocog,),
        {"root": ""},
        {
            f"refer/{name}": 9
            for name in ("val/accuracy", "test/accuracy", "val/accuracy_iou", "test/accuracy_iou_likelihood")
        },
    ),
    "table09_coco_classification": Table(
        (write_coco_val,),
        {"annotations": "coco/instances_val.json", "images": "coco/images"},
        {"classify/accuracy": 8, "classify/map": 8},
    ),
    "table10_vcr_prompts": Table(
        (write_vcr,),
        {"root": ""},
        {f"choice/{shown}/q_ar": 6 for shown in ("mask_and_name", "mask", "box_and_name")},
    ),
    "table12_pope": Table(
        (write_pope,),
        {"root": "", "images": "val2014"},
        {f"yes_no/{kind}/{name}": 18 for kind in ("random", "popular", "adversarial") for name in ("f1", "yes_ratio")},
    ),
}


def test_every_table_is_here() -> None:
    assert {path.stem for path in TABLES.glob("*.yaml")} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_table_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers, how many samples they stand on, and a protocol that names the data set."""
    monkeypatch.chdir(ROOT)
    table = EXPECTED[name]
    for write in table.write:
        write(tmp_path / "data")
    base = {"architecture": ARCHITECTURE, "tokenizer": tokenizer_folder(tmp_path / "tokenizer"), "checkpoint": None}
    cli.main([
        "test", f"--config=experiments/tables/{name}.yaml", "--config=experiments/models/llava-1.5-7b.yaml",
        f"--model.base={json.dumps(base)}", "--model.base.dtype=float32", "--model.max_new_tokens=3",
        *(f"--vars.{key}={tmp_path / 'data' / value}" for key, value in table.variables.items()),
        f"--run.root={tmp_path}", "--run.pictures=1", "--data.num_workers=0", "--trainer.accelerator=cpu",
    ])  # fmt: skip
    scored = read_results(tmp_path / "tables" / name)
    assert {metric: scored[metric]["n"] for metric in table.metrics} == table.metrics
    assert all(scored[metric]["protocol"].count(";") >= 1 for metric in table.metrics)


def read_results(folder: Path) -> dict[str, dict[str, Any]]:
    return {item["metric"]: item for item in json.loads((folder / "results.json").read_text())["results"]}
