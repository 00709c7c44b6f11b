"""A sweep file becomes the points that are meant, or one line that says what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from datamodules.errors import DataError
from experiments.sweeps.specification import Paper, Sweep, read_sweep

MINIMAL: dict[str, Any] = {
    "base": ["a.yaml", "b.yaml"],
    "factors": {"model.region_encoder": ["TokenMark", "NoRegionEncoder"]},
    "seeds": [0, 1],
    "metric": "answer/what/accuracy",
}


def read(folder: Path, content: object, name: str = "question.yaml") -> Sweep:
    path = folder / name
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
    return read_sweep(path)


def test_a_point_is_a_name_a_seed_and_a_command_line(tmp_path: Path) -> None:
    sweep = read(tmp_path, {**MINIMAL, "options": {"trainer.max_steps": 5, "data.video": None}})
    points = sweep.points(["--trainer.accelerator", "cpu"])
    assert sweep.name == "question"
    assert [point.name for point in points] == [
        "region_encoder=TokenMark,seed=0",
        "region_encoder=TokenMark,seed=1",
        "region_encoder=NoRegionEncoder,seed=0",
        "region_encoder=NoRegionEncoder,seed=1",
    ]
    assert points[3].settings == {"region_encoder": "NoRegionEncoder"} and points[3].seed == 1
    assert points[3].options == (
        "--config=a.yaml",
        "--config=b.yaml",
        "--trainer.max_steps=5",
        "--data.video=null",
        "--trainer.accelerator",
        "cpu",
        "--model.region_encoder=NoRegionEncoder",
        "--seed_everything=1",
    )


def test_the_grid_is_the_product_of_the_factors(tmp_path: Path) -> None:
    """Values as YAML has them; named settings of several options; characters that no file name should have."""
    factors = {
        "model.guide_weight": [0, 5.0e-2],
        "data.groups": [{"what": 1}, ["a/b"]],
        "instruction_data": {"with": {"data.a": 1, "data.b": True}, "without": {}},
    }
    # a list of mappings is a list of values, each for the one option
    sweep = read(tmp_path, {**MINIMAL, "factors": factors, "seeds": [7]})
    names = [point.name for point in sweep.points()]
    assert len(names) == 8
    assert names[0] == "guide_weight=0,groups=--what---1-,instruction_data=with,seed=7"
    assert names[7] == "guide_weight=0.05,groups=--a-b--,instruction_data=without,seed=7"
    options = sweep.points()[0].options[2:]
    assert options == (
        "--model.guide_weight=0",
        '--data.groups={"what": 1}',
        "--data.a=1",
        "--data.b=true",
        "--seed_everything=7",
    )


def test_factors_that_end_alike_keep_their_whole_names(tmp_path: Path) -> None:
    sweep = read(tmp_path, {**MINIMAL, "factors": {"a.size": [1], "b.size": [2], "c.depth": [3]}, "seeds": [0]})
    assert sweep.points()[0].name == "a.size=1,b.size=2,depth=3,seed=0"


def test_settings_and_the_rows_of_the_paper_are_called_the_same(tmp_path: Path) -> None:
    """YAML reads `on` as true and 4 as a number, on both sides."""
    sweep = read(
        tmp_path,
        "base: [a.yaml]\nseeds: [0]\nmetric: m\n"
        "factors:\n  guide: {on: {model.w: 1}, off: {model.w: 0}}\n  data.frames: [4, 1]\n"
        "paper:\n  metric: All\n  rows: {'true, 4': 77.5, 'false, 1': 74}\n",
    )
    assert sweep.paper == Paper("All", {"true, 4": 77.5, "false, 1": 74.0})
    assert [", ".join(point.settings.values()) for point in sweep.points()] == [
        "true, 4",
        "true, 1",
        "false, 4",
        "false, 1",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metric": None}, "metric has to be a text, not None"),
        ({"seeds": []}, "seeds has to be a list, not []"),
        ({"seeds": [0, True]}, "seeds has to be a list of whole numbers, not [0, True]"),
        ({"factors": {"model.a": "x"}}, "factor model.a has to be a list, not 'x'"),
        ({"factors": {"model.a": {"with": 3}}}, "factor model.a, with has to be a mapping, not 3"),
        ({"seed": [1]}, "the file has seed; known are base, factors, seeds, metric, options, paper, protocol"),
        ({"protocol": "other"}, "protocol has to be same or varies, not 'other'"),
        ({"paper": {"metric": "All"}}, "paper lacks rows"),
        (
            {"paper": {"metric": "All", "rows": {"none": "x"}}},
            "the paper's row none has to be a number, not 'x'",
        ),
        ({"base": "a.yaml"}, "base has to be a list, not 'a.yaml'"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, {**MINIMAL, **change})
    assert str(caught.value) == f"{tmp_path / 'question.yaml'}: {message}"


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ("- 1\n", "list.yaml", "the file has to be a mapping"),
        ("a: [\n", "broken.yaml", "broken.yaml: while parsing"),
        (MINIMAL, "a b.yaml", "letters, digits"),
        ({"base": ["a.yaml"], "metric": "m"}, "few.yaml", "the file lacks factors, seeds"),
    ],
)
def test_files_that_are_no_sweeps(tmp_path: Path, content: object, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, content, name)
    with pytest.raises(DataError, match="No such file"):
        read_sweep(tmp_path / "absent.yaml")


@pytest.mark.parametrize(
    ("changes", "further", "message"),
    [
        ({"seeds": [3, 3]}, [], "2 points would be called region_encoder=TokenMark,seed=3"),
        ({"factors": {"m.a": ["x y", "x/y"]}}, [], "2 points would be called a=x-y,seed=0"),
        ({"options": {"model.region_encoder": "NoRegionEncoder"}}, [], "--model.region_encoder is a factor"),
        ({}, ["--model.region_encoder", "NoRegionEncoder"], "--model.region_encoder is a factor"),
        ({}, ["--run.name=x"], "--run.name is given by the sweep itself"),
        ({"options": {"ckpt_path": "x"}}, [], "--ckpt_path is given by the sweep itself"),
        ({"factors": {"seed_everything": [1]}}, [], "--seed_everything is given by the sweep itself"),
    ],
)
def test_options_that_would_be_lost_are_refused(
    tmp_path: Path, changes: dict[str, Any], further: list[str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, {**MINIMAL, **changes}).points(further)
