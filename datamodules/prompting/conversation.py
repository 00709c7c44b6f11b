"""Turns -> token ids, loss mask and placeholders, in one pass.

The same renderer trains, generates and scores options: a prompt is by construction a prefix of what was trained on.
What stands between special tokens is encoded once, as the tokenizer sees it in the whole string. The words of a prompt
style are parsed for special tokens, what a user typed never is: text that looks like one stays text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from datamodules.batching.visual_processor import Run
from datamodules.errors import DataError
from datamodules.prompting.placeholders import PLACEHOLDER, mentions
from datamodules.prompting.prompt_styles import FixedStyle, Frame, PromptStyle
from datamodules.prompting.region_text import RegionText
from datamodules.prompting.text_encoding import Before, TextEncoder
from datamodules.types import RegionSample

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

REGION_TOKEN = "<region>"
INDEX = re.compile(r"\[(0|[1-9][0-9]{0,3})\]")  # how a region is said
_SPACED_INDEX = re.compile(r"\[\s*(0|[1-9](?:\s*[0-9]){0,3})\s*\]")  # the same by tokenizers that lose or add spaces


@dataclass(slots=True)
class Rendered:
    """Token ids of one conversation, and what each of them is.

    Attributes:
        ids: Length L; what stands for a visual token stands once for each.
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

    def picture(self, runs: Sequence[Run]) -> None:
        """What stands for a picture: its special tokens, and text such as the time of a frame."""
        for run in runs:
            if run.special:
                self.special([self._encoder.id_of(run.text)] * run.count, run.text)
            else:
                self.text(run.text * run.count)

    def show(self, shown: Rendered, read: str) -> None:
        """Puts something behind the last character, where a token has to end; the text is encoded without it."""
        self._read.append(read)
        self._shown.append((len(self._stretch), shown))

    def end_prompt(self, after_question: str) -> None:
        """What follows is an answer, which is learnt; no token reaches into it.

        Args:
            after_question: The style's text before answers. An answer continues it, whatever was asked.
        """
        self._end_stretch()
        self.rendered.prompt_length = len(self.rendered.ids)
        self.rendered.prompt = "".join(self._read)
        _, token = [("", None), *self._encoder.parsed(after_question)][-1]
        self._before = Before.TEXT if token is None else Before.SPECIAL
        self._swallows = token is not None and self._encoder.special_tokens[token].rstrip
        self._loss = True

    def end_answer(self, end: str) -> None:
        """The special token that ends an answer and is learnt with it; the next prompt follows."""
        self.special([self._encoder.id_of(end)], "\n")
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
        tokenizer: Has the special tokens of the base, and `<region>`.
        style: The words around picture, question and answer.
        max_length: Most tokens of a rendered conversation; a longer one is an error, never cut.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, style: PromptStyle, max_length: int | None = None) -> None:
        self.tokenizer = tokenizer
        self.style = style
        self.max_length = max_length
        self._encoder = TextEncoder(tokenizer)
        self.region_id = self._encoder.id_of(REGION_TOKEN)
        self._before_all = [] if style.writes_start else _put_before_strings(tokenizer)
        self._single = style.frame(1, picture=False)
        self._index = INDEX
        self._lead = self._read_before_answers()
        self._index = INDEX if self._keeps_spaces() else _SPACED_INDEX

    def render(
        self, sample: RegionSample, picture: Sequence[Run] = (), region_texts: Sequence[RegionText] | None = None
    ) -> Rendered:
        """The whole conversation: what training learns from; up to `prompt_length`, what generation continues.

        Args:
            sample: Turns and the number of regions.
            picture: What stands for the image or clip; it stands before the first question.
            region_texts: What the model reads for each region; a placeholder each if left out.

        Raises:
            DataError: A mention without its region, or more than `max_length` tokens.
        """
        known = placeholders(len(sample.regions)) if region_texts is None else region_texts
        writer = ConversationWriter(self._encoder)
        rendered = writer.rendered
        rendered.append(self._before_all)
        frame = self.style.frame(len(sample.conversation), bool(picture))
        try:
            for number, turn in enumerate(sample.conversation):
                if picture and not number:
                    writer.template(frame.before_picture)
                    writer.picture(picture)
                self._question(writer, frame, number, turn.question, known)
                writer.end_prompt(frame.after_question[number])
                self._answer(writer, turn.answer, known)
                if not turn.answer.strip():
                    rendered.mute(rendered.prompt_length)
        except DataError as error:
            raise sample.error(str(error)) from None
        if self.max_length is not None and len(rendered.ids) > self.max_length:
            raise sample.error(f"{len(rendered.ids)} tokens, but max_length is {self.max_length}")
        return rendered

    def answer(self, text: str, region_texts: Sequence[RegionText]) -> Rendered:
        """One answer or option and the end of sequence, as it follows a prompt.

        The end of sequence belongs to the answer: an option that begins another one is told from it by ending.
        """
        writer = ConversationWriter(self._encoder)
        writer.end_prompt(self._single.after_question[0])
        self._answer(writer, text, region_texts)
        return writer.rendered

    def shown(self, region_text: RegionText) -> Rendered:
        """What stands for a region behind its index; none of it is learnt."""
        rendered = Rendered()
        if region_text.text:
            rendered.append(*self._encoder.encode(f" {region_text.text}", Before.TEXT))
        for slot in region_text.slots:
            rendered.append([self.region_id], slot=slot)
        return rendered

    @cached_property
    def closing_ids(self) -> frozenset[int]:
        """The tokens an index such as `[12]` can end with: most tokens need no closer look."""
        return frozenset(token for text, token in self.tokenizer.get_vocab().items() if text.endswith("]"))

    @property
    def keeps_spaces(self) -> bool:
        """Whether text comes back from its tokens with the spaces that it had, so that one divides an index."""
        return self._index is INDEX

    def token_text(self, token: int) -> str:
        """What a token adds to the text that other tokens have before it."""
        before = self._encoder.encode("]", Before.NOTHING)[0]
        return self._special_free([*before, token]).removeprefix(self._special_free(before))

    def decode(self, ids: list[int]) -> str:
        """Generated tokens as the text of an answer, without special tokens; a mention reads `[0]`.

        It is the inverse of `answer`: what stands before every answer is gone, all other spaces are kept.
        """
        return self._index.sub(lambda said: f"[{_number(said)}]", self._decoded(ids))

    def as_mentions(self, answer: str, num_regions: int) -> str:
        """The inverse of how a mention is said: `[0]` becomes `<region0>` where there is such a region."""
        return self._index.sub(
            lambda said: f"<region{_number(said)}>" if _number(said) < num_regions else said[0], answer
        )

    def described(self) -> dict[str, Any]:
        """How conversations are written, as plain data, for a reader without this class.

        `style`: the words of a fixed style, None for the tokenizer's chat template. `begin`: ids before all. `index`:
        the pattern of how a region is said. `lead`: what is read before an answer that was not said.
        """
        style = asdict(self.style) if isinstance(self.style, FixedStyle) else None
        return {"style": style, "begin": self._before_all, "index": self._index.pattern, "lead": self._lead}

    @property
    def end_ids(self) -> list[int]:
        """The tokens that end an answer: the style's, and the tokenizer's end of sequence."""
        end = self._encoder.id_of(self._single.end)
        return sorted({end, self.tokenizer.eos_token_id} - {None})

    def _question(
        self, writer: ConversationWriter, frame: Frame, number: int, question: str, region_texts: Sequence[RegionText]
    ) -> None:
        writer.template(frame.before_question[number])
        for piece, region in _pieces(question, len(region_texts)):
            if region < 0:
                writer.text(piece)
            elif len(region_texts) > 1:
                self._indexed(writer, region, region_texts[region])
            else:
                writer.text(region_texts[region].text)
                for slot in region_texts[region].slots:
                    writer.special([self.region_id], REGION_TOKEN, slot=slot)
        writer.template(frame.after_question[number])

    def _answer(self, writer: ConversationWriter, answer: str, region_texts: Sequence[RegionText]) -> None:
        """What reads as an index is one: behind it generation shows the region, whoever wrote it."""
        said = self.as_mentions(f"{self._single.before_answer}{answer}", len(region_texts))
        for piece, region in _pieces(said, len(region_texts)):
            if region < 0:
                writer.text(piece)
            else:
                self._indexed(writer, region, region_texts[region])
        writer.end_answer(self._single.end)

    def _indexed(self, writer: ConversationWriter, region: int, region_text: RegionText) -> None:
        writer.text(f"[{region}]")
        writer.show(
            self.shown(region_text),
            f" {region_text.text}" if region_text.text else REGION_TOKEN * len(region_text.slots),
        )

    def _read_before_answers(self) -> str:
        """What is read before an answer that was not said: the style's space, or one that the tokenizer puts there."""
        self._lead = ""
        said = self._decoded(self.answer("[0]", ()).ids)
        return said[: said.find("[")] if "[" in said else self._single.before_answer

    def _keeps_spaces(self) -> bool:
        """Whether text comes back from its tokens with the spaces that it had; from tokens of words it does not."""
        return all(self._decoded(self.answer(text, ()).ids) == text for text in ("[10]", "[ 1 0 ]"))

    def _decoded(self, ids: list[int]) -> str:
        # a decoder may drop a first space: behind other text it does not
        before = self._encoder.encode("]", Before.NOTHING)[0]
        text = self._special_free(before + ids)
        return text.removeprefix(self._special_free(before)).removeprefix(self._lead)

    def _special_free(self, ids: list[int]) -> str:
        text: str = self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text


def placeholders(regions: int) -> tuple[RegionText, ...]:
    """One placeholder for each region, its slot the region's number."""
    return tuple(RegionText(slots=(number,)) for number in range(regions))


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
