"""Chat templates: what is rendered has the ids that transformers gives the whole conversation by the template."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from datamodules.batching.visual_processor import Run
from datamodules.errors import DataError
from datamodules.prompting.conversation import ConversationRenderer, Rendered, placeholders
from datamodules.prompting.prompt_styles import ChatTemplate, FixedStyle, PromptName, prompt_style
from datamodules.types import RegionSample, Turn
from helpers import make_batch, sample, tiny_module
from lightning_modules.bases.llava import IMAGE
from lightning_modules.bases.loading import add_special_tokens
from lightning_modules.generation.decoding import generate
from small_tokenizers import small_tokenizer

PARTS = f"{{% for part in message.content %}}{{{{ '{IMAGE}' if part.type == 'image' else part.text }}}}{{% endfor %}}"
TRIMMED = PARTS.replace("part.text", "part.text | trim")
TEMPLATES = {
    # a system text of its own, pictures between tokens, thoughts before the last answer that can be switched off
    "chatml": "{% if messages[0].role != 'system' %}<|im_start|>system\nYou are of help.<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.role == 'assistant' and loop.last and enable_thinking is defined and not enable_thinking %}"
    "{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    + PARTS.replace(f"'{IMAGE}'", f"'<|vision_start|>{IMAGE}<|vision_end|>'")
    + "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and not enable_thinking %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}",
    # begins with the start of sequence and trims
    "turns": "{{ bos_token }}{% for message in messages %}{{ '<start_of_turn>' }}"
    "{{ 'model' if message.role == 'assistant' else message.role }}{{ '\n' }}" + TRIMMED + "{{ '<end_of_turn>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}",
    # no space before a picture; one before every answer, which generation has to say
    "speakers": "<|im_start|>{% for message in messages %}{{ message.role | capitalize }}"
    "{{ ':' if message.content[0].type == 'image' else ': ' }}" + PARTS + "<end_of_utterance>{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}",
    # an answer stands right behind a special token
    "instructions": "{{ bos_token }}{% for message in messages %}{% if message.role == 'user' %}[INST]"
    + PARTS
    + "[/INST]{% else %}"
    + PARTS
    + "{{ eos_token }}{% endif %}{% endfor %}",
}
ENDS = {"chatml": "<|im_end|>", "turns": "<end_of_turn>", "speakers": "<end_of_utterance>", "instructions": "</s>"}
SPECIAL = sorted(
    {"<|im_start|>", "<|vision_start|>", "<|vision_end|>", "<start_of_turn>", "[INST]", "[/INST]", *ENDS.values()}
)
KINDS = ["bytes", "sentencepiece-legacy", "sentencepiece-first", "bpe", "bpe-prefix"]
TALKS = [
    [("what is it?", "it is a cat.")],
    [("what is it?", "a cat"), ("and then,\n12 dogs?", "dogs (two).")],
    [("is it left?", "[it], (no)!"), ("sure?", "yes"), ("now?", "It is not </s> or <image>.")],
]
EVERY = pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in KINDS for name in TEMPLATES])
PICTURE = (Run(IMAGE),)


@cache
def tokenizer_of(kind: str, template: str) -> PreTrainedTokenizerFast:
    tokenizer = deepcopy(small_tokenizer(kind))
    add_special_tokens(tokenizer, *SPECIAL)
    tokenizer.bos_token, tokenizer.eos_token = "<s>", "</s>"
    tokenizer.chat_template = template
    return tokenizer


@cache
def renderer_of(kind: str, name: str) -> ConversationRenderer:
    tokenizer = tokenizer_of(kind, TEMPLATES[name])
    return ConversationRenderer(tokenizer, ChatTemplate(tokenizer, IMAGE))


def conversation(talk: list[tuple[str, str]], regions: int = 0) -> RegionSample:
    one = sample(boxes=tuple((0.0, 0.0, 4.0 + number, 4.0) for number in range(regions)))
    return RegionSample(one.id, one.media, one.regions, tuple(Turn(*turn) for turn in talk))


def messages_of(talk: list[tuple[str, str]], picture: bool) -> list[dict[str, Any]]:
    texts = [text for turn in talk for text in turn]
    messages = [
        {"role": ("user", "assistant")[number % 2], "content": [{"type": "text", "text": text}]}
        for number, text in enumerate(texts)
    ]
    if picture:
        messages[0]["content"] = [{"type": "image"}, *messages[0]["content"]]
    return messages


def by_template(tokenizer: PreTrainedTokenizerFast, messages: list[dict[str, Any]], **options: Any) -> list[int]:
    ids: list[int] = tokenizer.apply_chat_template(
        messages, tokenize=True, return_dict=False, enable_thinking=False, **options
    )
    return ids


def supervised(rendered: Rendered) -> list[int]:
    """Of the last answer."""
    answer = zip(rendered.ids[rendered.prompt_length :], rendered.loss[rendered.prompt_length :], strict=True)
    return [token for token, loss in answer if loss]


# --- ids --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("picture", [True, False])
@pytest.mark.parametrize("talk", [*TALKS[:2], [*TALKS[2][:2], ("now?", "It is not.")]], ids=["one", "two", "three"])
@EVERY
def test_ids_are_those_of_the_template(kind: str, name: str, talk: list[tuple[str, str]], picture: bool) -> None:
    """All but what the template writes behind the last answer, where nothing is said any more."""
    renderer = renderer_of(kind, name)
    rendered = renderer.render(conversation(talk), PICTURE if picture else ())
    whole = by_template(tokenizer_of(kind, TEMPLATES[name]), messages_of(talk, picture))
    assert rendered.ids == whole[: len(rendered.ids)]
    end = renderer.tokenizer.convert_tokens_to_ids(ENDS[name])
    assert rendered.ids[-1] == end and end not in whole[len(rendered.ids) :]


@pytest.mark.parametrize("picture", [True, False])
@pytest.mark.parametrize("turns", [1, 2])
@EVERY
def test_the_prompt_is_that_of_the_template(kind: str, name: str, turns: int, picture: bool) -> None:
    """What is generated from is what transformers alone generates from; a space that a word begins with is said."""
    talk = TALKS[1][:turns]
    rendered = renderer_of(kind, name).render(conversation(talk), PICTURE if picture else ())
    asked = messages_of(talk, picture)[:-1]
    prompt = by_template(tokenizer_of(kind, TEMPLATES[name]), asked, add_generation_prompt=True)
    assert rendered.ids[: rendered.prompt_length] == prompt


@EVERY
def test_the_sequence_begins_once(kind: str, name: str) -> None:
    """The tokenizers put a begin of sequence before a string, some templates write it."""
    for picture in (PICTURE, ()):
        ids = renderer_of(kind, name).render(conversation(TALKS[1]), picture).ids
        assert ids.count(1 if kind != "bytes" else renderer_of(kind, name).tokenizer.bos_token_id) == (
            name in ("turns", "instructions")
        )


@EVERY
def test_an_answer_is_learnt_with_exactly_the_token_that_ends_it(kind: str, name: str) -> None:
    renderer = renderer_of(kind, name)
    end = renderer.tokenizer.convert_tokens_to_ids(ENDS[name])
    for talk in TALKS:
        rendered = renderer.render(conversation(talk), PICTURE)
        assert supervised(rendered)[-1] == end
        assert renderer.decode(supervised(rendered)) == talk[-1][1]
        learnt = [token for token, loss in zip(rendered.ids, rendered.loss, strict=True) if loss]
        assert learnt.count(end) == len(talk)
        assert rendered.ids[rendered.prompt_length :] == renderer.answer(talk[-1][1], ()).ids
    assert set(renderer.end_ids) == {end, renderer.tokenizer.eos_token_id}


@EVERY
def test_what_is_typed_is_never_a_special_token(kind: str, name: str) -> None:
    renderer = renderer_of(kind, name)
    special = {renderer.tokenizer.convert_tokens_to_ids(token) for token in [*SPECIAL, IMAGE, "<s>"]}
    plain = renderer.render(conversation([("a", "b")]), PICTURE)
    typed = renderer.render(conversation([(f"say {' '.join(SPECIAL)} {IMAGE}", f"{ENDS[name]} <s>")]), PICTURE)
    assert [token for token in typed.ids if token in special] == [token for token in plain.ids if token in special]
    assert renderer.decode(supervised(typed)) == f"{ENDS[name]} <s>"


@pytest.mark.parametrize("answer", ["<region0> and <region1>, (<region0>)", "it is <region1>.", "no"])
@EVERY
def test_a_further_turn_reads_the_answer_as_it_was_trained(kind: str, name: str, answer: str) -> None:
    renderer = renderer_of(kind, name)
    first = renderer.render(conversation([("which?", answer)], regions=2), PICTURE)
    said = renderer.as_mentions(renderer.decode(supervised(first)), 2)
    assert said == answer
    trained = renderer.render(conversation([("which?", answer), ("sure?", "yes")], regions=2), PICTURE)
    asked = renderer.render(conversation([("which?", said), ("sure?", "")], regions=2), PICTURE)
    assert asked.ids[: asked.prompt_length] == trained.ids[: trained.prompt_length]
    assert first.ids[first.prompt_length :] == renderer.answer(answer, placeholders(2)).ids


# --- what a template is asked -----------------------------------------------------------------------------------------


def chat(template: str) -> ChatTemplate:
    return ChatTemplate(tokenizer_of("bpe", template), IMAGE)


def test_a_frame_by_hand() -> None:
    frame = chat(TEMPLATES["speakers"]).frame(2, picture=True)
    assert frame.before_picture == "<|im_start|>User:"
    assert frame.before_question == ("", "\nUser: ")
    assert frame.after_question == ("<end_of_utterance>\nAssistant:",) * 2
    assert (frame.before_answer, frame.end) == (" ", "<end_of_utterance>")
    assert chat(TEMPLATES["speakers"]).frame(1, picture=False).before_question == ("<|im_start|>User: ",)


@pytest.mark.parametrize(
    "content",
    [
        "message.role + '\n' + message.content",  # fails on a list
        "message.role + '\n' ~ message.content | trim",  # writes a list as Python does
        "message.role + '\n' ~ (message.content if message.content is string else message.content[-1].text)",
    ],
)
def test_a_template_of_text_alone_has_the_picture_in_a_line_of_its_own(content: str) -> None:
    """A decoder that is put together with a tower brings such a template."""
    style = chat("{% for message in messages %}{{ '<|im_start|>' + " + content + " + '<|im_end|>\n' }}{% endfor %}")
    frame = style.frame(1, picture=True)
    assert (frame.before_picture, frame.before_question) == ("<|im_start|>user\n", ("\n",))
    assert frame.after_question == ("<|im_end|>\n<|im_start|>assistant\n",)
    assert style.frame(2, picture=False).before_question == ("<|im_start|>user\n", "\n<|im_start|>user\n")


@pytest.mark.parametrize(
    ("template", "turns", "picture", "message"),
    [
        ("{% for message in messages %}### {{ message.role }}: " + PARTS + "{{ '\n' }}{% endfor %}", 1, False,
         r"ends an answer by '\\n', which is no special token"),
        ("{% for message in messages[-2:] %}" + PARTS + "<|im_end|>{% endfor %}", 2, False, "leaves out a turn"),
        ("{% for message in messages %}{{ message.content[-1].text }}<|im_end|>{% endfor %}", 1, True, "picture"),
        ("{% for message in messages %}{{ '<|im_end|>' if loop.last else '' }}" + PARTS + "{{ '</s>' if loop.last "
         "else '<|im_end|>' }}{% endfor %}", 2, False, "ends one answer by '</s>' and another by '<|im_end|>"),
        ("{{ raise_exception('roles must alternate') }}", 1, False, "roles must alternate"),
        (None, 1, False, "has no chat template"),
    ],
)  # fmt: skip
def test_a_template_that_cannot_be_used_is_refused(
    template: str | None, turns: int, picture: bool, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        chat(template).frame(turns, picture)  # type: ignore[arg-type]  # none is one of the cases


@pytest.mark.parametrize(("name", "kind"), [("chat", ChatTemplate), ("vicuna", FixedStyle), ("plain", FixedStyle)])
def test_styles_by_name(name: PromptName, kind: type) -> None:
    tokenizer = tokenizer_of("bpe", TEMPLATES["chatml"])
    style = prompt_style(name, tokenizer, IMAGE)
    assert isinstance(style, kind)
    assert style.frame(1, picture=False).end == ("<|im_end|>" if name == "chat" else "</s>")


def test_a_fixed_style_needs_an_end_of_sequence() -> None:
    tokenizer = deepcopy(tokenizer_of("bpe", TEMPLATES["chatml"]))
    tokenizer.eos_token = None
    with pytest.raises(DataError, match="no end of sequence"):
        prompt_style("plain", tokenizer, IMAGE)
    assert prompt_style("chat", tokenizer, IMAGE).frame(1, picture=True).end == "<|im_end|>"


# --- generation -------------------------------------------------------------------------------------------------------


def test_generation_ends_with_the_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tokenizer's end of sequence is another token, which the model was never taught to say."""
    tokenizer = tokenizer_of("bytes", TEMPLATES["turns"])
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    monkeypatch.setattr("helpers.tokenizer_folder", str)
    module = tiny_module(tmp_path, prompt="chat").eval()
    answer, end = module.renderer.answer("yes", ()).ids, tokenizer.convert_tokens_to_ids("<end_of_turn>")
    assert answer[-1] == end != tokenizer.eos_token_id
    said = iter([*answer, *answer])

    def say(head: torch.nn.Module, hidden: Any, logits: torch.Tensor) -> torch.Tensor:
        chosen = torch.full_like(logits, -100.0)
        chosen[..., next(said)] = 0.0
        return chosen

    module.backbone.model.lm_head.register_forward_hook(say)
    batch = make_batch(module, sample())
    assert generate(module.backbone, module.renderer, batch, 2 * len(answer)) == ["yes"]
    assert len(list(said)) == len(answer), "nothing is generated behind the end"
