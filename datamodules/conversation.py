"""Turns -> token ids, loss mask and placeholders, in one pass.

The same renderer trains, generates and scores options: a prompt is by construction a prefix of what was trained on.
What stands between special tokens is encoded once, as the tokenizer sees it in the whole string. The words of a prompt
style are parsed for special tokens, what a user typed never is: text that looks like one stays text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeAlias

from datamodules.placeholders import PLACEHOLDER, mentions
from datamodules.text_encoding import Before, TextEncoder
from datamodules.types import DataError, RegionSample, StandIn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IMAGE_TOKEN = "<image>"
REGION_TOKEN = "<region>"
INDEX = re.compile(r"\[(0|[1-9][0-9]{0,3})\]")  # how a region is said
_SPACED_INDEX = re.compile(r"\[\s*(0|[1-9](?:\s*[0-9]){0,3})\s*\]")  # the same by tokenizers that lose or add spaces

PromptName: TypeAlias = Literal["vicuna", "plain"]


@dataclass(frozen=True, slots=True)
class PromptStyle:
    """The words around question and answer. A turn reads `before question` + `after answer` + end of sequence."""

    system: str
    before_question: str
    after_question: str
    after_image: str


PROMPT_STYLES: dict[PromptName, PromptStyle] = {
    # what LLaVA-1.5 was trained with
    "vicuna": PromptStyle(
        system="A chat between a curious user and an artificial intelligence assistant. "
        "The assistant gives helpful, detailed, and polite answers to the user's questions. ",
        before_question="USER: ",
        after_question=" ASSISTANT:",
        after_image="\n",
    ),
    # nothing between question and answer: for small models trained from random weights
    "plain": PromptStyle(system="", before_question="", after_question="", after_image=""),
}


@dataclass(slots=True)
class Rendered:
    """Token ids of one conversation, and what each of them is.

    Attributes:
        ids: Length L; `<image>` stands once per visual token.
        loss: Length L; True where the model learns to say the token.
        placeholder: Length L; the slot of the placeholder that stands here, else -1.
        prompt_length: Tokens before the last answer.
        prompt: The text before the last answer, for people.
    """

    ids: list[int] = field(default_factory=list)
    loss: list[bool] = field(default_factory=list)
    placeholder: list[int] = field(default_factory=list)
    prompt_length: int = 0
    prompt: str = ""

    def append(self, ids: list[int], *, loss: bool = False, slot: int = -1) -> None:
        """Tokens are added here and in `extend` alone: ids, mask and placeholders cannot drift apart."""
        self.ids += ids
        self.loss += [loss] * len(ids)
        self.placeholder += [slot] * len(ids)

    def mute(self, start: int) -> None:
        """From token `start` on nothing is learnt: an unknown answer must not teach to end at once."""
        self.loss[start:] = [False] * (len(self.loss) - start)

    def extend(self, other: Rendered) -> None:
        """Adds all of another one's tokens."""
        self.ids += other.ids
        self.loss += other.loss
        self.placeholder += other.placeholder


class ConversationWriter:
    """Puts text and special tokens down in order; a stretch of text is encoded when it has ended.

    Args:
        encoder: Encodes stretches, and knows the special tokens.
    """

    def __init__(self, encoder: TextEncoder) -> None:
        self.rendered = Rendered()
        self._encoder = encoder
        self._read: list[str] = []
        self._loss = False
        self._before = Before.NOTHING
        self._stretch = ""
        self._shown: list[tuple[int, Rendered]] = []  # behind which character of the stretch, and what
        self._swallows = False  # whether the special token before takes the white space behind it

    def text(self, text: str) -> None:
        """Text that somebody wrote, whatever it looks like."""
        self._read.append(text)
        self._stretch += text.lstrip() if self._swallows and not self._stretch else text

    def template(self, text: str) -> None:
        """Text of a prompt style: its special tokens are tokens."""
        for piece, token in self._encoder.parsed(text):
            if token is None:
                self.text(piece)
            else:
                self.special([token], piece)

    def special(self, ids: list[int], read: str, slot: int = -1) -> None:
        """One special token, repeated as often as `ids` has it; `read` is what people read for it."""
        token = self._encoder.special_tokens[ids[0]]
        if token.lstrip:
            self._stretch = self._stretch.rstrip()
        self._end_stretch()
        self._read.append(read)
        self.rendered.append(ids, loss=self._loss, slot=slot)
        self._before, self._swallows = Before.SPECIAL, token.rstrip

    def show(self, shown: Rendered, read: str) -> None:
        """Puts something behind the last character, where a token has to end; the text is encoded without it."""
        self._read.append(read)
        self._shown.append((len(self._stretch), shown))

    def end_prompt(self) -> None:
        """What follows is an answer, which is learnt; it continues text, and no token reaches into it."""
        self._end_stretch()
        self.rendered.prompt_length = len(self.rendered.ids)
        self.rendered.prompt = "".join(self._read)
        self._before, self._swallows, self._loss = Before.TEXT, False, True

    def end_answer(self, end_of_sequence: int) -> None:
        """The last token that is learnt; the next prompt follows."""
        self.special([end_of_sequence], "\n")
        self._loss = False

    def _end_stretch(self) -> None:
        parts = self._encoder.encode(self._stretch, self._before, [place for place, _ in self._shown])
        for ids, (_, shown) in zip(parts, [*self._shown, (0, Rendered())], strict=True):
            self.rendered.append(ids, loss=self._loss)
            self.rendered.extend(shown)
        self._stretch, self._shown = "", []


