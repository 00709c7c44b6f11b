"""Conversations of every prompt style on a tokenizer of every kind: the ids that the base was trained with."""

from __future__ import annotations

import pickle
import re
from functools import cache
from typing import get_args

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from datamodules.batching.visual_processor import Run
from datamodules.errors import DataError
from datamodules.prompting.conversation import ConversationRenderer, Rendered, placeholders
from datamodules.prompting.prompt_styles import FixedStyle, PromptName
from datamodules.prompting.region_text import RegionText
from datamodules.prompting.text_encoding import Before, TextEncoder
from datamodules.types import RegionSample, Turn
from helpers import renderer, sample
from lightning_modules.bases.llava import IMAGE
from lightning_modules.bases.loading import add_special_tokens
from metrics.predictions import spell_regions
from small_tokenizers import EVERY_KIND, KINDS, LOSSLESS, byte_level, of_transformers, small_tokenizer

STYLES: tuple[PromptName, ...] = get_args(PromptName)
VISUAL = 3
PICTURE = (Run(IMAGE, VISUAL),)
OF_EVERY_KIND_AND_STYLE = pytest.mark.parametrize(
    ("kind", "style"), [(kind, style) for kind in KINDS for style in STYLES]
)
# words that the built-in data's tokenizer knows, so that texts come back from it too
TALKS = {
    "one turn": [("what is it?", "it is a cat.")],
    "three turns": [("what is it?", "a cat"), ("and then,\n12 dogs?", "dogs (two)."), ("is it left?", "it is [0].")],
    "brackets": [("is it [left]?", "[it], ([0]); [[12]]!")],
}
SAID = [
    "<region0> and <region1>, (<region0>)",
    "it is <region0>.",
    "[<region1>], <region0>",
    "<region12>; (<region20>)!",
]


@cache
def renderer_of(kind: str, style: PromptName = "plain") -> ConversationRenderer:
    return renderer(small_tokenizer(kind), style)


def conversation(talk: list[tuple[str, str]], regions: int = 0) -> RegionSample:
    one = sample(boxes=tuple((0.0, 0.0, 4.0 + number, 4.0) for number in range(regions)))
    return RegionSample(one.id, one.media, one.regions, tuple(Turn(*turn) for turn in talk))


def in_one_string(tokenizer: PreTrainedTokenizerBase, talk: list[tuple[str, str]], style: PromptName) -> list[int]:
    """Ids of the whole conversation as one string."""
    if style != "chat":
        ids: list[int] = tokenizer(written(talk, style)).input_ids
        return ids
    image, messages = [{"type": "image"}], []
    for question, answer in talk:
        messages.append({"role": "user", "content": [*image, {"type": "text", "text": question}]})
        messages.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
        image = []
    text: str = tokenizer.apply_chat_template(messages, tokenize=False)
    return list(tokenizer(text.replace(IMAGE, IMAGE * VISUAL, 1), add_special_tokens=False).input_ids)


def written(talk: list[tuple[str, str]], style: PromptName) -> str:
    """As LLaVA-1.5's own code and its processor in transformers put it."""
    picture = IMAGE * VISUAL
    if style == "plain":
        return picture + "".join(f"{question} {answer}</s>" for question, answer in talk)
    (question, answer), *further = talk
    return (
        "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
        f"detailed, and polite answers to the user's questions. USER: {picture}\n{question} ASSISTANT: {answer}</s>"
        + "".join(f"USER: {question} ASSISTANT: {answer}</s>" for question, answer in further)
    )


def supervised(rendered: Rendered) -> list[int]:
    """Of the last answer."""
    answer = zip(rendered.ids[rendered.prompt_length :], rendered.loss[rendered.prompt_length :], strict=True)
    return [token for token, loss in answer if loss]


@pytest.mark.parametrize("talk", TALKS.values(), ids=TALKS)
@OF_EVERY_KIND_AND_STYLE
def test_ids_are_those_of_the_whole_string(kind: str, style: PromptName, talk: list[tuple[str, str]]) -> None:
    """Text was encoded piece by piece, and every piece got a space before it."""
    tokenizer = small_tokenizer(kind)
    rendered = renderer_of(kind, style).render(conversation(talk), PICTURE)
    assert rendered.ids == in_one_string(tokenizer, talk, style)


@OF_EVERY_KIND_AND_STYLE
def test_a_region_without_index_is_read_as_transformers_alone_reads_it(kind: str, style: PromptName) -> None:
    talk = [("is <region>, left of <region>?", "it is.")]
    tokenizer = small_tokenizer(kind)
    rendered = renderer_of(kind, style).render(conversation(talk, regions=1), PICTURE)
    assert rendered.ids == in_one_string(tokenizer, talk, style)
    assert [slot for slot in rendered.placeholder if slot >= 0] == [0, 0]


