"""Region numbers in tokens while they are generated, read where the tokens are: the host does not wait for them.

`GeneratedMentions` reads an index off the text of all tokens. Here it is known of every token of the vocabulary what it
does to an index that has begun, and each row remembers how far its index is; both say the same.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch

from datamodules.prompting.conversation import ConversationRenderer, Rendered
from lightning_modules.generation.mentions import GeneratedMentions

NONE, OPEN = -2, -1  # how far an index is: none has begun, or one without a digit yet; else its number so far
MOST = 9999
_PART_OF_ONE = re.compile(r"[\[\]0-9]")


class Effect(NamedTuple):
    """What a token does to an index.

    Attributes:
        keeps: 1 where it goes on with the one before it, if any; 0 where that is over.
        begins: How far an index is at its beginning otherwise, `OPEN` or `NONE`.
        shift: Ten to the power of the number of its digits.
        digits: Their value.
        first: 1 where they can be the first of an index, which begins with no 0 but that of region 0.
        closes: 1 where the index ends with it.
    """

    keeps: int = 0
    begins: int = NONE
    shift: int = 1
    digits: int = 0
    first: int = 0
    closes: int = 0


def effect_of(text: str, keeps_spaces: bool, closing: bool) -> Effect:
    """What a token does that adds `text`; `closing`, whether an index can end with it."""
    keeps, begins, digits = 1, NONE, ""
    for place, letter in enumerate(text):
        if letter == "[":
            keeps, begins, digits = 0, OPEN, ""
        elif letter in "0123456789":
            digits += letter
        elif letter == "]" and place == len(text) - 1 and closing:
            return _effect(keeps, begins, digits, closes=1)
        elif keeps_spaces or not letter.isspace():
            keeps, begins, digits = 0, NONE, ""
    return _effect(keeps, begins, digits)


def _effect(keeps: int, begins: int, digits: str, closes: int = 0) -> Effect:
    first = len(digits) == 1 or (1 < len(digits) <= len(str(MOST)) and digits[0] != "0")
    value = digits[: len(str(MOST)) + 1]  # more are too many whatever they are
    return Effect(keeps, begins, 10 ** len(value), int(value or 0), int(first), closes)


_effects: WeakKeyDictionary[ConversationRenderer, dict[torch.device, torch.Tensor]] = WeakKeyDictionary()


def effects(renderer: ConversationRenderer, device: torch.device) -> torch.Tensor:
    """(6, vocabulary + 1) int64, of every token, the last of all ids that are none; made once for a device."""
    made = _effects.setdefault(renderer, {})
    if device not in made:
        made[device] = torch.tensor(_of_vocabulary(renderer)).T.contiguous().to(device)
    return made[device]


def _of_vocabulary(renderer: ConversationRenderer) -> list[Effect]:
    """Only what may be a part of an index is looked at closely: a decoder takes its time."""
    vocabulary = renderer.tokenizer.get_vocab()
    special = renderer.tokenizer.added_tokens_decoder
    found = [Effect() for _ in range(max(vocabulary.values()) + 1)]
    for written, token in vocabulary.items():
        if token in special or not renderer.keeps_spaces or _PART_OF_ONE.search(written):
            text = renderer.token_text(token)
            found[token] = effect_of(text, renderer.keeps_spaces, token in renderer.closing_ids)
    return [*found, Effect(keeps=1)]


class FollowedMentions:
    """What has to follow generated tokens, row by row.

    Args:
        mentions: What is shown for each region.
        rows: How many there are; a sample may have several, one after the other.
        device: Where they are.

    Attributes:
        due: The token that must come next in each row, and its slot or -1: (rows,) int64 each, -1 where the model is
            free.
    """

    def __init__(self, mentions: GeneratedMentions, rows: int, device: torch.device) -> None:
        self._effects = effects(mentions.renderer, device)
        regions = max(1, *map(len, mentions.shown))
        most = mentions.longest + 1
        shown = [
            [
                [values + [-1] * (most - len(values)) for values in (text.ids, text.placeholder)]
                for text in [*of_sample, *[Rendered()] * (regions - len(of_sample))]
            ]
            for of_sample in mentions.shown
        ]
        owner = torch.arange(rows) * len(shown) // rows
        self._shown = torch.tensor(shown)[owner].to(device)  # (rows, regions, ids and slots, tokens shown)
        self._regions = torch.tensor([len(of_sample) for of_sample in mentions.shown])[owner].to(device)
        self._rows = torch.arange(rows, device=device)
        self._index = torch.full((rows,), NONE, device=device)
        self._named = torch.full((rows,), -1, device=device)  # the region that is being shown
        self._place = torch.zeros(rows, dtype=torch.int64, device=device)  # of the next token that is shown for it
        self.due = (torch.full_like(self._index, -1),) * 2

    def follow(self, tokens: torch.Tensor) -> None:
        """Takes the next token of each row in: (rows,) int64."""
        number = self._read(tokens)
        is_named = (number >= 0) & (number < self._regions)
        self._named = number.where(is_named, self._named)
        self._place = (self._place + 1).masked_fill(is_named, 0)
        shown = self._shown[self._rows, self._named.clamp(min=0)]
        place = self._place.clamp(max=shown.shape[2] - 1)[:, None, None].expand(-1, 2, 1)
        due, slots = shown.gather(2, place).squeeze(2).masked_fill((self._named < 0).unsqueeze(1), -1).unbind(1)
        self._named = self._named.masked_fill(due < 0, -1)
        self.due = due, slots

    def _read(self, tokens: torch.Tensor) -> torch.Tensor:
        """The number of the index that ends with each token, or a negative one."""
        of_tokens = self._effects[:, tokens.clamp(max=self._effects.shape[1] - 1)]
        keeps, begins, shift, digits, first, closes = of_tokens.unbind(0)
        index = self._index.where(keeps > 0, begins)
        longer = index.clamp(min=0) * shift + digits
        is_number = ((index > 0) & (longer <= MOST)) | ((index == OPEN) & (first > 0))
        index = index.where(shift == 1, longer.masked_fill(~is_number, NONE))
        self._index = index.masked_fill(closes > 0, NONE)
        return index.masked_fill(closes == 0, NONE)
