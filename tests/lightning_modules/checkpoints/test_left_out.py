"""Checkpoints without the frozen weights that the files of their base have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from safetensors.torch import load_file, save_file
from test_region_module import SAMPLES, train

from datamodules.errors import DataError
from helpers import make_batch, marks, tiny_module
from lightning_modules import BaseModel, LoraOptions, VideoRegionModule, load
from lightning_modules.checkpoints.export import export
from lightning_modules.checkpoints.files import read_file
from lightning_modules.region_module import RegionModule

LORA = LoraOptions(rank=4, alpha=8, targets=("q_proj", "down_proj"))
FROZEN = ("vision_tower", "language_model")
FORMS = [
    pytest.param({"lora": LORA, "quantise": "nf4"}, id="qlora"),
    pytest.param({"lora": LORA}, id="lora", marks=pytest.mark.slow),
    pytest.param({"frozen": FROZEN}, id="frozen", marks=pytest.mark.slow),
]


def base_folder(folder: Path, seed: int = 0) -> Path:
    """A base with its tokenizer, as transformers keeps one."""
    module = tiny_module(folder / "made", seed=seed)
    module.backbone.model.save_pretrained(folder / "base")
    module.renderer.tokenizer.save_pretrained(folder / "base")
    return folder / "base"


def on(base: Path, **options: Any) -> RegionModule:
    torch.manual_seed(1)
    made = BaseModel(checkpoint=str(base))
    given = {"guide_weight": 0.5, "learning_rate": 1e-2, "warmup": 0.0, "prompt": "plain", "max_new_tokens": 5}
    return VideoRegionModule(made, marks(), **{**given, **options})


def trained(base: Path, folder: Path, ckpt_path: Path | None = None, **options: Any) -> Path:
    """The last checkpoint of two steps on a base, which stays as it is; `step=1.ckpt` lies beside it."""
    saved = ModelCheckpoint(folder, every_n_train_steps=1, save_top_k=-1, filename="{step}")
    train(on(base, **options), folder, 2, SAMPLES, ckpt_path=ckpt_path, callbacks=[saved])
    return folder / "step=2.ckpt"


def names(checkpoint: Path) -> set[str]:
    return set(read_file(checkpoint)["state_dict"])


def parts(weights: Sequence[str] | set[str]) -> set[str]:
    """Where weights are: of the base's parts the first below the model."""
    return {name.removeprefix("backbone.model.model.").split(".")[0] for name in weights}


@pytest.mark.parametrize("options", FORMS)
def test_a_checkpoint_holds_what_learns_and_answers_from_its_base(tmp_path: Path, options: dict[str, Any]) -> None:
    """It held the frozen base, too: 26 GB of a 13B for adapters of 0.1. It goes on bit for bit all the same."""
    base = base_folder(tmp_path)
    module = on(base, **options)
    saved = ModelCheckpoint(tmp_path / "whole", every_n_train_steps=1, save_top_k=-1, filename="{step}")
    train(module, tmp_path, 2, SAMPLES, callbacks=[saved])
    whole = tmp_path / "whole" / "step=2.ckpt"
    learning = {name for name, weight in module.named_parameters() if weight.requires_grad}
    assert names(whole) == learning
    assert ("language_model" in parts(learning)) == ("lora" in options)
    resumed = read_file(trained(base, tmp_path / "resumed", whole.with_name("step=1.ckpt"), **options))["state_dict"]
    for name, weight in read_file(whole)["state_dict"].items():
        assert torch.equal(resumed[name], weight), name
    batch = make_batch(module, *SAMPLES)
    assert load(whole).answer(batch).predictions == module.eval().answer(batch).predictions
    again = load(export(whole, tmp_path / "exported"))
    assert len(again.answer(make_batch(again, *SAMPLES)).predictions) == len(SAMPLES)


def test_another_base_is_refused(tmp_path: Path) -> None:
    """Adapters on weights that they have not learnt on say anything."""
    base = base_folder(tmp_path)
    checkpoint = trained(base, tmp_path / "run", frozen=FROZEN)
    weights = load_file(base / "model.safetensors")
    first = min(weights)
    weights[first] = weights[first] + 1e-3
    save_file(weights, base / "model.safetensors", {"format": "pt"})
    sums = (
        rf"{base}: model\.safetensors of sha256 [0-9a-f]{{12}}: here is {base}: model\.safetensors of sha256 [0-9a-f]"
    )
    with pytest.raises(DataError, match=rf"{checkpoint} has left out the weights of its base {base}: .*{sums}"):
        load(checkpoint)
    with pytest.raises(DataError, match=f"the checkpoint holds what has learnt on another base, {sums}"):
        trained(base, tmp_path / "on", checkpoint, frozen=FROZEN)
    (base / "config.json").unlink()
    (base / "model.safetensors").unlink()
    with pytest.raises(DataError, match=rf"left out the weights of its base {base}: no model at '{base}'"):
        load(checkpoint)


@pytest.mark.slow
def test_a_later_stage_leaves_out_what_earlier_ones_have_not_changed(tmp_path: Path) -> None:
    """The language model of a stage that trained it is held by the checkpoints of the next, and of its resumption."""
    base = base_folder(tmp_path)
    aligned = trained(base, tmp_path / "aligned", frozen=FROZEN)
    tuned = trained(base, tmp_path / "tuned", init_from=aligned)
    assert parts(names(tuned)) > {"vision_tower", "language_model"}
    for earlier, held in ((aligned, set()), (tuned, {"language_model"})):
        later = trained(base, tmp_path / "first" / earlier.parts[-2], lora=LORA, init_from=earlier)
        frozen = {name for name in names(later) if ".lora_" not in name}
        assert parts(frozen) == {"multi_modal_projector", "backbone"} | held
        half = later.with_name("step=1.ckpt")
        assert names(trained(base, tmp_path / "on" / earlier.parts[-2], half, lora=LORA, init_from=earlier)) == names(
            half
        )
        assert len(load(later).answer(make_batch(load(later), *SAMPLES)).predictions) == len(SAMPLES)


@pytest.mark.slow
def test_words_that_a_base_lacks_are_held(tmp_path: Path) -> None:
    """Rows that are added to the vocabulary are drawn at random: the base's files do not have them."""
    base = base_folder(tmp_path)
    module = on(base, frozen=FROZEN)
    tokenizer = tiny_module(tmp_path / "made").renderer.tokenizer
    tokenizer.add_tokens([f"word{number}" for number in range(70)])
    tokenizer.save_pretrained(base)
    checkpoint = trained(base, tmp_path / "run", frozen=FROZEN)
    words = {"backbone.model.lm_head.weight", "backbone.model.model.language_model.embed_tokens.weight"}
    assert words < names(checkpoint)
    assert load(checkpoint).backbone.model.get_input_embeddings().num_embeddings > 128
    assert module.base.checkpoint == str(base)
