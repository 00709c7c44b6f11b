"""Region numbers in generated tokens, and what the model is shown after each."""

from __future__ import annotations

import re
from collections.abc import Sequence

from datamodules.prompting.conversation import INDEX, ConversationRenderer
from datamodules.prompting.region_text import RegionText

MOST_INDEX_TOKENS = 12  # "[", up to four digits and "]", and as many for tokenizers that put a space before each
FREE = (-1, -1)
_AT_THE_END = re.compile(INDEX.pattern + r"\Z")


class GeneratedMentions:
    """Tells what has to follow generated tokens that end in a region's index such as `[12]`, or in a part of that.

    Args:
        renderer: Decodes, and knows the placeholder's id.
        region_texts: What is shown for each region of each sample.
    """

    def __init__(self, renderer: ConversationRenderer, region_texts: Sequence[Sequence[RegionText]]) -> None:
        self.renderer = renderer
        self.region_id = renderer.region_id
        self.shown = [[renderer.shown(region_text) for region_text in of_sample] for of_sample in region_texts]
        self.longest = max((len(shown.ids) for of_sample in self.shown for shown in of_sample), default=0)

    def said(self, row: int, ids: list[int]) -> list[int]:
        """The tokens that the model has chosen itself: all but what it was shown."""
        return [token for place, token in enumerate(ids) if self.chosen(row, ids[: place + 1])]

    def chosen(self, row: int, ids: list[int]) -> bool:
        """Whether the model has chosen the last of these tokens itself, and was not shown it."""
        return self.due(row, ids[:-1]) == FREE

    def due(self, row: int, ids: list[int]) -> tuple[int, int]:
        """The token that must follow `ids`, and its slot or -1; (-1, -1) where the model is free.

        One has to where they end in an index and the beginning of what is shown behind it.
        """
        shown = self.shown[row]
        for length in range(min(self.longest, len(ids))):
            said, begun = ids[: len(ids) - length], ids[len(ids) - length :]
            number = self._index(said)
            if 0 <= number < len(shown):
                following = shown[number]
                if length < len(following.ids) and begun == following.ids[:length]:
                    return following.ids[length], following.placeholder[length]
        return FREE

    def _index(self, ids: list[int]) -> int:
        """The number of the region whose index ends with the last token, or -1."""
        if not ids or ids[-1] not in self.renderer.closing_ids:
            return -1
        index = _AT_THE_END.search(self.renderer.decode(ids[-MOST_INDEX_TOKENS:]))
        return int(index[1]) if index else -1
