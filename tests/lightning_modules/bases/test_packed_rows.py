"""Samples that share a row are read as if each were alone, on every base that can, and no row is handed a mask."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from families import TINY, llava
from test_region_modules import SAMPLES, asked, gradients, losses, module_of, tokenizer_folder

from datamodules.batching.batch import RegionBatch
from datamodules.batching.collate import Collate
from datamodules.errors import DataError
from datamodules.types import Turn
from helpers import WAYS, processor, way_name
from lightning_modules.bases.packed_attention import row_of
from lightning_modules.region_module import RegionModule
from lightning_modules.training.layers import layers_of, run_again

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
NAMED = replace(asked("a region named"), conversation=(Turn("which of <region0> and <region1>", "<region1> it is"),))
ROW = (*SAMPLES, NAMED)
BOTH_WAYS = ("gemma3", "gemma4")  # pictures are read in both directions, which takes a mask
REFUSED = ("molmo2", "qwen3_5")
PACKED = [
    pytest.param(name, marks=pytest.mark.slow if name.startswith("llava, ") else ())
    for name in TINY
    if name not in REFUSED
]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tokenizer_folder(tmp_path_factory.mktemp("tokenizer"))


def batches(module: RegionModule) -> tuple[RegionBatch, RegionBatch, list[RegionBatch]]:
    """The samples in one row, in rows of their own, and each alone."""
    process, collate = processor(module), Collate(module.vision)
    items = [process(one) for one in ROW]
    return collate.packed(items), collate(items), [collate([item]) for item in items]


@contextmanager
def masks_seen() -> Iterator[list[tuple[int, ...]]]:
    """The shapes of the masks that SDPA is given within."""
    seen: list[tuple[int, ...]] = []
    plain = torch.nn.functional.scaled_dot_product_attention

    def watched(*states: torch.Tensor, attn_mask: torch.Tensor | None = None, **options: Any) -> torch.Tensor:
        if attn_mask is not None:
            seen.append(tuple(attn_mask.shape))
        return plain(*states, attn_mask=attn_mask, **options)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
        yield seen


def alone(module: RegionModule, singles: list[RegionBatch]) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and the guide head's of samples that are read one by one."""
    outputs = [module.backbone(single) for single in singles]
    guide = [output.guide_logits for output in outputs if output.guide_logits is not None]
    return torch.cat([output.logits for output in outputs]), torch.cat(guide)


@pytest.mark.parametrize("name", PACKED)
def test_a_packed_row_is_its_samples_alone(name: str, tokenizer: str) -> None:
    """An image, a video, text alone, a picture without regions, an answer that names a region; losses and gradients
    are those of rows of their own.

    Any padding of these made a mask of (B, 1, L, L), and SDPA left its flash kernel; nothing sees what stands behind.
    """
    module = module_of(name, tokenizer, frozen=())
    packed, padded, singles = batches(module)
    assert packed.packed and packed.attention_mask.all() and packed.input_ids.shape == (1, sum(packed.lengths))
    with masks_seen() as masks:
        output = module.backbone(packed)
    assert all(shape[-1] < sum(packed.lengths) for shape in masks), "a mask over the row"
    with torch.no_grad():
        logits, guide = alone(module, singles)
    torch.testing.assert_close(output.logits, logits, **CLOSE)
    torch.testing.assert_close(output.guide_logits, guide, **CLOSE)
    found = []
    assert not padded.attention_mask.all()
    for batch in (packed, padded):
        module.zero_grad()
        with masks_seen() as masks:
            loss = losses(module, batch)
        assert masks == [] or name in BOTH_WAYS
        loss.backward()
        found.append((loss.item(), {name: weight.clone() for name, weight in gradients(module).items()}))
    (loss_packed, of_row), (loss_padded, of_rows) = found
    assert loss_packed == pytest.approx(loss_padded, abs=1e-5)
    largest = max(float(gradient.abs().max()) for gradient in of_rows.values())
    for weight, gradient in of_rows.items():
        assert (of_row[weight] - gradient).abs().max() <= 1e-5 * largest, weight


