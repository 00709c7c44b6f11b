"""In bfloat16 and at 2,500 tokens, too, the model is its base model: logits, generation, options, checkpoints, exports.

Regression for all of it: the whole backbone was cast to the base's type, and its rotary frequencies with it. Three of
ten tokens came out otherwise than transformers' own on the same weights in the same type.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from long_base import (
    ARCHITECTURE,
    OPTIONS,
    based_on,
    buffers,
    long_sample,
    run_sharded_twice,
    said,
    said_by,
    sharp,
    write_base,
)
from safetensors.torch import load_file
from transformers import CLIPVisionModel, LlamaForCausalLM, LlavaForConditionalGeneration

from datamodules.types import Turn
from helpers import make_batch, pixels_of
from lightning_modules import BaseModel, LoraOptions, VideoRegionModule, export, load
from lightning_modules.bases.loading import build
from lightning_modules.checkpoints.description import DESCRIPTION
from lightning_modules.checkpoints.files import ON_THE_BASE
from lightning_modules.region_module import RegionModule
from processes import finish, start_ranks

CLOSE = {"rtol": 0.0, "atol": 0.05}  # logits have a deviation of 0.6; a cast of the frequencies moves some by 0.5
FORMS: dict[str, dict[str, Any]] = {
    "nothing learns": {},
    "all learns": {"frozen": ()},
    "lora": {"lora": LoraOptions(rank=4)},
    "nf4": {"quantise": "nf4"},
    "int8": {"quantise": "int8"},
    "qlora": {"quantise": "nf4", "lora": LoraOptions(rank=4)},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of transformers, in float32."""
    folder: Path = tmp_path_factory.mktemp("long")
    write_base(folder / "llava")
    return folder / "llava"


@pytest.fixture(scope="module")
def plain(base: Path) -> LlavaForConditionalGeneration:
    """As transformers alone loads it in bfloat16."""
    return LlavaForConditionalGeneration.from_pretrained(base, dtype=torch.bfloat16).eval()


@pytest.fixture(scope="module")
def expected(base: Path, plain: LlavaForConditionalGeneration) -> torch.Tensor:
    """What it says."""
    return said_by(plain, based_on(base))


def assert_same_buffers(model: torch.nn.Module, plain: LlavaForConditionalGeneration) -> None:
    """By name, type and value; the vision tower's positions and the rotary frequencies are among them."""
    assert_equal_buffers(buffers(model), buffers(plain))


def assert_equal_buffers(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    floating = {name: value for name, value in theirs.items() if value.is_floating_point()}
    assert floating and all(value.dtype == torch.float32 for value in floating.values())
    assert theirs.keys() <= ours.keys()
    for name, value in theirs.items():
        assert ours[name].dtype == value.dtype and torch.equal(ours[name], value), name


def checkpoint(module: RegionModule, path: Path) -> Path:
    """What a training writes, after every weight that learns has moved by less than bfloat16 can say."""
    torch.manual_seed(2)
    for weight in module.parameters():
        if weight.requires_grad:
            assert weight.dtype == torch.float32
            weight.data += 1e-3 * torch.randn_like(weight)
    torch.save({"state_dict": module.state_dict(), DESCRIPTION: module.describe()}, path)
    return path


def test_the_test_is_sharp(base: Path, plain: LlavaForConditionalGeneration, expected: torch.Tensor) -> None:
    """2,500 tokens, and frequencies rounded to bfloat16 are seen: what was done to them is done on purpose here."""
    module = based_on(base)
    batch = make_batch(module, long_sample())
    assert batch.input_ids.shape[1] > 2500
    assert_same_buffers(module.backbone.model, plain)
    module.backbone.model.to(torch.bfloat16)
    rounded = said(module)
    assert (rounded.argmax(-1) == expected.argmax(-1)).float().mean() < 0.9
    assert (rounded - expected).abs().max() > 5 * CLOSE["atol"]


def test_logits_are_those_of_transformers(base: Path, expected: torch.Tensor) -> None:
    torch.testing.assert_close(said(based_on(base)), expected, **CLOSE)


@pytest.mark.parametrize("form", FORMS)
def test_no_form_casts_a_buffer(form: str, base: Path, plain: LlavaForConditionalGeneration, tmp_path: Path) -> None:
    """Made to learn, loaded from its checkpoint, and from its export."""
    module = based_on(base, **FORMS[form])
    assert_same_buffers(module.backbone.model, plain)
    path = checkpoint(module, tmp_path / "last.ckpt")
    assert_same_buffers(load(path).backbone.model, plain)
    assert_same_buffers(load(export(path, tmp_path / "out")).backbone.model, plain)


def test_a_joined_base_and_a_random_one_are_those_of_transformers(tmp_path: Path) -> None:
    """CLIP and Llama put together, and an architecture that names other types for its parts."""
    typed = {
        **ARCHITECTURE,
        "text_config": {**ARCHITECTURE["text_config"], "dtype": "float16", "vocab_size": 128},
        "vision_config": {**ARCHITECTURE["vision_config"], "dtype": "float32"},
    }
    torch.manual_seed(0)
    made = sharp(build(typed, dtype="bfloat16"))
    assert {weight.dtype for weight in made.parameters()} == {torch.bfloat16}
    CLIPVisionModel(made.config.vision_config).save_pretrained(tmp_path / "tower")
    LlamaForCausalLM(made.config.text_config).save_pretrained(tmp_path / "decoder")
    places = {"vision_tower": str(tmp_path / "tower"), "language_model": str(tmp_path / "decoder")}
    for name, base in {
        "joined": BaseModel(**places, architecture={"vision_feature_layer": -2}, tokenizer="bytes", dtype="bfloat16"),
        "random": BaseModel(architecture=typed, tokenizer="bytes", dtype="bfloat16"),
    }.items():
        module = VideoRegionModule(base, frozen=("vision_tower", "projector", "language_model"), **OPTIONS)
        module.configure_model()
        module.backbone.model.save_pretrained(tmp_path / name)
        again = LlavaForConditionalGeneration.from_pretrained(tmp_path / name, dtype=torch.bfloat16).eval()
        assert_same_buffers(module.backbone.model, again)
        torch.testing.assert_close(said(module.eval()), said_by(again, module), **CLOSE)


def test_a_checkpoint_and_its_export_agree(base: Path, tmp_path: Path) -> None:
    """Of weights that have learnt in float32; transformers alone agrees with both on the base's part."""
    path = checkpoint(based_on(base, frozen=()), tmp_path / "last.ckpt")
    folder = export(path, tmp_path / "out")
    loaded, exported = load(path), load(folder)
    ours, theirs = loaded.state_dict(), exported.state_dict()
    for name, weight in ours.items():
        assert weight.dtype == theirs[name].dtype and torch.equal(weight, theirs[name]), name
    assert {weight.dtype for weight in loaded.backbone.model.parameters()} == {torch.bfloat16}
    weights = load_file(folder / "model.safetensors")
    assert {weights[name].dtype for name in weights if name.startswith(ON_THE_BASE)} == {torch.float32}
    assert torch.equal(said(loaded), said(exported))
    alone = LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.bfloat16).eval()
    torch.testing.assert_close(said(loaded), said_by(alone, loaded), **CLOSE)


