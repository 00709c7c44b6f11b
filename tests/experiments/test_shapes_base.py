"""The base that is shipped: what it is, and that its command makes it again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

import cli
from datamodules.shapes.tokenizer import train_tokenizer
from lightning_modules import BaseModel, ImageRegionModule
from lightning_modules.bases.loading import load_tokenizer
from lightning_modules.region_encoders import NoRegionEncoder
from stop_after import StopAfter

ROOT = Path(__file__).parent.parent.parent
SHIPPED = ROOT / "experiments" / "models" / "shapes"
LOSSES = {20: 6.5001, 40: 5.1325}
"""After so many steps of the run that the shipped weights are of."""


def test_the_file_is_small_and_its_tokenizer_that_of_the_data(tmp_path: Path) -> None:
    """Four megabytes of weights; words that the data came to have since would be unknown to it."""
    assert (SHIPPED / "model.safetensors").stat().st_size < 4_000_000
    train_tokenizer(tmp_path)
    assert (tmp_path / "tokenizer.json").read_text() == (SHIPPED / "tokenizer.json").read_text()


@torch.no_grad()
def test_it_has_learnt_to_read_pictures_and_knows_no_region() -> None:
    """Shape and texture of a figure that is told by its look, right in nine of ten; weights of 16 bits, read as 32."""
    from datamodules.batching.collate import Collate
    from datamodules.shapes import ShapesInWords

    base = BaseModel(checkpoint=str(SHIPPED))
    module = ImageRegionModule(base=base, region_encoder=NoRegionEncoder(), guide_weight=0, prompt="plain")
    module.configure_model()
    assert load_tokenizer(base).eos_token_id == module.renderer.end_ids[0]
    source, process = (
        ShapesInWords("image", groups={"shape": 1.0, "texture": 1.0}, seed=3, turns=1),
        module.processor(1),
    )
    answered = module.eval().answer(Collate(module.vision)([process(source[index]) for index in range(64)]))
    right = sum(one.prediction in one.references for one in answered.predictions)
    assert right >= 58, right


@torch.no_grad()
def test_its_visual_tokens_are_no_larger_than_its_words() -> None:
    """The sizes that `experiments/ablations/mark_size.yaml` compares: of words and of pictures."""
    from datamodules.batching.collate import Collate
    from datamodules.shapes import ShapesStream

    module = ImageRegionModule(
        base=BaseModel(checkpoint=str(SHIPPED)), region_encoder=NoRegionEncoder(), prompt="plain"
    )
    module.configure_model()
    base, source, process = module.backbone.base, ShapesStream("image"), module.processor(1)
    batch = Collate(module.vision)([process(source[index]) for index in range(64)])
    pixels = module.vision.model_inputs(batch.inputs)["pixel_values"]
    pictures = torch.cat(list(base.core.get_image_features(pixels).pooler_output))
    assert (base.word_size(), float(pictures.square().mean().sqrt())) == pytest.approx((0.859, 0.201), rel=0.02)


def test_it_begins_to_train_with_its_dropout() -> None:
    """transformers reads a checkpoint in eval mode, which Lightning keeps."""
    module = ImageRegionModule(base=BaseModel(checkpoint=str(SHIPPED)), prompt="plain")
    module.configure_model()
    assert all(part.training for part in module.modules())


@pytest.mark.slow
def test_its_command_makes_it_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first losses of a short run are those of the run that is shipped."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "experiments", tmp_path / "experiments", ignore=shutil.ignore_patterns("*.py", "models"))
    stop = ["--trainer.callbacks+=stop_after.StopAfter", f"--trainer.callbacks.steps={max(LOSSES)}"]
    cli.main(["fit", "--config", "experiments/shapes_base.yaml", "--trainer.log_every_n_steps=1", *stop])
    for step, loss in LOSSES.items():
        assert StopAfter.losses[step - 1] == pytest.approx(loss, rel=1e-2), StopAfter.losses