@torch.no_grad()
@pytest.mark.parametrize("name", REFUSED)
def test_a_base_in_which_samples_would_leak_is_refused(name: str, tokenizer: str) -> None:
    """In rows of their own they are read without a mask of padding there, too, but for Molmo2's of its pictures."""
    module = module_of(name, tokenizer)
    with pytest.raises(DataError, match=f"^data.packing: .*{name}"):
        module.check_packing()
    packed, padded, singles = batches(module)
    with pytest.raises(DataError, match=f"^data.packing: .*{name}"):
        module.backbone(packed)
    with masks_seen() as masks:
        output = module.backbone(padded)
    assert masks == [] or name == "molmo2"
    torch.testing.assert_close(output.logits, alone(module, singles)[0], **CLOSE)


def test_a_decoder_that_does_not_attend_by_sdpa_is_refused(tokenizer: str) -> None:
    module = module_of("llava", tokenizer)
    module.backbone.base.language_model.set_attn_implementation("eager")
    with pytest.raises(DataError, match=r"^data\.packing: llava attends by eager, not by sdpa$"):
        module.check_packing()


@torch.no_grad()
@pytest.mark.parametrize(
    "way",
    [
        pytest.param(way, id=way_name(way), marks=() if way_name(way) == "RoiFeature-frame" else pytest.mark.slow)
        for way in WAYS[1:]
    ],
)
def test_every_way_of_pointing_finds_its_samples_in_the_row(way: Any, tokenizer: str) -> None:
    module = module_of("llava", tokenizer, region_encoder=way)
    packed, _, singles = batches(module)
    expected = torch.cat([module.backbone(single).logits for single in singles])
    torch.testing.assert_close(module.backbone(packed).logits, expected, **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize(
    "name", [*(pytest.param(name, marks=pytest.mark.slow) for name in ("gemma3", "gemma4")), "a windowed decoder"]
)
def test_a_window_is_counted_within_its_sample(name: str, tokenizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers looks up pictures of packed rows by places within a sample, in layers with a window."""
    tiny = TINY.get(name) or llava({"model_type": "clip_vision_model"}, "mistral")
    text = {**tiny.config["text_config"], "sliding_window": 24}
    monkeypatch.setitem(TINY, name, replace(tiny, config={**tiny.config, "text_config": text}))
    module = module_of(name, tokenizer)
    packed, _, singles = batches(module)
    assert max(packed.lengths) > 24
    torch.testing.assert_close(module.backbone(packed).logits, alone(module, singles)[0], **CLOSE)


def test_layers_that_run_again_find_the_row_again(tokenizer: str) -> None:
    """In the backward pass, behind another batch."""
    found = []
    for again in (False, True):
        module = module_of("gemma3", tokenizer, frozen=())
        packed, padded, _ = batches(module)
        for layer in layers_of(module.backbone) if again else ():
            run_again(layer)
        loss = losses(module, packed)
        with torch.no_grad():
            module.backbone(padded)
        loss.backward()
        found.append(gradients(module))
    for weight, gradient in found[0].items():
        torch.testing.assert_close(found[1][weight], gradient, rtol=0, atol=0, msg=weight)


@torch.no_grad()
@pytest.mark.slow
@pytest.mark.parametrize("name", PACKED)
def test_a_packed_row_in_bfloat16(name: str, tokenizer: str) -> None:
    """As far from its samples alone as bfloat16 is from float32."""
    module = module_of(name, tokenizer, dtype="bfloat16", frozen=("vision_tower", "language_model"))
    packed, _, singles = batches(module)
    logits, found = alone(module, singles)[0].float(), module.backbone(packed).logits.float()
    assert (found - logits).abs().max() < 0.05 * logits.abs().max()


def test_what_stands_in_place_of_a_mask_by_hand() -> None:
    """Two samples of four and three tokens, with two pictures and one."""
    pictures = torch.tensor([[True, True, False, True, False, False, True]])
    assert row_of((4, 3)).tolist() == [[[[0, 0, 0, 0, 1, 1, 1], [-1] * 7]]]
    assert row_of((4, 3), pictures).tolist() == [[[[0, 0, 0, 0, 1, 1, 1], [1, 1, -1, 2, -1, -1, 3]]]]
