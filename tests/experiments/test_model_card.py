"""The card of an exported model: what its run says of data, protocol and results, and nothing of the machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from experiments.model_card import write_card

RESULTS = [
    {"metric": "answer/accuracy", "value": 0.75, "n": 12, "protocol": "exact match"},
    {"metric": "caption/meteor", "value": 0.5, "n": 4, "protocol": "METEOR 1.5"},
    {"metric": "answer/colour/accuracy", "value": 1.0, "n": 4, "protocol": "exact match"},
]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """As `fit` and `test` leave it."""
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints/last.ckpt").touch()
    base = {"checkpoint": None, "vision_tower": "google/siglip-base-patch16-224", "language_model": "/disk/ann/qwen"}
    (folder / "config.yaml").write_text(yaml.safe_dump({"model": {"init_args": {"base": base}}}))
    options = {"root": "/disk/ann/scenes", "split": "train", "seed": 3, "groups": ["what"], "prompt": None}
    source = {"class": "datamodules.shapes.ShapesFiles", "options": options}
    (folder / "data.json").write_text(json.dumps({"fingerprint": "abc", "sources": {"train/shapes": source}}))
    checkpoint = str(folder / "checkpoints/last.ckpt")
    (folder / "results.json").write_text(
        json.dumps({"command": "x", "checkpoint": checkpoint, "split": "test", "results": RESULTS})
    )
    (folder / "environment.json").write_text(
        json.dumps({"torch": "2.13", "transformers": "5.23", "git": {"commit": "beef", "dirty": False}, "gpus": []})
    )
    for name in ("test/000.png", "val/step-000001/000.png", "val/step-000002/000.png"):
        (folder / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "pictures" / name).write_text(name)
    return folder


@pytest.fixture
def export(tmp_path: Path) -> Path:
    folder = tmp_path / "marks"
    folder.mkdir()
    encoder = {"class_path": "lightning_modules.TokenMark", "init_args": {"num_marks": 8, "mark_dim": 4}}
    described: dict[str, Any] = {
        "class": "lightning_modules.ImageRegionModule",
        "options": {"region_encoder": encoder, "max_new_tokens": 24},
    }
    (folder / "regions.json").write_text(json.dumps(described))
    (folder / "config.json").write_text(json.dumps({"model_type": "llava", "dtype": "bfloat16"}))
    (folder / "processor_config.json").write_text("{}")
    return folder


def test_a_card_says_what_the_run_says(run: Path, export: Path) -> None:
    card = write_card(export, run / "checkpoints/last.ckpt", "ann/marks", "apache-2.0").read_text()
    _, front, text = card.split("---\n", 2)
    assert yaml.safe_load(front) == {
        "license": "apache-2.0",
        "base_model": ["google/siglip-base-patch16-224"],
        "library_name": "transformers",
        "pipeline_tag": "image-text-to-text",
        "tags": ["custom_code", "region-understanding", "token-mark"],
    }
    for line in (
        "# marks",
        "- Base: `google/siglip-base-patch16-224` and `qwen`, of type `llava`, weights in bfloat16.",
        "- Regions: `lightning_modules.TokenMark` (num_marks 8, mark_dim 4).",
        "![Regions, questions and answers](picture.png)",
        'place = "ann/marks"',
        'inputs = processor(images="photo.jpg", text="What is <region>?", regions=regions).to(model.device)',
        "rows = model.generate(**inputs, tokenizer=processor.tokenizer, max_new_tokens=24)",
        "| train/shapes | `datamodules.shapes.ShapesFiles` | split train, seed 3 |",
        "| answer/accuracy | 0.7500 | 12 | (1) |",
        "| caption/meteor | 0.5000 | 4 | (2) |",
        "| answer/colour/accuracy | 1.0000 | 4 | (1) |",
        "(2) METEOR 1.5  ",
        "This model: `apache-2.0`. Those of its base and of its data hold beside it.",
        "torch 2.13, transformers 5.23, framework at commit beef.",
    ):
        assert line in text.splitlines()
    assert "/disk" not in card  # of whose machine nothing is published
    assert (export / "picture.png").read_text() == "test/000.png"


def test_results_of_another_checkpoint_are_not_this_ones(run: Path, export: Path) -> None:
    """They would stand under the name of a model that has not earned them."""
    (run / "checkpoints/step=5.ckpt").touch()
    card = write_card(export, run / "checkpoints/step=5.ckpt").read_text()
    assert "No test of this checkpoint stood beside it." in card and "0.7500" not in card
    assert (export / "picture.png").read_text() == "val/step-000002/000.png"


def test_without_a_run_nothing_is_claimed(tmp_path: Path, export: Path) -> None:
    (export / "processor_config.json").unlink()
    card = write_card(export, tmp_path / "alone/checkpoints/last.ckpt").read_text()
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["license"] == "unknown" and "base_model" not in front
    for line in ("- Base: random weights, of type", "No record of the training's data", "No test of this checkpoint"):
        assert line in card
    assert "None was stated with the export." in card
    assert "transformers import" not in card and "from lightning_modules import ask, load" in card
    assert not (export / "picture.png").exists()