class ConversationRenderer:
    """Renders conversations for one tokenizer.

    With more than one region a mention in a question is the index and what stands for the region, as `[0]` and the
    placeholder of region 0; with one region the latter alone. In an answer or option a mention is the index text,
    which the model says, and then what stands for the region, which it is only shown.

    Text is encoded as if nothing were shown behind an index, but no token reaches over it: when the model generates,
    what is shown follows the index at once. Nor does a token reach from a prompt into its answer, whose tokens do not
    depend on the prompt. A placeholder without an index divides the text as any special token does, so that
    transformers alone reads the same text with the same ids.

    Args:
        tokenizer: Has the special tokens `<image>`, `<region>` and an end of sequence.
        style: The words around question and answer.
        max_length: Most tokens of a rendered conversation; a longer one is an error, never cut.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, style: PromptName = "plain", max_length: int | None = None
    ) -> None:
        self.tokenizer = tokenizer
        self.style = PROMPT_STYLES[style]
        self.max_length = max_length
        self.image_id = self._special(IMAGE_TOKEN)
        self.region_id = self._special(REGION_TOKEN)
        self._encoder = TextEncoder(tokenizer)
        self._before_all = _put_before_strings(tokenizer)
        self._index = INDEX if self._keeps_spaces() else _SPACED_INDEX

    def render(self, sample: RegionSample, visual_tokens: int, stand_ins: Sequence[StandIn] | None = None) -> Rendered:
        """The whole conversation: what training learns from; up to `prompt_length`, what generation continues.

        Args:
            sample: Turns and the number of regions.
            visual_tokens: V, tokens of the image or clip; they stand before the first question.
            stand_ins: What the model reads for each region; a placeholder each if left out.

        Raises:
            DataError: A mention without its region, or more than `max_length` tokens.
        """
        known = placeholders(len(sample.regions)) if stand_ins is None else stand_ins
        writer = ConversationWriter(self._encoder)
        rendered = writer.rendered
        rendered.append(self._before_all)
        writer.template(self.style.system)
        try:
            for number, turn in enumerate(sample.conversation):
                self._question(writer, turn.question, visual_tokens if number == 0 else 0, known)
                writer.end_prompt()
                self._answer(writer, turn.answer, known)
                if not turn.answer.strip():
                    rendered.mute(rendered.prompt_length)
        except DataError as error:
            raise sample.error(str(error)) from None
        if self.max_length is not None and len(rendered.ids) > self.max_length:
            raise sample.error(f"{len(rendered.ids)} tokens, but max_length is {self.max_length}")
        return rendered

    def answer(self, text: str, stand_ins: Sequence[StandIn]) -> Rendered:
        """One answer or option and the end of sequence, as it follows a prompt.

        The end of sequence belongs to the answer: an option that begins another one is told from it by ending.
        """
        writer = ConversationWriter(self._encoder)
        writer.end_prompt()
        self._answer(writer, text, stand_ins)
        return writer.rendered

    def shown(self, stand_in: StandIn) -> Rendered:
        """What stands for a region behind its index; none of it is learnt."""
        rendered = Rendered()
        if stand_in.text:
            rendered.append(*self._encoder.encode(f" {stand_in.text}", Before.TEXT))
        for slot in stand_in.slots:
            rendered.append([self.region_id], slot=slot)
        return rendered

    @cached_property
    def closing_ids(self) -> frozenset[int]:
        """The tokens an index such as `[12]` can end with: most tokens need no closer look."""
        return frozenset(token for text, token in self.tokenizer.get_vocab().items() if text.endswith("]"))

    def decode(self, ids: list[int]) -> str:
        """Generated tokens as the text of an answer, without special tokens; a mention reads `[0]`.

        It is the inverse of `answer`: the space that stands before every answer is gone, all others are kept.
        """
        return self._index.sub(lambda said: f"[{_number(said)}]", self._decoded(ids))

    def as_mentions(self, answer: str, num_regions: int) -> str:
        """The inverse of how a mention is said: `[0]` becomes `<region0>` where there is such a region."""
        return self._index.sub(
            lambda said: f"<region{_number(said)}>" if _number(said) < num_regions else said[0], answer
        )

    def _question(
        self, writer: ConversationWriter, question: str, visual_tokens: int, stand_ins: Sequence[StandIn]
    ) -> None:
        writer.template(self.style.before_question)
        if visual_tokens:
            writer.special([self.image_id] * visual_tokens, IMAGE_TOKEN)
            writer.template(self.style.after_image)
        for piece, region in _pieces(question, len(stand_ins)):
            if region < 0:
                writer.text(piece)
            elif len(stand_ins) > 1:
                self._indexed(writer, region, stand_ins[region])
            else:
                writer.text(stand_ins[region].text)
                for slot in stand_ins[region].slots:
                    writer.special([self.region_id], REGION_TOKEN, slot=slot)
        writer.template(self.style.after_question)

    def _answer(self, writer: ConversationWriter, answer: str, stand_ins: Sequence[StandIn]) -> None:
        """What reads as an index is one: behind it generation shows the region, whoever wrote it."""
        said = self.as_mentions(f" {answer}", len(stand_ins))
        for piece, region in _pieces(said, len(stand_ins)):
            if region < 0:
                writer.text(piece)
            else:
                self._indexed(writer, region, stand_ins[region])
        assert self.tokenizer.eos_token_id is not None
        writer.end_answer(self.tokenizer.eos_token_id)

    def _indexed(self, writer: ConversationWriter, region: int, stand_in: StandIn) -> None:
        writer.text(f"[{region}]")
        writer.show(self.shown(stand_in), f" {stand_in.text}" if stand_in.text else REGION_TOKEN * len(stand_in.slots))

    def _keeps_spaces(self) -> bool:
        """Whether text comes back from its tokens with the spaces that it had; from tokens of words it does not."""
        self._index = INDEX
        return all(self._decoded(self.answer(text, ()).ids) == text for text in ("[10]", "[ 1 0 ]"))

    def _decoded(self, ids: list[int]) -> str:
        # a decoder may drop a first space: behind other text it does not
        before = self._encoder.encode("]", Before.NOTHING)[0]
        text = self._special_free(before + ids)
        return text.removeprefix(self._special_free(before)).removeprefix(" ")

    def _special_free(self, ids: list[int]) -> str:
        text: str = self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def _special(self, token: str) -> int:
        index = self.tokenizer.convert_tokens_to_ids(token)
        if index is None or index == self.tokenizer.unk_token_id:
            raise DataError(f"the tokenizer of {self.tokenizer.name_or_path!r} has no special token {token}")
        return int(index)


def placeholders(regions: int) -> tuple[StandIn, ...]:
    """One placeholder for each region, its slot the region's number."""
    return tuple(StandIn(slots=(number,)) for number in range(regions))


def _number(index: re.Match[str]) -> int:
    return int("".join(index[1].split()))


def _put_before_strings(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The tokens with which the tokenizer begins a string by itself; some have a begin of sequence and put none."""
    whole, text = (tokenizer.encode("a", add_special_tokens=added) for added in (True, False))
    begin: list[int] = whole[: next(at for at in range(len(whole)) if whole[at : at + len(text)] == text)]
    return begin


def _pieces(text: str, num_regions: int) -> list[tuple[str, int]]:
    """Text and mentions in order: (text, -1) or ("", region). Raises DataError for a mention without its region."""
    numbers = mentions(text, num_regions)
    plain = PLACEHOLDER.split(text)[::2]
    pieces: list[tuple[str, int]] = [(plain[0], -1)]
    for number, following in zip(numbers, plain[1:], strict=True):
        pieces += [("", number), (following, -1)]
    return [piece for piece in pieces if piece[0] or piece[1] >= 0]
