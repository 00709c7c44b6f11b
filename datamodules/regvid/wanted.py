"""What a description has to be like to be one."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from datamodules.errors import DataError
from datamodules.regvid.parsing import UnreadableError

FOREIGN = 0.1
"""So large a share of the letters may be of another script: names, measures."""

TOKENS_A_WORD = 1.5
"""Of plain English, or a little more than that."""


@dataclass(frozen=True)
class Wanted:
    """The bounds of what models write. Between 60 and 90 words are asked for.

    Args:
        least_words: Of a description as the describer gives it; what is denied is taken out later.
        most_words: Of a description.
        script: Of the letters of all that is written, as Unicode's names of letters begin; null for any.
    """

    least_words: int = 30
    most_words: int = 180
    script: str | None = "LATIN"

    def __post_init__(self) -> None:
        if not 0 <= self.least_words <= self.most_words:
            raise DataError(f"regvid.wanted: least_words {self.least_words} and most_words {self.most_words}")

    @property
    def usual_tokens(self) -> int:
        """About how many a description has that is half as long as it may be."""
        return round(TOKENS_A_WORD * max(self.least_words, self.most_words / 2))

    def described(self, text: str, where: str) -> str:
        """A description, if it is as long as it has to be; `UnreadableError` if not, here and below."""
        if (words := len(text.split())) < self.least_words:
            raise UnreadableError(f"{where} has {words} words, fewer than {self.least_words}")
        return self.shortened(text, where)

    def shortened(self, text: str, where: str) -> str:
        """What is left of a description."""
        if (words := len(text.split())) > self.most_words:
            raise UnreadableError(f"{where} has {words} words, more than {self.most_words}")
        return self.written(text, where)

    def written(self, text: str, where: str) -> str:
        """Any text."""
        letters = [letter for letter in text if letter.isalpha()] if self.script is not None else []
        foreign = sum(not unicodedata.name(letter, "").startswith(self.script or "") for letter in letters)
        if foreign > FOREIGN * len(letters):
            raise UnreadableError(f"{where} is not written in {self.script} letters")
        return text
