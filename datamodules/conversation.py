"""Turns -> token ids, loss mask and placeholders, in one pass.

The same renderer trains, generates and scores options: a prompt is by construction a prefix of what was trained on.
Text is tokenised piece by piece, and a piece is never parsed for special tokens, so that text typed by a user which
looks like one stays text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeAlias

from datamodules.placeholders import PLACEHOLDER, mentions
from datamodules.types import DataError, RegionSample, StandIn, Turn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IMAGE_TOKEN = "<image>"
REGION_TOKEN = "<region>"
INDEX = re.compile(r"\[\s*(\d{1,4})\s*\]")  # how a region is said; tokenizers of words put spaces between

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


class ConversationRenderer:
    """Renders conversations for one tokenizer.

    With more than one region a mention in a question is the index and what stands for the region, as `[0]` and the
    placeholder of region 0; with one region the latter alone. In an answer or option a mention is the index text,
    which the model says, and then what stands for the region, which it is only shown.

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
        # sentencepiece models put a space before every piece of text by themselves
        self._adds_space = tokenizer.convert_ids_to_tokens(self._encode("a"))[0].startswith("\u2581")

    def render(self, sample: RegionSample, visual_tokens: int, stand_ins: Sequence[StandIn] | None = None) -> Rendered:
        """The whole conversation: what training learns from; up to `prompt_length`, what generation continues.

        Args:
            sample: Turns and the number of regions.
            visual_tokens: V, tokens of the image or clip; they stand before the first question.
            stand_ins: What the model reads for each region; a placeholder each if left out.

        Raises:
            DataError: A mention without its region, or more than `max_length` tokens.
        """
        rendered = Rendered()
        text: list[str] = []
        known = placeholders(len(sample.regions)) if stand_ins is None else stand_ins
        if self.tokenizer.bos_token_id is not None:
            rendered.append([self.tokenizer.bos_token_id])
        self._text(rendered, self.style.system, text)
        try:
            for number, turn in enumerate(sample.conversation):
                self._question(rendered, turn, visual_tokens if number == 0 else 0, known, text)
                rendered.prompt_length = len(rendered.ids)
                rendered.prompt = "".join(text)
                self._answer(rendered, turn.answer, known, text)
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
        rendered = Rendered()
        self._answer(rendered, text, stand_ins, [])
        return rendered

    def shown(self, stand_in: StandIn, indexed: bool = True) -> Rendered:
        """What stands for a region, behind its index or alone; none of it is learnt."""
        rendered = Rendered()
        self._text(rendered, _words(stand_in, indexed), [])
        for slot in stand_in.slots:
            rendered.append([self.region_id], slot=slot)
        return rendered

    @cached_property
    def closing_ids(self) -> frozenset[int]:
        """The tokens an index such as `[12]` can end with: most tokens need no closer look."""
        return frozenset(token for text, token in self.tokenizer.get_vocab().items() if text.endswith("]"))

    def decode(self, ids: list[int]) -> str:
        """Generated tokens as text, without special tokens; a mention reads `[0]`."""
        text: str = self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text.strip()

    def as_mentions(self, answer: str, num_regions: int) -> str:
        """The inverse of how a mention is said: `[0]` becomes `<region0>` where there is such a region."""
        return INDEX.sub(lambda said: f"<region{said[1]}>" if int(said[1]) < num_regions else said[0], answer)

    def _question(
        self, rendered: Rendered, turn: Turn, visual_tokens: int, stand_ins: Sequence[StandIn], text: list[str]
    ) -> None:
        self._text(rendered, self.style.before_question, text)
        if visual_tokens:
            rendered.append([self.image_id] * visual_tokens)
            text.append(IMAGE_TOKEN)
            self._text(rendered, self.style.after_image, text)
        indexed = len(stand_ins) > 1
        for piece, region in _pieces(turn.question, len(stand_ins)):
            self._text(rendered, f"[{region}]" if region >= 0 and indexed else piece, text)
            if region >= 0:
                rendered.extend(self.shown(stand_ins[region], indexed))
                text.append(_words(stand_ins[region], indexed) or REGION_TOKEN * len(stand_ins[region].slots))
        self._text(rendered, self.style.after_question, text)

    def _answer(self, rendered: Rendered, answer: str, stand_ins: Sequence[StandIn], text: list[str]) -> None:
        start = len(text)
        for piece, region in _pieces(f" {answer}", len(stand_ins)):
            self._text(rendered, piece if region < 0 else f"[{region}]", text, loss=True)
            if region >= 0:
                rendered.extend(self.shown(stand_ins[region]))
        assert self.tokenizer.eos_token_id is not None
        rendered.append([self.tokenizer.eos_token_id], loss=True)
        text[start:] = [*text[start:], "\n"]

    def _text(self, rendered: Rendered, piece: str, text: list[str], *, loss: bool = False) -> None:
        if piece:
            text.append(piece)
            rendered.append(self._encode(piece[1:] if self._adds_space and piece[0] == " " else piece), loss=loss)

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
        return ids

    def _special(self, token: str) -> int:
        index = self.tokenizer.convert_tokens_to_ids(token)
        if index is None or index == self.tokenizer.unk_token_id:
            raise DataError(f"the tokenizer of {self.tokenizer.name_or_path!r} has no special token {token}")
        return int(index)


def placeholders(regions: int) -> tuple[StandIn, ...]:
    """One placeholder for each region, its slot the region's number."""
    return tuple(StandIn(slots=(number,)) for number in range(regions))


def _words(stand_in: StandIn, indexed: bool) -> str:
    """The text of a stand-in, apart from the index before it."""
    return f" {stand_in.text}" if indexed and stand_in.text else stand_in.text


def _pieces(text: str, num_regions: int) -> list[tuple[str, int]]:
    """Text and mentions in order: (text, -1) or ("", region). Raises DataError for a mention without its region."""
    numbers = mentions(text, num_regions)
    plain = PLACEHOLDER.split(text)[::2]
    pieces: list[tuple[str, int]] = [(plain[0], -1)]
    for number, following in zip(numbers, plain[1:], strict=True):
        pieces += [("", number), (following, -1)]
    return [piece for piece in pieces if piece[0] or piece[1] >= 0]
