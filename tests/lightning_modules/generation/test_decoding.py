"""Generation beside other ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import distributed

from helpers import make_batch, sample, tiny_module
from lightning_modules.generation import answering
from lightning_modules.generation.steps import GenerationOptions
from lightning_modules.region_module import RegionModule


class OtherRank:
    """Plays a second rank whose answer is `length` tokens long, in the sum over unfinished answers of a step."""

    def __init__(self, length: int) -> None:
        self.left = length

    def __call__(self, unfinished: torch.Tensor, *rest: object, **options: object) -> None:
        unfinished += float(self.left > 0)
        self.left -= 1


def steps_of(module: RegionModule, monkeypatch: pytest.MonkeyPatch, ranks: int) -> int:
    """Passes of the language model for an answer that ends at once, beside one of five tokens."""
    batch = make_batch(module, sample())
    output = module.backbone(batch)
    monkeypatch.setattr(answering, "world_size", lambda: ranks)
    monkeypatch.setattr(distributed, "is_available", lambda: True)
    monkeypatch.setattr(distributed, "all_reduce", OtherRank(5))
    passes: list[None] = []
    handle = module.backbone.model.model.language_model.register_forward_hook(lambda *_: passes.append(None))
    said = module._answer(batch, output).predictions[0].prediction
    handle.remove()
    assert said == ""
    return len(passes)


@pytest.mark.parametrize("cache", ["dynamic", "static"])
def test_a_rank_whose_answers_are_complete_goes_on_with_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Literal["dynamic", "static"]
) -> None:
    """With sharded weights a rank that stops leaves the others waiting for its shards, for ever."""
    module = tiny_module(tmp_path, max_new_tokens=20, generation=GenerationOptions(cache)).eval()

    def ends(layer: torch.nn.Module, inputs: object, logits: torch.Tensor) -> torch.Tensor:
        logits = logits.clone()
        logits[..., module.renderer.tokenizer.eos_token_id] = 1e4
        return logits

    module.backbone.model.lm_head.register_forward_hook(ends)
    assert steps_of(module, monkeypatch, ranks=1) == 1
    assert steps_of(module, monkeypatch, ranks=2) == 5
