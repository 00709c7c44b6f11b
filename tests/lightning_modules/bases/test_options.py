"""Options behind one shared prefix have the likelihood that they have in a whole row, on every base."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from families import TINY, Tiny, noise
from torch.nn.utils.rnn import pad_sequence

from datamodules.batching.batch import Places, RegionBatch
from datamodules.batching.visual_processor import VisualPrompt
from datamodules.prompting.conversation import Rendered
from datamodules.types import NoPicture, RegionSample, Turn
from lightning_modules.backbone import TokenMarkBackbone
from lightning_modules.bases.base import Base
from lightning_modules.generation.decoding import score_options
from lightning_modules.region_encoders.region_encoder import EncodedRegions, RegionEncoder, nothing_to_fill

EVERY_BASE = pytest.mark.parametrize("tiny", TINY.values(), ids=TINY)
OPTIONS = [("yes", "no, never"), ("maybe",), ("a", "b", "cd")]
NOTHING = VisualPrompt({}, (), (), 0)


class Silent(RegionEncoder):
    """Tells nothing."""

    def forward(self, batch: RegionBatch, visual: torch.Tensor) -> EncodedRegions:
        return nothing_to_fill(batch, visual)


class Letters:
    """A token a letter."""

    def answer(self, text: str, region_texts: Sequence[object]) -> Rendered:
        return Rendered([ord(letter) for letter in text], [True] * len(text), [-1] * len(text))


LETTERS: Any = Letters()
"""In a renderer's place, of which nothing but answers is asked."""


def batch_of(tiny: Tiny, base: Base, prompts: Sequence[VisualPrompt], after: Sequence[str]) -> RegionBatch:
    """Prompts alone, without a region."""
    rows = [tiny.ids(prompt, after=text)[0] for prompt, text in zip(prompts, after, strict=True)]
    ids = pad_sequence(rows, batch_first=True)
    lengths = tuple(map(len, rows))
    counts = tuple(prompt.tokens for prompt in prompts)
    visual, count, nothing = sum(counts), len(prompts), torch.zeros(0, dtype=torch.int64)
    return RegionBatch(
        input_ids=ids,
        attention_mask=(torch.arange(ids.shape[1]) < torch.tensor(lengths)[:, None]).long(),
        supervised=nothing,
        places=Places(base.is_visual(ids).flatten().nonzero()[:, 0], nothing, nothing, nothing),
        inputs=tiny.processor(base).collate([prompt for prompt in prompts if prompt.tokens]),
        lengths=lengths,
        prompt_lengths=lengths,
        placeholder_counts=((0, 0),) * count,
        token_counts=counts,
        token_owner=torch.arange(count).repeat_interleave(torch.tensor(counts)),
        shows=torch.ones(visual, 1, dtype=torch.bool),
        region_counts=torch.zeros(count, dtype=torch.int64),
        mark_weights=torch.zeros(visual, 0),
        prompted=torch.zeros(visual, dtype=torch.bool),
        guide_weights=torch.zeros(visual, 0),
        guide_known=torch.zeros(visual, dtype=torch.bool),
        marks=torch.zeros(count, 0, dtype=torch.int64),
        mark_seeds=torch.zeros(count, dtype=torch.int64),
        samples=tuple(
            RegionSample(str(place), NoPicture(), (), (Turn("?"),), options=OPTIONS[place]) for place in range(count)
        ),
        prompts=tuple(after),
        frames=((),) * count,
        views=tuple(prompt.views for prompt in prompts),
        region_texts=((),) * count,
    )


def whole_row(tiny: Tiny, base: Base, prompt: VisualPrompt, after: str, option: str) -> float:
    """The log-likelihood of an option by one pass over prompt and option."""
    base.forget()
    ids = tiny.ids(prompt, after=after + option)
    inputs: dict[str, Any] = {
        **tiny.processor(base).model_inputs(prompt.inputs),
        **base.token_inputs(ids),
    }
    with torch.no_grad():
        hidden = base.core(
            input_ids=ids, attention_mask=torch.ones_like(ids), **inputs, use_cache=False
        ).last_hidden_state
        chances = base.logits(hidden[:, :-1]).log_softmax(-1)
    places = slice(-len(option), None)
    return float(chances[0, places].gather(1, ids[0, places, None]).sum())


@EVERY_BASE
def test_options_on_a_shared_prefix_are_as_likely_as_in_a_whole_row(tiny: Tiny) -> None:
    base = tiny.base()
    process = tiny.processor(base)
    prompts = [process(noise(24, 56)), NOTHING, process(noise(45, 37, 3))]
    after = ["what?", "and what of this longer text?", "so"]
    backbone: Any = TokenMarkBackbone(base, tiny.processor(base), Silent(), guide=False)
    scores = score_options(backbone, LETTERS, batch_of(tiny, base, prompts, after))
    for number, score in enumerate(scores):
        expected = [whole_row(tiny, base, prompts[number], after[number], option) for option in OPTIONS[number]]
        assert score.log_likelihoods == pytest.approx(expected, abs=1e-4)


@EVERY_BASE
def test_a_batch_of_text_alone_does_not_know_the_pictures_before_it(tiny: Tiny) -> None:
    """Qwen-VL kept how far the pictures of the last batch had moved its text, and moved text alone by as much."""
    base = tiny.base()
    process = tiny.processor(base)
    backbone: Any = TokenMarkBackbone(base, tiny.processor(base), Silent(), guide=False)
    text = batch_of(tiny, base, [NOTHING, NOTHING], ["one", "and another"])
    before = score_options(backbone, LETTERS, text)
    score_options(backbone, LETTERS, batch_of(tiny, base, [process(noise(64, 20))], ["what?"]))
    assert score_options(backbone, LETTERS, text) == before
    for number, score in enumerate(before):
        expected = [whole_row(tiny, base, NOTHING, text.prompts[number], option) for option in OPTIONS[number]]
        assert score.log_likelihoods == pytest.approx(expected, abs=1e-4)