@OF_EVERY_KIND_AND_STYLE
def test_an_index_is_read_as_if_nothing_were_shown_behind_it(kind: str, style: PromptName) -> None:
    """Without what is shown, the ids are those of the string; a token over the index's end is in two."""
    tokenizer = small_tokenizer(kind)
    rendered = renderer_of(kind, style).render(
        conversation([("is <region0> left of <region1> now?", "<region1> is.")], regions=2), PICTURE
    )
    read = [token for token, slot in zip(rendered.ids, rendered.placeholder, strict=True) if slot < 0]
    assert read == in_one_string(tokenizer, [("is [0] left of [1] now?", "[1] is.")], style)
    assert [slot for slot in rendered.placeholder if slot >= 0] == [0, 1, 1]
    for place, slot in enumerate(rendered.placeholder):
        if slot >= 0:
            assert tokenizer.convert_ids_to_tokens(rendered.ids[place - 1]).endswith("]")


@pytest.mark.parametrize("answer", SAID)
@OF_EVERY_KIND_AND_STYLE
def test_what_is_learnt_reads_as_the_answer(kind: str, style: PromptName, answer: str) -> None:
    """`[0] and [1], ([0])` came back as `[0] and  [1] , ( [0] )`, and a perfect answer was wrong."""
    renders = renderer_of(kind, style)
    rendered = renders.render(conversation([("which?", answer)], regions=21), PICTURE)
    learnt = renders.decode(supervised(rendered))
    if kind == "words":  # it puts a space around every sign, and its own data has them there
        assert learnt.replace(" ", "") == spell_regions(answer).replace(" ", "")
    else:
        assert learnt == spell_regions(answer)


@pytest.mark.parametrize("answer", SAID)
@OF_EVERY_KIND_AND_STYLE
def test_an_option_has_the_ids_of_the_answer_and_they_do_not_change_the_prompt(
    kind: str, style: PromptName, answer: str
) -> None:
    renders = renderer_of(kind, style)
    trained = renders.render(conversation([("which of <region3>?", answer)], regions=21), PICTURE)
    asked = renders.render(conversation([("which of <region3>?", "")], regions=21), PICTURE)
    option = renders.answer(answer, placeholders(21))
    prompt, rest = trained.ids[: trained.prompt_length], trained.ids[trained.prompt_length :]
    assert prompt == asked.ids[: asked.prompt_length]
    assert rest == option.ids
    assert trained.loss[trained.prompt_length :] == option.loss
    assert trained.placeholder[trained.prompt_length :] == option.placeholder


@pytest.mark.parametrize("answer", SAID)
@OF_EVERY_KIND_AND_STYLE
def test_an_answer_that_was_generated_is_read_again_as_it_was_trained(
    kind: str, style: PromptName, answer: str
) -> None:
    renders = renderer_of(kind, style)
    trained = renders.render(conversation([("which?", answer), ("sure?", "yes")], regions=21), PICTURE)
    first = renders.render(conversation([("which?", answer)], regions=21), PICTURE)
    generated = renders.as_mentions(renders.decode(supervised(first)), 21)
    again = renders.render(conversation([("which?", generated), ("sure?", "")], regions=21), PICTURE)
    assert again.ids[: again.prompt_length] == trained.ids[: trained.prompt_length]


# --- what users type -----------------------------------------------------------------------------------------------

