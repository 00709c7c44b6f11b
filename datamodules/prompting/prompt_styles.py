"""The words around pictures, questions and answers: fixed styles, or the chat template of the base's tokenizer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from datamodules.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PromptName: TypeAlias = Literal["chat", "vicuna", "plain"]


@dataclass(frozen=True, slots=True)
class Frame:
    """The template's text around the turns of one conversation; its special tokens are parsed, a user's never are.

    Attributes:
        before_picture: Before what stands for the picture; empty without one.
        before_question: Before each question; of the first, what stands behind the picture.
        after_question: Between each question and its answer; no token reaches from there into the answer.
        before_answer: Before every answer, and learnt with it: a space, which tokenizers join to the word behind it.
        end: The special token that ends an answer, and is learnt with it.
    """

    before_picture: str
    before_question: tuple[str, ...]
    after_question: tuple[str, ...]
    before_answer: str
    end: str


class PromptStyle(ABC):
    """How a conversation is put into words for one kind of model.

    Attributes:
        writes_start: Whether the text of the style begins with the start of sequence, where there is one.
    """

    writes_start: ClassVar[bool] = False

    @abstractmethod
    def frame(self, turns: int, picture: bool) -> Frame:
        """The text around so many turns.

        Args:
            turns: At least one.
            picture: Whether an image or video stands before the first question.
        """


@dataclass(frozen=True, slots=True)
class FixedStyle(PromptStyle):
    """The same words around every turn: `before_question` question `after_question` answer, end of sequence.

    An answer stands behind a space.

    Attributes:
        system: Before the first turn.
        before_question: Before a question, and a picture before it.
        after_picture: Between a picture and its question.
        after_question: Between question and answer.
        end: The end of sequence.
    """

    system: str
    before_question: str
    after_picture: str
    after_question: str
    end: str

    def frame(self, turns: int, picture: bool) -> Frame:
        """Turn after turn."""
        first = self.system + self.before_question
        later = (self.before_question,) * (turns - 1)
        before = (self.after_picture if picture else first, *later)
        return Frame(first if picture else "", before, (self.after_question,) * turns, " ", self.end)


class ChatTemplate(PromptStyle):
    """What the tokenizer's chat template writes, thinking switched off where it has a switch.

    It is asked once for each number of turns, with marks in place of the texts: what stands between the marks is the
    template's.

    Args:
        tokenizer: Has a chat template.
        placeholder: What the template writes for a picture.

    Raises:
        DataError: There is no chat template.
    """

    writes_start: ClassVar[bool] = True

    def __init__(self, tokenizer: PreTrainedTokenizerBase, placeholder: str) -> None:
        if not tokenizer.chat_template:
            raise DataError(f"prompt: chat, but the tokenizer of {tokenizer.name_or_path!r} has no chat template")
        self.tokenizer = tokenizer
        self.placeholder = placeholder
        self._frames: dict[tuple[int, bool], Frame] = {}

    def frame(self, turns: int, picture: bool) -> Frame:
        """What the template writes around so many turns."""
        if (turns, picture) not in self._frames:
            self._frames[turns, picture] = self._frame(turns, picture)
        return self._frames[turns, picture]

    def _frame(self, turns: int, picture: bool) -> Frame:
        marks = [f"\ue000{number}\ue001" for number in range(2 * turns)]  # private characters: no text has them
        rest = self._written(marks, picture)
        pieces = []
        for mark in marks:
            piece, _, rest = rest.partition(mark)
            pieces.append(piece)
        endings = [*pieces[2::2], rest]
        end = self._end(endings[-1])
        if wrong := [ending for ending in endings if not ending.startswith(end)]:
            raise DataError(f"the chat template ends one answer by {end!r} and another by {wrong[0]!r}")
        before_picture, found, before_question = (
            pieces[0].partition(self.placeholder) if picture else ("", "", pieces[0])
        )
        assert found or not picture, "what was written shows the picture"
        later = (piece.removeprefix(end) for piece in pieces[2::2])
        after_question = [piece.rstrip(" ") for piece in pieces[1::2]]
        spaces = {piece.removeprefix(after) for piece, after in zip(pieces[1::2], after_question, strict=True)}
        if len(spaces) > 1:
            raise DataError(f"the chat template puts other spaces before one answer than before another: {spaces}")
        return Frame(before_picture, (before_question, *later), tuple(after_question), spaces.pop(), end)

    def _written(self, marks: list[str], picture: bool) -> str:
        """A conversation of marks, the first behind a picture if there is one.

        Templates of models that see take lists of parts. Others take strings, and on lists fail in any way, write them
        as Python does, or leave a picture out; in their strings the picture is a line of its own before the question.

        Raises:
            DataError: In neither way all of it is written, in order.
        """
        first = [{"type": "image"}] if picture else []
        parts = [[*(first if not number else []), {"type": "text", "text": mark}] for number, mark in enumerate(marks)]
        strings = [
            f"{self.placeholder}\n{mark}" if picture and not number else mark for number, mark in enumerate(marks)
        ]
        wanted = [self.placeholder] * picture + marks
        problems = []
        for contents in (parts, strings):
            try:
                text = self._apply(contents)
            except Exception as error:  # raised by the template, of any kind
                problems.append(str(error))
                continue
            places = [text.find(part) for part in wanted]
            if places == sorted(places) and places[0] >= 0:
                return text
            problems.append(f"of a conversation of {len(marks) // 2} it writes {text!r}")
        raise DataError(f"the chat template leaves out a turn or the picture {self.placeholder!r}: {problems[0]}")

    def _apply(self, contents: Sequence[Any]) -> str:
        messages = [
            {"role": ("user", "assistant")[number % 2], "content": content} for number, content in enumerate(contents)
        ]
        text: str = self.tokenizer.apply_chat_template(messages, tokenize=False, enable_thinking=False)
        return text

    def _end(self, ending: str) -> str:
        """The special token that stands right behind an answer.

        Raises:
            DataError: None does.
        """
        special: list[str] = [token.content for token in self.tokenizer.added_tokens_decoder.values() if token.special]
        found = [token for token in special if ending.startswith(token)]
        if not found:
            raise DataError(f"the chat template ends an answer by {ending[:40]!r}, which is no special token")
        return max(found, key=len)


def prompt_style(name: PromptName, tokenizer: PreTrainedTokenizerBase, placeholder: str) -> PromptStyle:
    """The style of a name.

    Args:
        name: `chat`, `vicuna` or `plain`.
        tokenizer: Whose end of sequence or chat template it is.
        placeholder: What a chat template writes for a picture.

    Raises:
        DataError: The tokenizer has no chat template, or no end of sequence.
    """
    if name == "chat":
        return ChatTemplate(tokenizer, placeholder)
    end = tokenizer.eos_token
    if end is None:
        raise DataError(f"the tokenizer of {tokenizer.name_or_path!r} has no end of sequence")
    if name == "vicuna":  # what LLaVA-1.5 was trained with
        return FixedStyle(
            system="A chat between a curious user and an artificial intelligence assistant. "
            "The assistant gives helpful, detailed, and polite answers to the user's questions. ",
            before_question="USER: ",
            after_picture="\n",
            after_question=" ASSISTANT:",
            end=end,
        )
    # nothing between question and answer: for small models trained from random weights
    return FixedStyle(system="", before_question="", after_picture="", after_question="", end=end)
