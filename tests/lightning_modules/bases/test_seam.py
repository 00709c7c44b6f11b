"""Every base: the hook before the language model is a seam, and what the interface says of positions and ids holds.

A picture's embeddings can be changed there and nothing else changes with them; batches, generation and continued caches
are the model's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import numpy as np
import pytest
import torch
from families import TINY, Tiny, noise
from torch import nn

from datamodules.batching.visual_processor import VisualPrompt
from datamodules.types import Clip
from lightning_modules.bases.base import Base

EVERY_BASE = pytest.mark.parametrize("name", TINY)
CLIPS = {"image": noise(24, 40), "video": noise(30, 20, 3), "short video": noise(20, 26, 2, seed=1)}
EVERY_CLIP = pytest.mark.parametrize("clip", [CLIPS["image"], CLIPS["video"]], ids=["image", "video"])

Edit = Callable[[torch.Tensor], torch.Tensor]


@cache
def base_of(name: str, dtype: torch.dtype = torch.float32) -> Base:
    base = TINY[name].base()
    base.model.to(dtype)
    return base


def prompt_of(base: Base, tiny: Tiny, clip: Clip) -> VisualPrompt:
    return tiny.processor(base)(clip)


@contextmanager
def edited(base: Base, edit: Edit) -> Iterator[None]:
    """Within it, the language model reads embeddings that were edited."""
    hook = base.language_model.register_forward_pre_hook(
        lambda module, args, kwargs: (args, {**kwargs, "inputs_embeds": edit(kwargs["inputs_embeds"])}),
        with_kwargs=True,
    )
    try:
        yield
    finally:
        hook.remove()


def inputs_of(base: Base, tiny: Tiny, ids: torch.Tensor, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """All of the model's inputs, pixels in its own type."""
    dtype, taken = base.model.dtype, tiny.processor(base).model_inputs(inputs)
    cast = {name: value.to(dtype) if value.is_floating_point() else value for name, value in taken.items()}
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), **cast, **base.token_inputs(ids)}


def hidden_states(base: Base, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    hidden: torch.Tensor = base.core(**inputs, use_cache=False).last_hidden_state
    return hidden


def of_earlier_frames(prompt: VisualPrompt, token: int) -> np.ndarray:
    """(V,) bool: the visual tokens that show frames before all those of one."""
    first, last = np.full(prompt.tokens, 99), np.full(prompt.tokens, 99)
    for view in prompt.views:
        for layer, times in zip(view.tokens, view.times, strict=True):
            first[layer], last[layer] = min(times), max(times)
    return last < first[token]


def left_padded(base: Base, tiny: Tiny, prompts: Sequence[VisualPrompt]) -> dict[str, torch.Tensor]:
    """The inputs of a batch; padding has the id 0."""
    rows = [tiny.ids(prompt, after="what is it?"[: 4 + 3 * row])[0] for row, prompt in enumerate(prompts)]
    ids = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_side="left")
    lengths = torch.tensor([[len(row)] for row in rows])
    attention = (torch.arange(ids.shape[1]) >= ids.shape[1] - lengths).long()
    collated = tiny.processor(base).collate(prompts)
    return {**inputs_of(base, tiny, ids, collated), "attention_mask": attention}


def mixed(base: Base, tiny: Tiny) -> list[VisualPrompt]:
    """An image, text alone, videos of unequal length, and another image of another aspect."""
    none = Clip(noise(8, 8).pixels[:0], ())
    return [prompt_of(base, tiny, clip) for clip in (CLIPS["image"], none, *list(CLIPS.values())[1:], noise(40, 18))]