LOOK_ALIKES = ["</s>", "<s>", "<unk>", "<image>", "<pad>", "<image", "<region", "region>", "<|im_end|>"]
BRACKETS = ["[0]", "[1]", "[2]", "[12]", "[ 1 ]", "[01]", "[", "]", "]]", "],", "])", "0]", "(", ")"]
MENTIONS = ["<region0>", "<region1>", "<region00>"]
typed = st.lists(
    st.one_of(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
        st.sampled_from(
            [*LOOK_ALIKES, *BRACKETS, " ", "  ", "\n", " \n", "\u00a0", "12", "a", "It is", "'s", "?", "\u0301"]
        ),
    ),
    max_size=8,
).map("".join)
told = st.lists(st.one_of(typed, st.sampled_from(MENTIONS)), max_size=5).map("".join)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("kind", EVERY_KIND)
@settings(max_examples=20, deadline=None)
@given(question=told, answer=told, further=told)
def test_whatever_is_typed(kind: str, style: PromptName, question: str, answer: str, further: str) -> None:
    """Two turns about two regions: special tokens are ours alone, and an answer does not depend on what was asked."""
    tokenizer = small_tokenizer(kind)
    renders = renderer_of(kind, style)
    assume(set(re.findall(r"<region\d*>", question + "\n" + answer + "\n" + further)) <= set(MENTIONS))
    talk = conversation([(question, answer), (further, answer)], regions=2)
    rendered = renders.render(talk, PICTURE)
    assert len(rendered.ids) == len(rendered.loss) == len(rendered.placeholder)
    # the special tokens, in order, are those of a conversation of nothing but mentions
    special = set(tokenizer.added_tokens_decoder) - {tokenizer.unk_token_id}
    bare_answer = "".join(re.findall(r"<region\d+>", renders.as_mentions(answer, 2)))
    if answer.strip() and not bare_answer:
        bare_answer = "."  # an answer of nothing would not be learnt
    bones = [
        ("".join(re.findall(r"<region\d+>", question)), bare_answer),
        ("".join(re.findall(r"<region\d+>", further)), bare_answer),
    ]
    expected = renders.render(conversation(bones, regions=2), PICTURE)
    assert _special(rendered, special) == _special(expected, special)
    # a placeholder is never learnt, and stands behind its index
    assert not any(loss for loss, slot in zip(rendered.loss, rendered.placeholder, strict=True) if slot >= 0)
    # the answer's tokens are those of the option, and the same in both turns
    option = renders.answer(answer, placeholders(2))
    assert rendered.ids[rendered.prompt_length :] == option.ids
    first = renders.render(conversation([(question, answer)], regions=2), PICTURE)
    assert rendered.ids[: len(first.ids)] == first.ids
    assert first.ids[first.prompt_length :] == option.ids
    # what was learnt comes back, and is read again with the same ids
    text = renders.decode(supervised(rendered))
    if not answer.strip():
        assert not text  # silence is not learnt
    elif kind in LOSSLESS:
        assert text == spell_regions(renders.as_mentions(answer, 2))
        assert renders.answer(renders.as_mentions(text, 2), placeholders(2)).ids == option.ids


def _special(rendered: Rendered, special: set[int]) -> list[tuple[int, bool, int]]:
    tokens = zip(rendered.ids, rendered.loss, rendered.placeholder, strict=True)
    return [token for token in tokens if token[0] in special]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("characters", "words")])
@settings(max_examples=15, deadline=None)
@given(question=typed, answer=st.text(st.characters(exclude_categories=["Cs", "Zs", "Cc", "Zl", "Zp"]), min_size=1))
def test_any_text_is_read_as_in_the_whole_string(kind: str, style: PromptName, question: str, answer: str) -> None:
    """Where nobody types what looks like a special token, which the string alone could not tell from one."""
    assume(
        not any(f"<{name}" in question + "\n" + answer for name in ("s>", "/s>", "unk>", "image>", "pad>", "region"))
    )
    tokenizer = small_tokenizer(kind)
    rendered = renderer_of(kind, style).render(conversation([(question, answer)]), PICTURE)
    whole = in_one_string(tokenizer, [(question, answer)], style)
    # a question of nothing leaves the answer behind the picture, whose tokens must not depend on that
    assert rendered.ids == whole or (style == "plain" and not question)


# --- how it is reached ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_parts_are_those_of_the_whole_or_end_where_they_must(kind: str) -> None:
    encoder = TextEncoder(small_tokenizer(kind))
    for text, stops in ((" [0], ([1])", [4, 10]), ("[0]", [3]), ("[[0]]", [4]), (" is it", [3]), ("", [])):
        for before in Before:
            parts = encoder.encode(text, before, stops)
            assert len(parts) == len(stops) + 1
            assert encoder.encode(text[: stops[0]] if stops else text, before)[0] == parts[0]


def test_a_token_over_the_end_of_an_index_is_in_two() -> None:
    """`],` is one token of this tokenizer; the model has to say `]` before it is shown the region."""
    tokenizer = small_tokenizer("bpe")
    assert "]," in tokenizer.get_vocab()
    rendered = renderer(tokenizer).answer("<region1>, <region0>", placeholders(2))
    tokens = tokenizer.convert_ids_to_tokens(rendered.ids)
    assert tokens == ["\u0120[", "1", "]", "<region>", ",", "\u0120[", "0", "]", "<region>", "</s>"]


