"""What claims quote of a description, and what is left of it without those that are denied.

Words are compared: case, blanks and punctuation do not count.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from itertools import takewhile
from typing import NamedTuple

from datamodules.regvid.parsing import UnreadableError, one_line

GRAMMAR = re.compile(
    "an?|the|its?|he|his|she|her|they|their|them|this|these|that|those|which|who|and|while|as|is|are|was|were|be|"
    "being|been|has|have|had|of|with|there|then"
)
"""Words that may come or go where a sentence is mended: none of them turns a statement into another one."""

_WORD = re.compile(r"\w+(?:['\u2019-]\w+)*")
_BETWEEN = re.compile(r"(?<=[.!?])[\"'\u201d)\]]*\s+(?=[^a-z\s])")
_ENDINGS = frozenset({"", "s", "es", "ies", "y", "e", "d", "ed", "ied", "ing"})
# what a cut leaves between the words beside it
_LEFT_OVER = (
    (re.compile(r"\s+(?=[,.;:!?])"), ""),
    (re.compile(r"[,;:]\s*(?=[,.;:!?])"), ""),
    (re.compile(r"^[\s,;:.!?]+"), ""),
)


class Cut(NamedTuple):
    """A description without what is denied.

    Attributes:
        text: Without the denied words, and without sentences of which no other claim is left; empty if all is denied.
        words: Of it, in lower case.
        fixed: Which of them must stay; the others are left over in a sentence that was cut, and nobody's claim.
        whole: Without any sentence that something was denied in: poorer, but nothing has to be mended.
    """

    text: str
    words: tuple[str, ...]
    fixed: tuple[bool, ...]
    whole: str


class Description:
    """Words and sentences of a text.

    Args:
        text: The description.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._found = list(_WORD.finditer(text))
        self.words = [word[0].lower() for word in self._found]
        starts = [0, *(gap.end() for gap in _BETWEEN.finditer(text))]
        self._sentences = list(zip(starts, [*starts[1:], len(text)], strict=True))

    def quoted(self, claims: Iterable[str]) -> set[int]:
        """The places of the words that a claim quotes; words that stand there more than once are all meant."""
        return {place for claim in claims for place in self._places(_words(claim))}

    def unquoted(self, claims: Iterable[str]) -> list[str]:
        """The sentences of which no claim quotes a word."""
        quoted = self.quoted(claims)
        sentences = ((self._within(start, end), self.text[start:end].strip()) for start, end in self._sentences)
        return [sentence for words, sentence in sentences if words and quoted.isdisjoint(words)]

    def without(self, denied: Iterable[str], others: Iterable[str]) -> Cut:
        """What is left without the denied claims; where another one quotes a denied word, it goes all the same."""
        lost = self.quoted(denied)
        claimed = self.quoted(others) - lost
        left, whole = [], []
        fixed: list[bool] = []
        for start, end in self._sentences:
            words = self._within(start, end)
            gone = lost.intersection(words)
            if gone and claimed.isdisjoint(words):
                continue
            left.append(self._shortened(start, end, gone) if gone else self.text[start:end].strip())
            fixed += [place in claimed or not gone for place in words if place not in gone]
            whole += [] if gone else left[-1:]
        text = " ".join(left)
        return Cut(text, tuple(_words(text)), tuple(fixed), " ".join(whole))

    def _places(self, words: Sequence[str]) -> Iterable[int]:
        size = len(words)
        for first in range(len(self.words) - size + 1) if size else ():
            if self.words[first : first + size] == words:
                yield from range(first, first + size)

    def _within(self, start: int, end: int) -> list[int]:
        return [place for place, word in enumerate(self._found) if start <= word.start() < end]

    def _shortened(self, start: int, end: int, gone: set[int]) -> str:
        """A sentence without some of its words, and without what stood between them."""
        kept, at = "", start
        for place in sorted(gone):
            if place - 1 not in gone:
                kept += f"{self.text[at : self._found[place].start()]} "
            at = self._found[place].end()
        text = one_line(kept + self.text[at:end])
        for left_over, instead in _LEFT_OVER:
            text = left_over.sub(instead, text)
        return text[:1].upper() + text[1:]


def check_mended(text: str, cut: Cut) -> None:
    """Raises `UnreadableError` unless the text says what is left after the cut, with other grammar at most."""
    before, after = cut.words, _words(text)
    for kind, start, end, first, last in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        old, new = before[start:end], after[first:last]
        if added := [word for word in new if not _is_grammar(word, old)]:
            raise UnreadableError(f"it says {added[0]!r}, which the text does not")
        fixed = [word for word, stays in zip(old, cut.fixed[start:end], strict=True) if stays]
        if lost := [word for word in fixed if not _is_grammar(word, new)]:
            raise UnreadableError(f"it leaves out {lost[0]!r}")


def _is_grammar(word: str, others: Iterable[str]) -> bool:
    return GRAMMAR.fullmatch(word) is not None or any(_inflected(word, other) for other in others)


def _inflected(word: str, other: str) -> bool:
    """Whether two words differ in a common ending only: rolls and rolling, stop and stopped."""
    stem = "".join(letter for letter, _ in takewhile(lambda both: both[0] == both[1], zip(word, other, strict=False)))
    # the last letter of the stem may be doubled
    endings = [ending for long in (word, other) if (ending := long[len(stem) :]) not in _ENDINGS]
    return len(stem) > 1 and all(ending.removeprefix(stem[-1]) in _ENDINGS for ending in endings)


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]
