"""Indices in generated tokens: of any number of digits, complete or not, and what has to follow each."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import pytest
import torch

from datamodules.prompting.conversation import placeholders
from datamodules.prompting.region_text import RegionText
from helpers import character_tokenizer, renderer
from lightning_modules.generation.decoding import MentionProcessor
from lightning_modules.generation.followed_mentions import FollowedMentions
from lightning_modules.generation.mentions import FREE, GeneratedMentions

RENDERER = renderer(character_tokenizer())
MANY = placeholders(120)


def ids_of(text: str) -> list[int]:
    """R is a placeholder."""
    ids = RENDERER.tokenizer.encode(text, add_special_tokens=False)
    return [RENDERER.region_id if letter == "R" else token for letter, token in zip(text, ids, strict=True)]


def due(text: str, region_texts: Sequence[RegionText] = MANY) -> tuple[int, int]:
    return GeneratedMentions(RENDERER, [region_texts]).due(0, ids_of(text))


@pytest.mark.parametrize("before", ["", "it is ", "[3]R and ", "a long story of "])
@pytest.mark.parametrize(("index", "number"), [("[0]", 0), ("[7]", 7), ("[12]", 12), ("[119]", 119)])
def test_a_placeholder_follows_an_index_of_any_number_of_digits(before: str, index: str, number: int) -> None:
    """Of `[12]` no less than of `[2]`: the slot is the region's."""
    assert due(f"{before}{index}") == (RENDERER.region_id, number)
    for end in range(len(index)):
        assert due(f"{before}{index[:end]}") == FREE
    assert due(f"{before}{index}R") == FREE


@pytest.mark.parametrize(
    "text", ["[120]", "[1200]", "12]", "[]", "[1 2]", "[ 12 ]", "[x]", "a]", "(1)", "[1].", "[-1]", "[12] "]
)
def test_nothing_follows_what_is_no_index_of_a_region(text: str) -> None:
    assert due(text) == FREE


@pytest.mark.parametrize("regions", [0, 1, 2, 10, 11])
def test_the_first_number_beyond_the_regions_is_no_index(regions: int) -> None:
    assert due(f"[{regions}]", placeholders(regions)) == FREE
    if regions:
        assert due(f"[{regions - 1}]", placeholders(regions)) == (RENDERER.region_id, regions - 1)


def test_words_follow_an_index_one_token_at_a_time() -> None:
    """` red` of region 10, then the model is free; of another region's words nothing is shown."""
    region_texts = [*(RegionText("blue") for _ in range(10)), RegionText("red")]
    text = "see [10]"
    for letter in " red":
        assert due(text, region_texts) == (ids_of(letter)[0], -1)
        text += letter
    assert due(text, region_texts) == FREE
    assert due("see [10] bl", region_texts) == FREE


def test_rows_are_read_on_their_own_and_beams_belong_to_their_sample() -> None:
    """Two samples of two rows each; the second has two regions alone."""
    followed = FollowedMentions(
        GeneratedMentions(RENDERER, [placeholders(12), placeholders(2)]), 4, torch.device("cpu")
    )
    for tokens in torch.tensor([ids_of(text) for text in ("so [11]", "so  [1]", "so [11]", "so  [1]")]).T:
        followed.follow(tokens)
    due = list(zip(*(values.tolist() for values in followed.due), strict=True))
    assert due == [(RENDERER.region_id, 11), (RENDERER.region_id, 1), FREE, (RENDERER.region_id, 1)]


def test_what_was_shown_is_not_said() -> None:
    region_texts = [*(RegionText("blue") for _ in range(10)), RegionText(slots=(20, 21))]
    said = GeneratedMentions(RENDERER, [(), region_texts]).said(1, ids_of("[10]RR by [0] blue, blue"))
    assert RENDERER.decode(said) == "[10] by [0], blue"


def test_the_next_token_is_forced_where_one_is_due_and_a_placeholder_never_free() -> None:
    told = SimpleNamespace(slots=None)
    process = MentionProcessor(GeneratedMentions(RENDERER, [MANY]), told, prompt_length=0)  # type: ignore[arg-type]  # all it needs
    scores = torch.randn(1, len(RENDERER.tokenizer))
    free = process(torch.tensor([ids_of("[12")]), scores)
    assert free[0, RENDERER.region_id] == -torch.inf
    assert free[0].isfinite().sum() == len(RENDERER.tokenizer) - 1
    assert told.slots.tolist() == [[-1]]
    forced = process(torch.tensor([ids_of("[12]")]), scores)
    assert forced[0].isfinite().nonzero().flatten().tolist() == [RENDERER.region_id]
    assert forced[0, RENDERER.region_id] == scores[0, RENDERER.region_id]
    assert told.slots.tolist() == [[12]]  # which of the placeholders comes next
    # where another processor has ruled the token out, it is what comes all the same
    ruled_out = scores.clone()
    ruled_out[0, RENDERER.region_id] = -torch.inf
    assert process(torch.tensor([ids_of("[12]")]), ruled_out)[0, RENDERER.region_id] == 0


@pytest.mark.parametrize(
    ("answer", "regions", "mentions"),
    [
        ("[0] and [1]", 2, "<region0> and <region1>"),
        ("[0] and [2]", 2, "<region0> and [2]"),
        ("[0]", 1, "<region0>"),
        ("[0]", 0, "[0]"),
        ("[10] by [11], [3]", 11, "<region10> by [11], <region3>"),
    ],
)
def test_an_index_is_a_mention_where_there_is_such_a_region(answer: str, regions: int, mentions: str) -> None:
    """`[2]` of two regions stays text: as a mention it would have no region."""
    assert RENDERER.as_mentions(answer, regions) == mentions
