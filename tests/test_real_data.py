"""Real photographs and videos with the masks that lie beside them: marked where they should be, asked and drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cli
from datamodules.formats import CocoInstances
from datamodules.media.mask_picture import read_mask
from datamodules.types import Region
from helpers import square_weights, tiny_module
from lightning_modules.region_module import RegionModule

pytestmark = pytest.mark.real_data


def save(module: RegionModule, path: Path) -> str:
    from lightning import Trainer

    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.strategy.connect(module)
    trainer.save_checkpoint(path)
    return f"--ckpt_path={path}"


def test_ask_about_a_video_and_a_folder_of_frames(
    real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = save(tiny_module(tmp_path), tmp_path / "model.ckpt")
    dam, bike = real_data / "dam_video", real_data / "cutie"
    masks = [f"--mask={bike}/masks/bike/00000.png:{number}" for number in (1, 2)]
    asked = [
        [f"--video={dam}/1.mp4", f"--mask={dam}/masks/00000_mask_1.png", "--question=what is <region>"],
        [f"--video={bike}/images/bike", *masks, "--question=does <region1> ride <region0>"],
    ]
    for number, options in enumerate(asked):
        picture = tmp_path / f"{number}.png"
        cli.main(["ask", checkpoint, *options, f"--draw={picture}"])
        assert options[-1].removeprefix("--question=") in capsys.readouterr().out
        assert Image.open(picture).width > 1000


def test_masks_weigh_what_they_cover(real_data: Path) -> None:
    """The weights of the DAM video's mask sum to its share of the frame, in tokens."""
    mask = read_mask(str(real_data / "dam_video" / "masks" / "00000_mask_1.png"))
    height, width = mask.size
    inside = np.asarray(Image.open(real_data / "dam_video" / "masks" / "00000_mask_1.png")) > 0
    weights = square_weights((Region.at(mask),), (0,), (height, width), 336, 24)
    assert weights.mark.sum() == pytest.approx(inside.mean() * 24 * 24, rel=1e-4)


def test_blood_cells_are_read(real_data: Path) -> None:
    source = CocoInstances(real_data / "bccd" / "instances_val.json", real_data / "bccd" / "images", balanced=True)
    assert len(source) == 1137
    assert {source[index].conversation[0].answer for index in range(40)} <= {
        "red blood cell", "white blood cell", "platelet",
    }  # fmt: skip
    balance = source.balance()
    assert balance is not None and balance.sum() == pytest.approx(1.0)
