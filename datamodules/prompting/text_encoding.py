"""Text between special tokens -> token ids, as the tokenizer gives them where the text stands.

A tokenizer splits a string at its special tokens and then treats each stretch by what stands before it: one of
sentencepiece puts a space before every stretch or before the first alone, one of bytes before every stretch or none.
Text on its own therefore has other tokens than the same text inside a conversation.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import TYPE_CHECKING

from datamodules.errors import DataError

if TYPE_CHECKING:
    from tokenizers import AddedToken, Tokenizer
    from transformers import PreTrainedTokenizerBase

_ANCHOR = "<region><region>"
"""Stands for any special token. No text contains it: `<region>` in a text is a mention and never gets here."""


class Before(Enum):
    """What stands before a stretch of text; the value: strings that can stand for it, the first that fits is taken."""

    NOTHING = ("",)
    SPECIAL = (_ANCHOR,)
    TEXT = (":", "\ue000", "\n")  # most tokenizers leave a colon alone, a few have tokens such as `:)`


class TextEncoder:
    """Encodes stretches of text for one tokenizer.

    It uses a twin of the tokenizer that knows `_ANCHOR` as a token, reads no other special token in a text, and tells
    which characters a token is of, white space included.

    Args:
        tokenizer: One of the library `tokenizers`, as all of transformers' that say where their tokens lie.

    Attributes:
        special_tokens: The tokenizer's, by id.

    Raises:
        DataError: Another tokenizer.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.name = tokenizer.name_or_path
        if not tokenizer.is_fast:
            raise DataError(f"the tokenizer of {self.name!r} does not tell where its tokens lie: a fast one is needed")
        self.special_tokens: dict[int, AddedToken] = {
            index: token for index, token in tokenizer.added_tokens_decoder.items() if token.special
        }
        self._never_in_text = self.special_tokens.keys() - {tokenizer.unk_token_id}
        self._ids = {token.content: index for index, token in self.special_tokens.items()}
        # the longest first, as tokenizers look for them
        self._special = re.compile(f"({'|'.join(map(re.escape, sorted(self._ids, key=len, reverse=True)))})")
        self._twin = _twin(tokenizer.backend_tokenizer)

    def id_of(self, token: str) -> int:
        """The id of a special token.

        Raises:
            DataError: There is no such token.
        """
        if token not in self._ids:
            raise DataError(f"the tokenizer of {self.name!r} has no special token {token}")
        return self._ids[token]

    def parsed(self, text: str) -> list[tuple[str, int | None]]:
        """Text and special tokens in order: (text, None) or (special token, its id)."""
        return [(piece, self._ids.get(piece)) for piece in self._special.split(text) if piece]

    def encode(self, text: str, before: Before, stops: Sequence[int] = ()) -> list[list[int]]:
        """Ids of the parts of a stretch that `stops` divide it into.

        The stretch is encoded as a whole. Only where one token would reach over a stop, what is behind the stop is
        encoded as a stretch of its own.

        Args:
            text: The stretch, without special tokens.
            before: What stands before it.
            stops: Ascending places in it, counted in characters, that no token may reach over.

        Raises:
            DataError: The tokenizer joins the text to whatever text stands before it, or has a special token among
                its words and finds it there.
        """
        self._twin.encode_special_tokens = True  # a pickled tokenizer forgets it
        for context in before.value:
            encoding = self._twin.encode(context + text, add_special_tokens=False)
            places = [(start - len(context), end - len(context)) for start, end in encoding.offsets]
            if not _reached_over(0, places):
                break
        else:
            raise DataError(f"the tokenizer of {self.name!r} joins {text!r} to whatever stands before it")
        if not self._never_in_text.isdisjoint(encoding.ids):
            raise DataError(f"the tokenizer of {self.name!r} finds a special token in {text!r}")
        for number, stop in enumerate(stops):
            if _reached_over(stop, places):
                later = [place - stop for place in stops[number + 1 :]]
                return [
                    *self.encode(text[:stop], before, stops[:number]),
                    *self.encode(text[stop:], Before.TEXT, later),
                ]
        borders = (0, *stops)
        parts: list[list[int]] = [[] for _ in borders]
        for token, (start, _) in zip(encoding.ids, places, strict=True):
            if start >= 0:
                parts[bisect_right(borders, start) - 1].append(token)
        return parts


def _reached_over(border: int, places: Iterable[tuple[int, int]]) -> bool:
    return any(start < border < end for start, end in places)


def _twin(tokenizer: Tokenizer) -> Tokenizer:
    from tokenizers import AddedToken, Tokenizer

    twin = Tokenizer.from_str(tokenizer.to_str())
    twin.no_truncation()
    twin.no_padding()
    twin.post_processor = None  # would take white space off the places of tokens
    twin.add_tokens([AddedToken(_ANCHOR, normalized=False, special=False)])
    return twin
