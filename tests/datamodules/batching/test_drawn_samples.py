"""Whatever the sample: weights, text and batch are those of a slow reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import slow_reference
from datamodules.batching.collate import Collate
from datamodules.batching.processor import RegionProcessor
from datamodules.errors import DataError
from datamodules.media.clips import most_frames
from datamodules.prompting.prompt_styles import PromptName
from datamodules.regions.placement import Fit
from datamodules.types import Pixels, RegionSample
from drawn import FEW, MOST_FRAMES, batches, samples
from helpers import GRID, PATCH, SIDE, character_tokenizer, loss_mask, placeholder, renderer
from lightning_modules.bases.llava import IMAGE, SquareVision

TOKENIZER = character_tokenizer()
MARKS = 4  # fewer than the most regions
STYLES: list[PromptName] = ["plain", "vicuna"]


def processor(fit: Fit = "squash", style: PromptName = "plain", max_length: int | None = None) -> RegionProcessor:
    ids = [TOKENIZER.convert_tokens_to_ids(IMAGE)]
    return RegionProcessor(
        renderer(TOKENIZER, style, max_length), SquareVision(SIDE, PATCH, fit=fit), ids, MOST_FRAMES, num_marks=MARKS
    )


def frame_size(sample: RegionSample) -> tuple[int, int]:
    return sample.media.array.shape[1:3] if isinstance(sample.media, Pixels) else (SIDE, SIDE)  # type: ignore[return-value]  # two


@FEW
@given(samples(), st.sampled_from(["squash", "pad"]))
def test_weights_are_those_of_pixels_counted_one_by_one(sample: RegionSample, fit: Fit) -> None:
    """A mark on the frames alone that its region is prompted on; guided once all were shown and where all are known."""
    processed = processor(fit)(sample)
    expected = slow_reference.weights(sample, processed.frames, frame_size(sample), SIDE, GRID, fit)
    np.testing.assert_allclose(processed.weights.mark.reshape(expected.mark.shape), expected.mark, atol=1e-5)
    np.testing.assert_allclose(processed.weights.guide.reshape(expected.guide.shape), expected.guide, atol=1e-5)
    assert processed.weights.known.tolist() == [known for known in expected.known for _ in range(GRID**2)]
    pointed = [any(region.prompted_on(frame) for region in sample.regions) for frame in processed.frames]
    assert processed.weights.prompted.tolist() == [shown for shown in pointed for _ in range(GRID**2)]
    assert processed.weights.mark.dtype == processed.weights.guide.dtype == np.float32
    prompted = {frame for region in sample.regions for frame in region.prompts}
    assert prompted <= set(processed.frames) and len(processed.frames) == most_frames(sample.media, MOST_FRAMES)


@FEW
@given(samples(), st.sampled_from(STYLES))
def test_conversations_read_letter_by_letter(sample: RegionSample, style: PromptName) -> None:
    """Ids, loss mask, placeholders, the prompt's length and text; and the length that is known beforehand."""
    process = processor(style=style)
    processed = process(sample)
    rendered, visual_tokens = processed.rendered, len(processed.frames) * GRID**2
    expected, start = slow_reference.letters(sample, visual_tokens, style)
    assert TOKENIZER.convert_ids_to_tokens(rendered.ids) == [letter.text for letter in expected]
    assert rendered.loss == [letter.loss for letter in expected]
    assert rendered.placeholder == [letter.slot for letter in expected]
    assert rendered.prompt_length == start
    # for people: one picture, a line an answer, and what is shown behind the index of an answer goes without saying
    shown = "".join(letter.text for letter in expected[1:start]).replace("<region>", "").replace("</s>", "\n")
    shown = shown.replace("<image>" * visual_tokens, "<image>", 1) if visual_tokens else shown
    assert rendered.prompt.replace("<region>", "") == shown
    assert process.most_tokens(sample) == len(expected)


@FEW
@given(samples())
def test_as_many_tokens_as_max_length_are_allowed_and_not_one_more(sample: RegionSample) -> None:
    length = len(processor()(sample).rendered.ids)
    assert len(processor(max_length=length)(sample).rendered.ids) == length
    with pytest.raises(DataError, match=f"{length} tokens, but max_length is {length - 1}"):
        processor(max_length=length - 1)(sample)


@FEW
@given(batches())
def test_a_batch_is_its_samples_one_by_one(drawn: list[RegionSample]) -> None:
    """Ragged in everything: text, frames and regions; what is padded is nobody's."""
    items = [processor()(sample) for sample in drawn]
    batch = Collate(processor().vision)(items)
    tokens = max(len(item.rendered.ids) for item in items)
    regions = max(len(item.sample.regions) for item in items)
    learnt, slots = loss_mask(batch), placeholder(batch)
    token = frame = 0
    for row, item in enumerate(items):
        length, own = len(item.rendered.ids), len(item.sample.regions)
        padding = tokens - length
        assert batch.input_ids[row].tolist() == item.rendered.ids + [0] * padding
        assert batch.attention_mask[row].tolist() == [1] * length + [0] * padding
        assert learnt[row].tolist() == [False, *item.rendered.loss[1:]] + [False] * padding
        assert slots[row].tolist() == item.rendered.placeholder + [-1] * padding
        if item.frames:
            end = frame + len(item.frames)
            assert torch.equal(batch.inputs["pixel_values"][frame:end], item.visual.inputs["pixel_values"])
            frame = end
        own_tokens = slice(token, token + item.visual.tokens)
        token = own_tokens.stop
        assert (batch.token_owner[own_tokens] == row).all()
        for padded, weights in ((batch.mark_weights, item.weights.mark), (batch.guide_weights, item.weights.guide)):
            np.testing.assert_array_equal(padded[own_tokens, :own], weights)
            assert padded.shape[1] == regions and not padded[own_tokens, own:].any()
        for flags, of_item in ((batch.guide_known, item.weights.known), (batch.prompted, item.weights.prompted)):
            np.testing.assert_array_equal(flags[own_tokens], of_item)
        shown = batch.shows[own_tokens]
        assert shown[:, : len(item.frames)].sum(1).tolist() == [1] * item.visual.tokens
        assert shown.sum() == item.visual.tokens
    assert frame == len(batch.inputs.get("pixel_values", ()))
    assert token == len(batch.mark_weights) == len(batch.guide_known) == sum(batch.token_counts)
    assert batch.token_counts == tuple(item.visual.tokens for item in items)
    assert batch.views == tuple(item.visual.views for item in items)
    assert batch.region_counts.tolist() == [len(item.sample.regions) for item in items]
    assert batch.prompt_lengths == tuple(item.rendered.prompt_length for item in items)
    assert batch.mark_seeds.tolist() == [item.mark_seed for item in items]
    drawn_marks = [[mark for mark in of_sample if mark >= 0] for of_sample in batch.marks.tolist()]
    assert drawn_marks == [list(item.marks) for item in items] and batch.marks.shape == (len(items), regions)
    assert all(len(item.marks) in (len(item.sample.regions), 0) for item in items)
    assert batch.samples == tuple(drawn)
    assert batch.prompts == tuple(item.rendered.prompt for item in items)
    assert {values.dtype for values in (batch.input_ids, batch.supervised, *batch.places, batch.marks)} == {torch.int64}