def test_no_token_reaches_from_the_question_into_the_answer() -> None:
    """This tokenizer joins words: `is it` has a token over the space."""
    tokenizer = small_tokenizer("bpe-unbounded")
    assert len(tokenizer.tokenize("It is")) < len([*tokenizer.tokenize("It"), *tokenizer.tokenize(" is")])
    renders = renderer(tokenizer)
    rendered = renders.render(conversation([("It", "is")]), PICTURE)
    assert renders.decode(rendered.ids[rendered.prompt_length :]) == "is"
    assert renders.decode(rendered.ids[: rendered.prompt_length]) == "It"


def test_special_tokens_of_a_style_are_tokens_and_those_that_are_typed_are_text() -> None:
    """Also where a token takes the white space beside it."""
    style = FixedStyle("<|a|>sys\n<|b|>\n", "<|a|>user\n", "\n", "<|b|>  \n<|a|>assistant:", "</s>")
    for taking in ({}, {"rstrip": True}, {"lstrip": True}):
        tokenizer = of_transformers(byte_level())
        names = [AddedToken(name, normalized=False, **taking) for name in ("<|a|>", "<|b|>")]
        tokenizer.add_special_tokens({"additional_special_tokens": names})
        add_special_tokens(tokenizer, IMAGE)
        renders = ConversationRenderer(tokenizer, style)
        whole = (
            f"<|a|>sys\n<|b|>\n<|a|>user\n{'<image>' * VISUAL}\n What?<|b|>  \n<|a|>assistant: A cat.</s>"
            "<|a|>user\nSure? <|b|>  \n<|a|>assistant: Yes</s>"
        )
        rendered = renders.render(conversation([(" What?", "A cat."), ("Sure? ", "Yes")]), PICTURE)
        assert rendered.ids == tokenizer(whole).input_ids
        typed = renders.render(conversation([("say <|a|> and </s>", "<|b|>")]), PICTURE)
        assert [token for token in typed.ids if token in renders.tokenizer.added_tokens_decoder] == tokenizer(
            f"<|a|><|b|><|a|>{'<image>' * VISUAL}<|b|><|a|></s>"
        ).input_ids


def test_a_tokenizer_that_begins_with_nothing_is_left_so() -> None:
    """It has a begin of sequence, which it never puts before a string."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=byte_level(), bos_token="<s>", eos_token="</s>")
    add_special_tokens(tokenizer, IMAGE)
    rendered = renderer(tokenizer).render(conversation(TALKS["one turn"]), PICTURE)
    assert rendered.ids == tokenizer(written(TALKS["one turn"], "plain")).input_ids
    assert rendered.ids[0] == tokenizer.convert_tokens_to_ids("<image>")


@pytest.mark.parametrize("kind", ["sentencepiece-first", "bpe"])
def test_it_travels_to_the_workers(kind: str) -> None:
    """A tokenizer of the library forgets on the way that text is not to be parsed for special tokens."""
    renders = renderer_of(kind, "vicuna")
    talk = conversation([("say </s> of <region0>", "<image>")], regions=2)
    assert pickle.loads(pickle.dumps(renders)).render(talk, PICTURE) == renders.render(talk, PICTURE)


def test_words_that_stand_for_a_region_are_read_alike_wherever_it_is_mentioned() -> None:
    renders = renderer_of("sentencepiece-legacy")
    region_texts = (RegionText("left one"), RegionText("right one"))
    rendered = renders.render(
        conversation([("<region0>, or <region1>?", "<region1>.")], regions=2), PICTURE, region_texts
    )
    assert rendered.prompt == "<image>[0] left one, or [1] right one?"
    for region_text, times in zip(region_texts, (1, 2), strict=True):
        ids = renders.shown(region_text).ids
        starts = range(len(rendered.ids) - len(ids))
        assert sum(rendered.ids[start : start + len(ids)] == ids for start in starts) == times
    assert renders.decode(rendered.ids) == "[0] left one, or [1] right one? [1] right one."


def test_a_tokenizer_with_special_tokens_among_its_words_is_refused_where_somebody_types_them() -> None:
    words = Tokenizer(models.WordLevel({"<unk>": 0, "<s>": 1, "</s>": 2, "a": 3}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = of_transformers(words)
    add_special_tokens(tokenizer, IMAGE)
    renders = renderer(tokenizer)
    assert renders.render(conversation([("a", "a")]), (Run(IMAGE),)).ids == [
        1,
        tokenizer.convert_tokens_to_ids("<image>"),
        3,
        3,
        2,
    ]
    with pytest.raises(DataError, match=r"sample 'a': .*special token in 'say </s> a'"):
        renders.render(conversation([("say </s> a", "a")]), ())
