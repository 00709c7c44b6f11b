from __future__ import annotations

from pathlib import Path

import pytest

from experiments.tracking import run_tags as tagging
from experiments.tracking.provenance import GitState
from experiments.tracking.run_tags import command_tag, run_tags
from helpers import ImageRegionModule, tiny_module
from lightning_modules import NoRegionEncoder, RoiFeature


def test_tags_say_what_a_run_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tagging, "git_state", lambda: GitState("abc", dirty=True))
    monkeypatch.chdir(tmp_path)
    files = [Path("experiments/tables/table04_vcr.yaml"), Path("experiments/models/small.yaml")]
    video = run_tags(tiny_module(tmp_path, region_encoder=RoiFeature()), Path("runs/a"), files, Path("b.ckpt"))
    assert video == {
        "stage": "video",
        "region_encoder": "RoiFeature",
        "folder": str(tmp_path / "runs/a"),
        "checkpoint": str(tmp_path / "b.ckpt"),
        "configuration": "table04_vcr, small",
        "table": "table04_vcr",
        "mlflow.source.git.commit": "abc",
        "git.dirty": "true",
    }


def test_what_is_not_known_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tagging, "git_state", lambda: None)
    image = run_tags(tiny_module(tmp_path, ImageRegionModule, region_encoder=NoRegionEncoder()), tmp_path, [], None)
    assert image == {"stage": "image", "region_encoder": "NoRegionEncoder", "folder": str(tmp_path)}


def test_a_command_line_can_be_typed_again() -> None:
    tag = command_tag(["test", "--run.tags", '{"a": "b c"}', "--ckpt_path=last"])
    assert tag == {"command/test": """python cli.py test --run.tags '{"a": "b c"}' --ckpt_path=last"""}
