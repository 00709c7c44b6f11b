"""What all references have in common, and what tells their checkpoints apart."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning import Trainer

from datamodules import VideoRegionDataModule
from datamodules.errors import DataError
from helpers import WAYS, Listed, make_batch, sample, tiny_module, way_name
from lightning_modules import NoRegionEncoder, RegionEncoder, TextCoordinates, VisualMarker, load
from lightning_modules.region_encoders.text_tokens import text_tokens_per_region

BOXES = ((0.0, 0.0, 8.0, 8.0), (8.0, 8.0, 16.0, 16.0))
ASKED = sample(boxes=BOXES, question="is <region0> on <region1>", answer="<region1>", frames=3)

TEXT_TOKENS = {
    "TokenMark": (1, 1),
    "RoiFeature-average": (1, 1),
    "TextCoordinates": ((24 + 28) / 2, (24 + 28) / 2),  # ` frame 1: [0, 0, 50, 50]`, a token a character
    "VisualMarker-outline": ((27 + 29) / 2, (27 + 29) / 2),  # ` the region outlined in red`
    "NoRegionEncoder": (1, 1),
    "RoiFeature-frame": (3, 1),
    "VisualMarker-tint": ((22 + 24) / 2, (22 + 24) / 2),
}


@pytest.mark.parametrize("way", WAYS, ids=way_name)
def test_text_tokens_of_each(tmp_path: Path, way: RegionEncoder) -> None:
    module = tiny_module(tmp_path, region_encoder=way)
    assert text_tokens_per_region(module.renderer, make_batch(module, ASKED)) == TEXT_TOKENS[way_name(way)]
    assert text_tokens_per_region(module.renderer, make_batch(module, sample(boxes=(), question="why"))) == (0, 0)


@pytest.mark.parametrize("way", WAYS, ids=way_name)
def test_where_the_region_is_changes_what_the_model_sees(tmp_path: Path, way: RegionEncoder) -> None:
    """Of the control it does not: nothing else in a batch tells where a region is."""
    module = tiny_module(tmp_path, region_encoder=way).eval()
    logits = [
        module.backbone(make_batch(module, sample(boxes=(box,)))).logits for box in ((0, 0, 8, 8), (4, 4, 16, 16))
    ]
    same = logits[0].shape == logits[1].shape and torch.equal(*logits)
    assert same == isinstance(way, NoRegionEncoder)


def test_another_reference_without_weights_of_its_own_is_told_apart(tmp_path: Path) -> None:
    """The checkpoints of coordinates and markers hold the same names and shapes."""
    module = tiny_module(tmp_path, region_encoder=TextCoordinates())
    trainer = Trainer(
        accelerator="cpu", max_steps=1, logger=False, enable_progress_bar=False, default_root_dir=tmp_path
    )
    trainer.fit(module, VideoRegionDataModule(train={"train": Listed(ASKED)}, batch_size=1, num_workers=0))
    [checkpoint] = (tmp_path / "checkpoints").glob("*.ckpt")
    assert load(checkpoint).region_encoder.kind is TextCoordinates
    message = r"another model: its region_encoder is '\S+TextCoordinates', not '\S+VisualMarker'"
    with pytest.raises(DataError, match=message):
        tiny_module(tmp_path / "other", region_encoder=VisualMarker(), init_from=checkpoint)
    with pytest.raises(DataError, match=message):
        trainer.validate(
            tiny_module(tmp_path / "third", region_encoder=VisualMarker()),
            VideoRegionDataModule(val={"val": Listed(ASKED)}, batch_size=1, num_workers=0),
            ckpt_path=checkpoint,
        )


def test_a_worker_needs_no_model_to_point() -> None:
    """A spawned worker imports what it unpickles: a `Pointing`, but neither lightning nor a model."""
    heavy = (
        "import lightning_modules.region_encoders, sys; sys.exit('lightning' in sys.modules or 'peft' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", heavy], check=True, timeout=120)
