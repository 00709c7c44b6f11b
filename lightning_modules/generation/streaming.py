"""Answers while they are generated: what of each text is certain, where it ends, and who no longer wants it."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Literal, TypeAlias, TypeVar

import torch
from transformers import StoppingCriteria

from datamodules.prompting.conversation import ConversationRenderer
from lightning_modules.generation.mentions import GeneratedMentions

Hear: TypeAlias = Callable[[str], object]
"""Told the pieces of an answer, one after the other; together they are the answer."""

Finish: TypeAlias = Literal["stop", "length", "unwanted"]
"""Why an answer ends: the model has ended it, it has the most tokens that it may have, or nobody wants it."""

# blanks, which the end of an answer loses; characters of which bytes are missing; what may become an index
_UNCERTAIN = re.compile(r"(?:\[[\s0-9\uFFFD]*|[\s\uFFFD]+)\Z")
_Value = TypeVar("_Value")
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


def unheard(_: str = "") -> None:
    """Nobody listens."""


class StreamedAnswer:
    """One answer while it is generated; regions in it are written `<region0>`, as in a conversation.

    Args:
        max_new_tokens: Most tokens of it, with what is shown behind an index.
        hear: Told each piece of its text as soon as no later token can change it, in the thread that generates.
        end: Called behind the last piece, while other answers of a batch may go on.

    Attributes:
        text: All that is certain; the whole answer once `finish` is set.
        ids: The tokens that the model has chosen, without the end.
        finish: Why it ended; None while it goes on.
        is_unwanted: Whether it is to end with the next token.
    """

    def __init__(self, max_new_tokens: int, hear: Hear = unheard, end: Callable[[], object] = unheard) -> None:
        self.max_new_tokens = max_new_tokens
        self.hear = hear
        self.end = end
        self.text = ""
        self.ids: list[int] = []
        self.finish: Finish | None = None
        self.is_unwanted = False

    def stop(self) -> None:
        """Ends it with the next token; any thread may call this."""
        self.is_unwanted = True

    def follow(self, generated: list[int], chosen: bool, renderer: ConversationRenderer, num_regions: int) -> None:
        """Takes the last generated token in; nothing happens behind the end.

        Args:
            generated: All tokens behind the prompt.
            chosen: Whether the model has chosen the last of them, and was not shown it.
            renderer: Decodes, and knows the tokens that end an answer.
            num_regions: Of the sample; a higher number in an answer is none.
        """
        if self.finish is not None:
            return
        last = generated[-1]
        if last in renderer.end_ids:
            self.finish = "stop"
        elif chosen:
            self.ids.append(last)
        if self.finish is None and (self.is_unwanted or len(generated) >= self.max_new_tokens):
            self.finish = "unwanted" if self.is_unwanted else "length"
        self._say(renderer, num_regions)
        if self.finish is not None:
            self.end()

    def _say(self, renderer: ConversationRenderer, num_regions: int) -> None:
        # a padded vocabulary has ids of no token
        last = renderer.tokenizer.convert_ids_to_tokens(self.ids[-1]) if self.ids else None
        if self.finish is None and _BYTE.fullmatch(last or ""):
            return  # one byte more may make other characters of all bytes before it
        text = renderer.decode(self.ids)
        certain = _UNCERTAIN.sub("", text).lstrip() if self.finish is None else text.strip()
        certain = renderer.as_mentions(certain, num_regions)
        piece = certain[len(self.text) :] if certain.startswith(self.text) else ""
        assert self.finish is None or self.text + piece == certain, f"{self.text!r} was said, it is {certain!r}"
        if piece:
            self.text = certain
            self.hear(piece)


class FollowAnswers(StoppingCriteria):
    """Hands every new token to its answer, and ends the rows whose answers have ended.

    Args:
        answers: One for each row.
        mentions: Tells what the model has chosen from what it was shown.
        prompt_length: Ids of a row that were not generated.
        num_regions: Of each row's sample.
    """

    def __init__(
        self,
        answers: Sequence[StreamedAnswer],
        mentions: GeneratedMentions,
        prompt_length: int,
        num_regions: Sequence[int],
    ) -> None:
        self.answers = answers
        self.mentions = mentions
        self.prompt_length = prompt_length
        self.num_regions = num_regions

    def __call__(self, input_ids: torch.Tensor, scores: object, **options: object) -> torch.Tensor:
        """Args: input_ids: (rows, prompt and generated tokens). Returns: (rows,) bool, the rows that have ended."""
        for row, (answer, ids) in enumerate(
            zip(self.answers, input_ids[:, self.prompt_length :].tolist(), strict=True)
        ):
            answer.follow(ids, self.mentions.chosen(row, ids), self.mentions.renderer, self.num_regions[row])
        return torch.tensor([answer.finish is not None for answer in self.answers], device=input_ids.device)


def streamed(call: Callable[[Hear], _Value]) -> Generator[str, None, _Value]:
    """Yields the pieces of text that `call` tells as they come, and returns its value.

    `call` runs in a thread of its own. Once the generator is closed, the next piece ends it.

    Args:
        call: Takes whom to tell: `lambda hear: ask(module, picture, regions, question, hear=hear)`.
    """
    pieces: SimpleQueue[str | None] = SimpleQueue()
    is_heard = True

    def hear(piece: str) -> None:
        if not is_heard:
            raise _NobodyListensError
        pieces.put(piece)

    with ThreadPoolExecutor(1, "streamed") as thread:
        value = thread.submit(call, hear)
        value.add_done_callback(lambda _: pieces.put(None))
        try:
            while (piece := pieces.get()) is not None:
                yield piece
        finally:
            is_heard = False
        return value.result()


class _NobodyListensError(Exception):
    """Leaves a generation of which nobody wants the rest."""
