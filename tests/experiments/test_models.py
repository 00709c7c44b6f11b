"""Every base that ships: its file builds the published model, without weights, and is planned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from datamodules import VideoRegionDataModule
from experiments.config.run import ConfiguredRun
from lightning_modules import VideoRegionModule
from lightning_modules.bases.loading import BaseModel, build
from lightning_modules.planning.measuring import flops
from lightning_modules.planning.plan import plan

FILES = sorted((Path(__file__).parents[2] / "experiments" / "models").glob("*.yaml"))
PUBLISHED = {
    "gemma-3-4b": 4_300_079_472,
    "internvl3-8b": 7_944_373_760,
    "internvl3.5-8b": 8_528_318_464,
    "llava-1.5-7b": 7_063_427_072,
    "llava-1.5-13b": 13_351_494_656,
    "qwen2.5-vl-7b": 8_292_166_656,
    "qwen3-vl-4b": 4_437_815_808,
    "qwen3-vl-8b": 8_767_123_696,
    "qwen3.5-9b": 9_409_813_744,
    "smolvlm2-2.2b": 2_246_784_880,
}
"""Parameters of the checkpoints, as their pages state them; what LLaVA's form puts together is no checkpoint."""
WITHOUT = "plan needs the checkpoint on this machine"
LAYERS = ("num_hidden_layers", "depth")


def options(file: Path) -> dict[str, Any]:
    arguments: dict[str, Any] = yaml.safe_load(file.read_text())["model"]["init_args"]
    return arguments


PLANNED = [file for file in FILES if "architecture" in options(file)["base"]]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_says_what_it_is(file: Path) -> None:
    """Where it comes from, how it is asked, and what a plan needs."""
    arguments = options(file)
    base = BaseModel(**arguments["base"])
    assert bool(base.checkpoint) != bool(base.vision_tower and base.language_model)
    assert arguments["prompt"] == ("vicuna" if file.stem.startswith("llava-1.5") else "chat")
    assert f"experiments/models/{file.name}" in file.read_text()
    assert (WITHOUT in file.read_text()) == (file not in PLANNED)


@pytest.mark.parametrize("file", PLANNED, ids=lambda file: file.stem)
def test_what_a_file_builds_is_the_published_model(file: Path) -> None:
    """A checkpoint's has as many parameters, to the last one."""
    base = options(file)["base"]
    with torch.device("meta"):
        model = build(base["architecture"], dtype=base["dtype"])
    parameters = sum(weight.numel() for weight in model.parameters())
    assert file.stem in PUBLISHED or "vision_tower" in base
    assert parameters == PUBLISHED.get(file.stem, parameters) > 1e8


@pytest.mark.parametrize("file", PLANNED, ids=lambda file: file.stem)
def test_a_file_is_planned(file: Path) -> None:
    """With fewer layers, which take the time: two frames of 720 x 1280, whatever the base makes of them."""
    arguments = options(file)
    architecture = arguments["base"]["architecture"]
    for part in ("vision_config", "text_config"):
        few = {name: 4 for name in LAYERS if name in architecture[part]}
        architecture[part] = {**architecture[part], **few}
    if "layer_types" in architecture["text_config"]:
        architecture["text_config"]["layer_types"] = architecture["text_config"]["layer_types"][:4]
    for name in ("deepstack_visual_indexes", "fullatt_block_indexes"):
        if name in architecture["vision_config"]:
            architecture["vision_config"][name] = [1]
    model = VideoRegionModule(BaseModel(**arguments.pop("base")), **arguments)
    planned = plan(
        ConfiguredRun(model, VideoRegionDataModule(num_frames=2, eval_batch_size=1), "auto", "bf16-mixed"), 1
    )
    assert planned.length >= 200 + 2 * 64
    assert flops(planned.works) > 1e12 or file.stem.startswith("siglip2")
    assert all(amount >= 0 for name in (planned.moment, "evaluation") for amount in planned.held(name).values())
