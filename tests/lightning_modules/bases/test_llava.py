"""Any tower and any decoder in LLaVA's form, and the projector that merges patches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from families import TEXT, TINY, Tiny, llava, noise, seen
from transformers import AutoConfig, AutoModelForCausalLM, LlavaForConditionalGeneration

from datamodules.errors import DataError
from datamodules.types import Box
from lightning_modules.bases import family_of
from lightning_modules.bases.llava import SquareVision
from lightning_modules.bases.projector import LlavaWithProjector

LLAVAS = [name for name in TINY if name.partition(",")[0] == "llava"]
CLIP = {"model_type": "clip_vision_model"}


def logits(model: torch.nn.Module, ids: torch.Tensor, **inputs: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=ids, **inputs).logits


def test_without_merging_the_projector_is_that_of_llava() -> None:
    ours, theirs = llava(CLIP, projector={"merge": 1}).base().model, llava(CLIP).base().model
    assert isinstance(ours, LlavaWithProjector) and type(theirs) is LlavaForConditionalGeneration
    missing = ours.load_state_dict(theirs.state_dict(), strict=True)
    assert not missing.missing_keys and not missing.unexpected_keys
    tiny = llava(CLIP)
    prompt = seen(tiny.processor(tiny.base()), noise(32, 32))
    ids = tiny.ids(prompt)
    assert torch.equal(logits(ours, ids, **prompt.inputs), logits(theirs, ids, **prompt.inputs))


@pytest.mark.parametrize("name", ["llava, odd SigLIP merged", "llava, DINOv2 merged"])
def test_a_visual_token_is_the_two_layers_on_its_patches_side_by_side(name: str) -> None:
    base = TINY[name].base()
    projector: Any = base.projector[0]
    grid, cells = projector.grid, -(-projector.grid // 2)
    features = torch.randn(2, 1 + grid**2, 16)  # and a class token
    visual = projector(features)
    assert visual.shape == (2, cells**2, 32)
    patches = features[:, 1:].view(2, grid, grid, 16)
    for row in range(cells):
        for column in range(cells):
            across = [min(2 * column + step, grid - 1) for step in (0, 1)]
            down = [min(2 * row + step, grid - 1) for step in (0, 1)]
            joined = torch.cat([patches[:, y, x] for y in down for x in across], 1)
            expected = projector.linear_2(projector.act(projector.linear_1(joined)))
            torch.testing.assert_close(visual[:, row * cells + column], expected)


def test_the_paper_s_towers_have_its_numbers_of_tokens() -> None:
    assert SquareVision(336, 14).frame_tokens == 24 * 24
    siglip = SquareVision(384, 14, merge=2)
    assert siglip.frame_tokens == 14 * 14
    assert siglip.edges[-3:] == (336, 364, 378)  # a whole token of 28 pixels, one of 14, and 6 pixels that no patch has


def test_what_no_patch_has_weighs_nothing() -> None:
    """The pixels beyond the last patch were added to the last row and column of cells."""
    vision = SquareVision(42, 8, merge=2)
    (view,) = vision(noise(42, 42)).views
    assert view.rows == ((0, 16), (16, 32), (32, 40))
    pooled = view.pooled(view.placement.coverage(Box((0.0, 0.0, 42.0, 42.0)))[None])
    assert pooled.max() == pooled.min() == 1.0
    assert not view.pooled(view.placement.coverage(Box((40.0, 0.0, 42.0, 42.0)))[None]).any()


@pytest.mark.parametrize("name", LLAVAS)
def test_a_saved_model_is_the_same_again(name: str, tmp_path: Path) -> None:
    tiny = TINY[name]
    base = tiny.base()
    prompt = seen(tiny.processor(base), noise(40, 30))
    ids = tiny.ids(prompt)
    before = logits(base.model, ids, **prompt.inputs)
    base.model.save_pretrained(tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    assert config.to_dict().get("projector") == tiny.config.get("projector")
    kind = family_of(config.model_type).model_class(config)
    again, report = kind.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report[keys] for keys in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert torch.equal(logits(again, ids, **prompt.inputs), before)
    assert base.visual_processor(config, {}) == tiny.processor(base)


@pytest.mark.parametrize("decoder", ["llama", "qwen2", "qwen3", "smollm3", "mistral", "gemma", "llama, tied"])
def test_a_decoder_on_text_alone_is_what_it_was(decoder: str) -> None:
    kind, _, tied = decoder.partition(", ")
    options = {"tie_word_embeddings": bool(tied) or kind.startswith("gemma"), "pad_token_id": 0}
    torch.manual_seed(0)
    own = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **TEXT, **options)).eval()
    tiny = llava(CLIP)
    joined = Tiny({**tiny.config, "text_config": own.config.to_dict()}, tiny.special).base().model
    joined.model.language_model.load_state_dict(own.model.state_dict())
    joined.lm_head.load_state_dict(own.lm_head.state_dict())
    ids = torch.randint(1, 270, (2, 50))
    assert torch.equal(logits(joined, ids), logits(own, ids))


@pytest.mark.parametrize(
    ("tiny", "message"),
    [
        (llava({"model_type": "vit"}), "no tower of type 'vit'"),
        (llava({"model_type": "siglip2_vision_model"}), "SigLIP 2 is of one resolution"),
        (llava({"model_type": "siglip_vision_model"}), "drops the first patch of a siglip_vision_model"),
        (llava(CLIP, projector={"merge": 0}), r"projector is \{'merge': 0\}"),
        (llava(CLIP, projector={"pool": 2}), r"projector is \{'pool': 2\}"),
        (llava(CLIP, "gemma2"), "gemma2', whose final_logit_softcapping 30 would be left out"),
    ],
)
def test_what_does_not_go_into_the_form_is_refused(tiny: Tiny, message: str) -> None:
    with pytest.raises(DataError, match=message):
        tiny.base()


def test_a_kind_of_resampling_that_there_is_not_is_refused() -> None:
    base = TINY["llava"].base()
    assert base.visual_processor(base.model.config, {"resample": 2}).resample == "bilinear"
    with pytest.raises(DataError, match="resample is 5, but frames are resized by lanczos, bilinear, bicubic"):
        base.visual_processor(base.model.config, {"resample": 5})