@pytest.mark.parametrize("form", ["lora", "nf4", "int8", "qlora"])
def test_an_adapted_checkpoint_is_as_near_to_its_export_as_bfloat16_lets_it(
    form: str, base: Path, tmp_path: Path
) -> None:
    """Merged weights are rounded once more: no further from the adapted ones than these are from float32."""
    path = checkpoint(based_on(base, **FORMS[form]), tmp_path / "last.ckpt")
    exported = export(path, tmp_path / "out")
    adapted = load(path)
    if form == "int8":
        adapted.train()  # in evaluation activations are rounded, too
    alone = LlavaForConditionalGeneration.from_pretrained(exported, dtype=torch.bfloat16).eval()
    ours, theirs = said(adapted), said_by(alone, adapted)
    assert (ours.argmax(-1) == theirs.argmax(-1)).float().mean() > 0.9
    assert (ours - theirs).abs().mean() < 0.02


def test_generation_is_that_of_transformers(base: Path, plain: LlavaForConditionalGeneration) -> None:
    """Every position behind the prompt continues a cache of 2,300 tokens."""
    module = based_on(base)
    batch = make_batch(module, replace(long_sample(), conversation=(Turn("what is it"),)))
    prompt = batch.input_ids[:, : batch.prompt_lengths[0]]
    theirs = plain.generate(
        input_ids=prompt, pixel_values=pixels_of(module, batch).bfloat16(), max_new_tokens=8, do_sample=False
    )
    text = module.renderer.decode(theirs[0, prompt.shape[1] :].tolist())
    assert module.answer(batch).predictions[0].prediction == text and text


def test_options_score_as_if_each_were_read_in_full(base: Path) -> None:
    module = based_on(base)
    options = ("a cat", "two dogs and more", "no")
    scored = module.answer(make_batch(module, long_sample(options))).predictions[0]
    for option, score in zip(options, scored.option_scores, strict=True):
        read = make_batch(module, replace(long_sample(), conversation=(Turn("what is it", option),)))
        with torch.no_grad():
            output = module.backbone(read)
        full = output.logits.float().log_softmax(-1).gather(1, output.targets[:, None]).sum()
        assert score == pytest.approx(float(full), abs=0.02 * len(output.targets))


@pytest.fixture(scope="module")
def sharded(base: Path) -> Path:
    """The folder of what two processes say under FSDP2."""
    finish(*start_ranks(2, run_sharded_twice, base.parent))
    return base.parent


@pytest.mark.parametrize("what", ["fit", "predict"])
def test_sharding_casts_no_buffer_and_computes_as_bfloat16(
    what: str, sharded: Path, plain: LlavaForConditionalGeneration, expected: torch.Tensor
) -> None:
    """Two ranks: in a training from float32 shards, else from bfloat16 ones; the frozen tower is bfloat16 in both."""
    kept: dict[str, Any] = torch.load(sharded / f"{what}.pt")
    assert_equal_buffers(kept["buffers"], buffers(plain))
    base = {name: dtype for name, dtype in kept["types"].items() if name.startswith("backbone.model.")}
    tower = {dtype for name, dtype in base.items() if "vision_tower" in name}
    assert tower == {torch.bfloat16}
    rest = {dtype for name, dtype in base.items() if "vision_tower" not in name}
    assert rest == {torch.float32 if what == "fit" else torch.bfloat16}
    torch.testing.assert_close(kept["logits"].cpu(), expected, **CLOSE)
