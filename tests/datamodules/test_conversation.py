"""Ids and loss mask by hand, with a tokenizer of one id a character."""

from __future__ import annotations

import pytest

from datamodules.conversation import PROMPT_STYLES, ConversationRenderer, Rendered
from datamodules.types import DataError, RegionSample, Turn
from helpers import character_tokenizer, sample

TOKENIZER = character_tokenizer()
IMAGE, REGION = (TOKENIZER.convert_tokens_to_ids(token) for token in ("<image>", "<region>"))
SHOWN = {1: "^", 2: "$", IMAGE: "I", REGION: "R"}


def spell(ids: list[int]) -> str:
    """One character a token: ^ begins, $ ends the sequence, I is a visual token, R a placeholder."""
    return "".join(SHOWN.get(token) or TOKENIZER.convert_ids_to_tokens(token) for token in ids)


def render(*turns: Turn, regions: int = 1, style: str = "plain", visual: int = 2) -> Rendered:
    boxes = tuple((0.0, 0.0, 4.0 + number, 4.0) for number in range(regions))
    one = sample(boxes=boxes)
    conversation = RegionSample(one.id, one.media, one.regions, turns)
    return ConversationRenderer(TOKENIZER, style).render(conversation, visual)  # type: ignore[arg-type]  # a name


def supervised(rendered: Rendered) -> str:
    return "".join(spell([token]) if loss else "." for token, loss in zip(rendered.ids, rendered.loss, strict=True))


def test_one_region_is_its_placeholder_alone() -> None:
    rendered = render(Turn("is <region> ok", "yes"))
    assert spell(rendered.ids) == "^IIis R ok yes$"
    assert supervised(rendered) == ".......... yes$"
    assert rendered.placeholder == [-1] * 6 + [0] + [-1] * 8
    assert spell(rendered.ids[: rendered.prompt_length]) == "^IIis R ok"


def test_several_regions_show_index_and_placeholder_and_an_answer_says_the_index() -> None:
    """In the answer the index is supervised; the placeholder behind it is input alone."""
    rendered = render(Turn("<region0> or <region2>", "<region2>!"), regions=3)
    assert spell(rendered.ids) == "^II[0]R or [2]R [2]R!$"
    assert supervised(rendered) == "." * 15 + " [2].!$"
    assert [number for number in rendered.placeholder if number >= 0] == [0, 2, 2]


def test_every_answer_of_a_conversation_is_supervised_and_the_last_is_generated() -> None:
    rendered = render(Turn("a", "bc"), Turn("d", "e"))
    assert spell(rendered.ids) == "^IIa bc$d e$"
    assert supervised(rendered) == ".... bc$. e$"
    assert spell(rendered.ids[: rendered.prompt_length]) == "^IIa bc$d"


def test_vicuna_reads_as_llava_was_trained() -> None:
    rendered = render(Turn("hi <region>", "yo"), Turn("so", "no"), style="vicuna", visual=1)
    system = PROMPT_STYLES["vicuna"].system
    assert spell(rendered.ids) == f"^{system}USER: I\nhi R ASSISTANT: yo$USER: so ASSISTANT: no$"
    assert rendered.prompt.endswith("<image>\nhi <region> ASSISTANT: yo\nUSER: so ASSISTANT:")


def test_the_prompt_is_a_prefix_and_options_continue_it() -> None:
    renderer = ConversationRenderer(TOKENIZER)
    one = sample(question="is <region> ok", answer="yes")
    rendered = renderer.render(one, 2)
    assert rendered.ids[rendered.prompt_length :] == renderer.answer("yes", 1).ids
    assert rendered.loss[rendered.prompt_length :] == renderer.answer("yes", 1).loss


def test_text_that_looks_like_a_special_token_stays_text() -> None:
    rendered = render(Turn("say </s> or <image> or <s>", "</s>"), visual=1)
    assert spell(rendered.ids) == "^Isay </s> or <image> or <s> </s>$"
    assert rendered.ids.count(2) == 1 and rendered.ids.count(IMAGE) == 1


@pytest.mark.parametrize(
    ("turn", "regions", "message"),
    [
        (Turn("what is <region3>", "x"), 2, "3.*2"),
        (Turn("what", "<region>"), 2, "region"),
        (Turn("<region0>", "x"), 0, "0"),
    ],
)
def test_a_mention_without_its_region_is_an_error(turn: Turn, regions: int, message: str) -> None:
    with pytest.raises(DataError, match=f"sample 'a': .*{message}"):
        render(turn, regions=regions)


def test_too_long_is_an_error_with_both_numbers() -> None:
    with pytest.raises(DataError, match="15 tokens, but max_length is 14"):
        ConversationRenderer(TOKENIZER, max_length=14).render(sample(question="is <region> ok", answer="yes"), 2)
