"""Ids and loss mask by hand, with a tokenizer of one id a character."""

from __future__ import annotations

import pytest
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from datamodules.batching.visual_processor import Run
from datamodules.errors import DataError
from datamodules.prompting.conversation import Rendered, placeholders
from datamodules.prompting.prompt_styles import FixedStyle, PromptName
from datamodules.prompting.region_text import RegionText
from datamodules.types import RegionSample, Turn
from helpers import character_tokenizer, renderer, sample
from lightning_modules.bases.llava import IMAGE
from lightning_modules.bases.loading import add_special_tokens

TOKENIZER = character_tokenizer()
IMAGE_ID, REGION_ID = (TOKENIZER.convert_tokens_to_ids(token) for token in (IMAGE, "<region>"))
SHOWN = {1: "^", 2: "$", IMAGE_ID: "I", REGION_ID: "R"}
ONE, TWO = (Run(IMAGE),), (Run(IMAGE, 2),)


def spell(ids: list[int]) -> str:
    """One character a token: ^ begins, $ ends the sequence, I is a visual token, R a placeholder."""
    return "".join(SHOWN.get(token) or TOKENIZER.convert_ids_to_tokens(token) for token in ids)


def render(*turns: Turn, regions: int = 1, style: PromptName = "plain", visual: int = 2) -> Rendered:
    boxes = tuple((0.0, 0.0, 4.0 + number, 4.0) for number in range(regions))
    one = sample(boxes=boxes)
    conversation = RegionSample(one.id, one.media, one.regions, turns)
    return renderer(TOKENIZER, style).render(conversation, (Run(IMAGE, visual),))


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
    style = renderer(TOKENIZER, "vicuna").style
    assert isinstance(style, FixedStyle)
    assert spell(rendered.ids) == f"^{style.system}USER: I\nhi R ASSISTANT: yo$USER: so ASSISTANT: no$"
    assert rendered.prompt.endswith("<image>\nhi <region> ASSISTANT: yo\nUSER: so ASSISTANT:")


def test_the_prompt_is_a_prefix_and_options_continue_it() -> None:
    renders = renderer(TOKENIZER)
    one = sample(question="is <region> ok", answer="yes")
    rendered = renders.render(one, TWO)
    assert rendered.ids[rendered.prompt_length :] == renders.answer("yes", placeholders(1)).ids
    assert rendered.loss[rendered.prompt_length :] == renders.answer("yes", placeholders(1)).loss


def test_words_stand_for_a_region_as_a_placeholder_does() -> None:
    """Behind the index where there are several regions, else alone; in an answer they are input alone."""
    renders = renderer(TOKENIZER)
    boxes = ((0.0, 0.0, 4.0, 4.0), (4.0, 4.0, 8.0, 8.0))
    two = sample(boxes=boxes, question="<region0> or <region1>", answer="<region1>!")
    rendered = renders.render(two, ONE, (RegionText("left"), RegionText("right")))
    assert spell(rendered.ids) == "^I[0] left or [1] right [1] right!$"
    assert supervised(rendered) == "." * 23 + " [1]......!$"
    assert set(rendered.placeholder) == {-1}
    assert rendered.prompt == "<image>[0] left or [1] right"
    one = renders.render(sample(question="is <region> ok", answer="<region>"), ONE, (RegionText("this"),))
    assert spell(one.ids) == "^Iis this ok [0] this$"


def test_several_placeholders_stand_for_a_region() -> None:
    rendered = renderer(TOKENIZER).render(sample(question="is <region> ok"), ONE, (RegionText(slots=(0, 2)),))
    assert spell(rendered.ids).startswith("^Iis RR ok")
    assert [slot for slot in rendered.placeholder if slot >= 0] == [0, 2]


def test_options_have_the_tokens_of_answers_where_every_text_gets_a_space() -> None:
    """Tokenizers of sentencepiece put a space before an answer; an option on its own must not get two."""
    inner = Tokenizer(models.WordLevel({"<unk>": 0, "</s>": 1, "\u2581": 2, "a": 3, "b": 4}, unk_token="<unk>"))
    inner.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    inner.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>", eos_token="</s>")
    add_special_tokens(tokenizer, IMAGE)
    renders = renderer(tokenizer)
    rendered = renders.render(sample(boxes=(), question="a", answer="b"), ONE)
    assert tokenizer.convert_ids_to_tokens(rendered.ids) == ["<image>", "\u2581", "a", "\u2581", "b", "</s>"]
    assert rendered.ids[rendered.prompt_length :] == renders.answer("b", ()).ids


def test_text_that_looks_like_a_special_token_stays_text() -> None:
    rendered = render(Turn("say </s> or <image> or <s>", "</s>"), visual=1)
    assert spell(rendered.ids) == "^Isay </s> or <image> or <s> </s>$"
    assert rendered.ids.count(2) == 1 and rendered.ids.count(IMAGE_ID) == 1


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
        renderer(TOKENIZER, max_length=14).render(sample(question="is <region> ok", answer="yes"), TWO)
