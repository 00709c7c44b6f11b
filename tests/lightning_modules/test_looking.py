"""`look`: heat maps and embeddings without a question."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules import Box, DataError, Pixels, Region, RegionSample, Turn
from helpers import make_batch, tiny_module
from lightning_modules import NoRegionEncoder, look
from lightning_modules.region_module import RegionModule

CLIP = np.random.default_rng(0).integers(0, 256, (4, 20, 30, 3), dtype=np.uint8)
REGIONS = (Region.at(Box((1, 2, 13, 9))), Region.at(Box((10, 5, 29, 19)), frame=2))


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> RegionModule:
    return tiny_module(tmp_path_factory.mktemp("module")).eval()


def test_heat_is_what_an_answer_has(module: RegionModule) -> None:
    """On a question's way, by other code: `answer` and the view's tokens one by one."""
    seen = look(module, CLIP, REGIONS)
    sample = RegionSample("asked", Pixels(CLIP), REGIONS, (Turn("which of <region0> and <region1> is a cat"),))
    batch = make_batch(module, sample)
    heat, view = module.answer(batch).heat, seen.view
    assert seen.frames == (0, 1, 2, 3) and heat is not None and seen.heat is not None
    assert seen.heat.shape == (2, 4, *view.tokens.shape[1:])
    for layer, row, column in np.ndindex(view.tokens.shape):
        token = heat[view.tokens[layer, row, column]].numpy()
        np.testing.assert_allclose(seen.heat[:, layer, row, column], token, atol=1e-6)


@torch.no_grad()
def test_an_embedding_is_the_mean_over_the_regions_tokens(module: RegionModule) -> None:
    seen = look(module, CLIP, REGIONS)
    question = Turn("<region0> <region1>")
    batch = make_batch(module, RegionSample("asked", Pixels(CLIP), REGIONS, (question,)))
    backbone = module.backbone
    with backbone.telling(batch, batch.places):
        hidden = backbone.model(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            **backbone.inputs(batch, batch.input_ids),
            output_hidden_states=True,
        ).hidden_states[-1][0]
    visual = hidden[backbone.base.is_visual(batch.input_ids)[0]]
    for region in range(2):
        shares = batch.mark_weights[:, region].tolist()
        mean = sum(share * token for share, token in zip(shares, visual, strict=True)) / sum(shares)
        torch.testing.assert_close(torch.from_numpy(seen.embeddings[region]), mean, atol=1e-5, rtol=1e-5)


def test_what_cannot_be_looked_at(module: RegionModule, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no region to look at"):
        look(module, CLIP, [])
    plain = tiny_module(tmp_path, region_encoder=NoRegionEncoder(scale=1.0)).eval()
    seen = look(plain, CLIP[0], [Box((1, 2, 13, 9))])
    assert seen.heat is None and seen.embeddings.shape == (1, 32)
