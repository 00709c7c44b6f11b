"""Indices in generated tokens: generation shows behind an index what training showed there, and nothing elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.batching.batch import RegionBatch
from datamodules.prompting.conversation import Rendered, placeholders
from datamodules.prompting.region_text import RegionText
from datamodules.types import RegionSample, Turn
from helpers import renderer, sample, tiny_module
from lightning_modules import VideoRegionModule, ask
from lightning_modules.generation.followed_mentions import FollowedMentions
from lightning_modules.generation.mentions import FREE, GeneratedMentions
from lightning_modules.generation.streaming import FollowAnswers, StreamedAnswer
from metrics.predictions import spell_regions
from small_tokenizers import EVERY_KIND, KINDS, LOSSLESS, small_tokenizer

RENDERERS = {kind: renderer(small_tokenizer(kind)) for kind in EVERY_KIND}
ANSWERS = [
    "<region0> and <region1>, (<region0>)",
    "[<region9>] it is <region10>.",
    "<region99><region12>",
    "[5]",
    "it is",
]
STAND_INS = {
    "placeholder": placeholders(100),
    "placeholders": tuple(RegionText(slots=(2 * number, 2 * number + 1)) for number in range(100)),
    "words": tuple(RegionText(f"frame {number % 4}: [0, {number}]") for number in range(100)),
}


def follow(mentions: GeneratedMentions, rendered: Rendered) -> None:
    """Token by token: what is due is what stands there, where it is shown, and nothing where it is said.

    On the host, which reads all tokens again, and where the tokens are, which are read once.
    """
    followed = FollowedMentions(mentions, 1, torch.device("cpu"))
    for place, (token, loss, slot) in enumerate(zip(rendered.ids, rendered.loss, rendered.placeholder, strict=True)):
        due = mentions.due(0, rendered.ids[:place])
        assert due == (FREE if loss else (token, slot)), place
        assert tuple(map(int, followed.due)) == due, place
        followed.follow(torch.tensor([token]))


@pytest.mark.parametrize("region_texts", STAND_INS.values(), ids=STAND_INS)
@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("kind", EVERY_KIND)
def test_what_is_shown_in_training_is_due_in_generation(
    kind: str, answer: str, region_texts: tuple[RegionText, ...]
) -> None:
    """Indices of two digits among them, which a word tokenizer wrote `[1 2]` and nothing read."""
    renders = RENDERERS[kind]
    rendered = renders.answer(answer, region_texts)
    mentions = GeneratedMentions(renders, [region_texts])
    follow(mentions, rendered)
    chosen = [token for token, loss in zip(rendered.ids, rendered.loss, strict=True) if loss]
    assert mentions.said(0, rendered.ids) == chosen
    if kind in LOSSLESS:
        assert renders.decode(chosen) == spell_regions(answer)


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_indices_of_one_to_four_digits_are_read(kind: str) -> None:
    region_texts = placeholders(1200)
    mentions = GeneratedMentions(RENDERERS[kind], [region_texts])
    for number in (0, 9, 10, 99, 100, 999, 1000, 1199):
        rendered = RENDERERS[kind].answer(f"it is <region{number}>", region_texts)
        assert rendered.placeholder.count(number) == 1
        follow(mentions, rendered)


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_without_its_region_stays_text(kind: str) -> None:
    """`[2]` of two regions is shown nothing and is no mention of a third."""
    renders, region_texts = RENDERERS[kind], placeholders(2)
    rendered = renders.answer("[2], [02] or <region1>", region_texts)
    assert [slot for slot in rendered.placeholder if slot >= 0] == [1]
    follow(GeneratedMentions(renders, [region_texts]), rendered)
    said = renders.decode([token for token, loss in zip(rendered.ids, rendered.loss, strict=True) if loss])
    assert said.replace(" ,", ",") == "[2], [02] or [1]"  # of words every sign stands alone
    assert renders.as_mentions(said, 2) == said.replace("[1]", "<region1>")
    assert renders.as_mentions("[\u0661] [1]", 2) == "[\u0661] <region1>"  # an Arabic one


PIECES = [
    "<region0>",
    "<region1>",
    "<region11>",
    "[1]",
    "[12]",
    "[ 1 ]",
    "[01]",
    "[",
    "]",
    "]]",
    ",",
    " ",
    "1",
    "it is",
]


@pytest.mark.parametrize("kind", EVERY_KIND)
@settings(max_examples=15, deadline=None)
@given(answer=st.lists(st.sampled_from(PIECES), max_size=6).map("".join))
def test_brackets_of_any_kind(kind: str, answer: str) -> None:
    """Whatever looks like an index to generation is one in training too."""
    region_texts = placeholders(12)
    follow(GeneratedMentions(RENDERERS[kind], [region_texts]), RENDERERS[kind].answer(answer, region_texts))


@pytest.mark.parametrize("kind", EVERY_KIND)
@settings(max_examples=4, deadline=None)
@given(data=st.data())
def test_tokens_in_any_order_are_followed_as_they_are_read(kind: str, data: st.DataObject) -> None:
    """Two samples of two rows each, of which each goes its own way."""
    renders, rows = RENDERERS[kind], 4
    mentions = GeneratedMentions(renders, [STAND_INS["words"][:12], placeholders(2)])
    followed = FollowedMentions(mentions, rows, torch.device("cpu"))
    written = renders.tokenizer.get_vocab()
    parts = [token for text, token in written.items() if set(text) <= {*"[]0123456789 \u2581\u0120"}]
    likely = st.sampled_from(sorted(parts)) | st.sampled_from(sorted({*written.values()} - {renders.region_id}))
    ids: list[list[int]] = [[] for _ in range(rows)]
    for _ in range(9):
        due = [mentions.due(row * 2 // rows, said) for row, said in enumerate(ids)]
        assert list(zip(*(values.tolist() for values in followed.due), strict=True)) == due, ids
        for row, (token, _) in zip(ids, due, strict=True):
            row.append(data.draw(likely) if token < 0 else token)
        followed.follow(torch.tensor([row[-1] for row in ids]))


@pytest.mark.parametrize("answer", ["<region0> and <region1>, (<region0>)", "it is <region0>.", "it is a cat"])
@pytest.mark.parametrize("kind", KINDS)
def test_further_turns_have_the_ids_of_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, answer: str
) -> None:
    """`ask` wrote an earlier answer with other ids than it was learnt and generated with."""
    small_tokenizer(kind).save_pretrained(tmp_path / "kind")
    module = tiny_module(tmp_path, kind=VideoRegionModule, max_new_tokens=99)
    module.renderer = renders = renderer(small_tokenizer(kind), "vicuna")
    module.backbone.base.set_tokens(module.backbone.model.config, renders.tokenizer)
    learnt = sample(boxes=((0, 0, 8, 8), (8, 8, 16, 16)))
    turns = (Turn("which is left?", answer), Turn("is it?", "it is"))
    trained = module.processor(4)(RegionSample(learnt.id, learnt.media, learnt.regions, turns)).rendered
    asked: list[list[int]] = []

    def say(*given: object, streamed: Sequence[StreamedAnswer], **_: object) -> None:
        """The tokens that were learnt for this answer, as generation hands them out."""
        batch = next(one for one in given if isinstance(one, RegionBatch))
        asked.append(batch.input_ids[0, : batch.prompt_lengths[0]].tolist())
        ids = renders.answer(turns[len(asked) - 1].answer, batch.region_texts[0]).ids
        following = FollowAnswers(streamed, GeneratedMentions(renders, batch.region_texts), 0, [2])
        for end in range(1, len(ids) + 1):
            following(torch.tensor([ids[:end]]), None)

    monkeypatch.setattr("lightning_modules.asking.generate", say)
    conversation = ask(module, learnt.media, learnt.regions, [turn.question for turn in turns]).conversation
    if kind != "words":  # every sign stands alone
        assert [turn.answer for turn in conversation] == [turn.answer for turn in turns]
    assert asked[1] == trained.ids[: trained.prompt_length]
    assert asked[1][: len(asked[0])] == asked[0]