@EVERY_BASE
@EVERY_CLIP
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@torch.no_grad()
def test_a_hook_that_changes_nothing_leaves_the_model_bit_identical(name: str, clip: Clip, dtype: torch.dtype) -> None:
    base, tiny = base_of(name, dtype), TINY[name]
    prompt = prompt_of(base, tiny, clip)
    inputs = inputs_of(base, tiny, tiny.ids(prompt), prompt.inputs)
    plain = base.model(**inputs).logits
    with edited(base, lambda embeddings: embeddings.clone()):
        assert torch.equal(base.model(**inputs).logits, plain)
    assert torch.equal(base.logits(hidden_states(base, inputs)), plain)


@EVERY_BASE
@EVERY_CLIP
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@torch.no_grad()
def test_a_changed_visual_token_changes_its_own_frame_and_later_positions_alone(
    name: str, clip: Clip, dtype: torch.dtype
) -> None:
    base, tiny = base_of(name, dtype), TINY[name]
    prompt = prompt_of(base, tiny, clip)
    ids = tiny.ids(prompt)
    inputs = inputs_of(base, tiny, ids, prompt.inputs)
    places = base.is_visual(ids)[0].nonzero()[:, 0].tolist()
    assert len(places) == prompt.tokens
    place = places[len(places) // 2]

    def edit(embeddings: torch.Tensor) -> torch.Tensor:
        changed = embeddings.clone()
        changed[0, place] += 4 * embeddings.std()
        return changed

    before = hidden_states(base, inputs)
    with edited(base, edit):
        changed = (hidden_states(base, inputs) != before).any(-1)[0]
    assert changed[place:].all()
    start = places[0] if base.causal else len("look")  # what stands around a picture may see all of it
    assert not changed[:start].any(), "a word before the picture changed"
    earlier = torch.from_numpy(of_earlier_frames(prompt, len(places) // 2))
    if earlier.any():
        assert changed[places][earlier].any() == (not base.causal)


@EVERY_BASE
@EVERY_CLIP
def test_a_later_logit_reaches_what_was_added_to_a_visual_token(name: str, clip: Clip) -> None:
    base, tiny = base_of(name), TINY[name]
    prompt = prompt_of(base, tiny, clip)
    ids = tiny.ids(prompt)
    added = torch.zeros(prompt.tokens, base.width, requires_grad=True)
    with edited(base, lambda embeddings: embeddings.index_put(base.is_visual(ids).nonzero(as_tuple=True), added, True)):
        hidden = hidden_states(base, inputs_of(base, tiny, ids, prompt.inputs))
    base.logits(hidden[:, -1]).logsumexp(-1).sum().backward()
    assert added.grad is not None and (added.grad.abs().amax(1) > 0).all()


@EVERY_BASE
def test_a_blank_picture_runs_every_module_that_pictures_run(name: str) -> None:
    base = TINY[name].base()
    visual = base.blank()
    assert visual.dim() == 2 and visual.shape[1] == base.width and len(visual)
    visual.square().sum().backward()
    for part in base.projector:
        reached = [weight.grad is not None for weight in part.parameters()]
        assert reached and all(reached)


@EVERY_BASE
def test_unused_parameters_are_those_that_no_gradient_reaches(name: str) -> None:
    base, tiny = TINY[name].base(), TINY[name]
    for clip in CLIPS.values():
        prompt = prompt_of(base, tiny, clip)
        hidden = hidden_states(base, inputs_of(base, tiny, tiny.ids(prompt), prompt.inputs))
        base.logits(hidden[:, -1]).logsumexp(-1).sum().backward()
    unused = {id(weight) for weight in base.unused_parameters()}
    found = {part for part, weight in base.model.named_parameters() if weight.grad is None}
    assert found == {part for part, weight in base.model.named_parameters() if id(weight) in unused}


@EVERY_BASE
@torch.no_grad()
def test_a_left_padded_batch_of_everything_equals_the_samples_alone(name: str) -> None:
    base, tiny = base_of(name), TINY[name]
    prompts = mixed(base, tiny)
    batch = left_padded(base, tiny, prompts)
    together = hidden_states(base, batch)
    for row, prompt in enumerate(prompts):
        own = batch["attention_mask"][row].bool()
        ids = batch["input_ids"][row, own][None]
        alone = hidden_states(base, inputs_of(base, tiny, ids, prompt.inputs))
        torch.testing.assert_close(together[row, own], alone[0], atol=1e-4, rtol=1e-4)


@EVERY_BASE
@torch.no_grad()
def test_greedy_generation_equals_reading_everything_again_for_every_token(name: str) -> None:
    base, tiny = base_of(name), TINY[name]
    prompts = mixed(base, tiny)
    batch = left_padded(base, tiny, prompts)
    rows = base.model.generate(**batch, max_new_tokens=5, min_new_tokens=5, do_sample=False, pad_token_id=0)
    for row, prompt in enumerate(prompts):
        ids = batch["input_ids"][row, batch["attention_mask"][row].bool()][None]
        alone = base.model.generate(
            **inputs_of(base, tiny, ids, prompt.inputs),
            max_new_tokens=5,
            min_new_tokens=5,
            do_sample=False,
            pad_token_id=0,
        )
        said = ids
        for _ in range(5):
            hidden = hidden_states(base, inputs_of(base, tiny, said, prompt.inputs))
            said = torch.cat([said, base.logits(hidden[:, -1]).argmax(-1, keepdim=True)], 1)
        assert rows[row, -5:].tolist() == alone[0, -5:].tolist() == said[0, -5:].tolist()


@EVERY_BASE
@torch.no_grad()
def test_beams_over_a_mixed_batch_equal_those_of_the_samples_alone(name: str) -> None:
    """Beams repeat what the model saw: in the wrong order, a sample would go on with another one's picture."""
    base, tiny = base_of(name), TINY[name]
    prompts = mixed(base, tiny)
    batch = left_padded(base, tiny, prompts)
    options = {"num_beams": 2, "max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False, "pad_token_id": 0}
    rows = base.model.generate(**batch, **options)
    for row, prompt in enumerate(prompts):
        ids = batch["input_ids"][row, batch["attention_mask"][row].bool()][None]
        alone = base.model.generate(**inputs_of(base, tiny, ids, prompt.inputs), **options)
        assert rows[row, -4:].tolist() == alone[0, -4:].tolist()


@EVERY_BASE
@torch.no_grad()
def test_options_that_continue_a_cache_equal_reading_prompt_and_option_in_full(name: str) -> None:
    base, tiny = base_of(name), TINY[name]
    prompts = mixed(base, tiny)
    batch = left_padded(base, tiny, prompts)
    options = torch.tensor([[ord(letter) for letter in option] for option in ("yes.", "nope")])
    base.forget()
    prefix = base.core(**batch, position_ids=base.positions(batch["attention_mask"], pictures=True), use_cache=True)
    positions = base.next_positions(batch["attention_mask"], options.shape[1]).repeat_interleave(len(options), -2)
    prefix.past_key_values.reorder_cache(torch.arange(len(prompts)).repeat_interleave(len(options)))
    ids = options.repeat(len(prompts), 1)
    attention = torch.cat([batch["attention_mask"].repeat_interleave(len(options), 0), torch.ones_like(ids)], 1)
    continued = base.core(
        input_ids=ids,
        attention_mask=attention,
        position_ids=positions,
        past_key_values=prefix.past_key_values,
        use_cache=True,
    ).last_hidden_state.unflatten(0, (len(prompts), len(options)))
    for row, prompt in enumerate(prompts):
        own = batch["input_ids"][row, batch["attention_mask"][row].bool()][None]
        for option, answer in enumerate(options):
            whole = torch.cat([own, answer[None]], 1)
            in_full = hidden_states(base, inputs_of(base, tiny, whole, prompt.inputs))[0, -len(answer) :]
            chances = [base.logits(hidden).log_softmax(-1) for hidden in (continued[row, option], in_full)]
            torch.testing.assert_close(*chances, atol=1e-5, rtol=1e-5)
