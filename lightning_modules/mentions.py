"""Region numbers in generated tokens."""

from __future__ import annotations

import torch

from datamodules.conversation import INDEX, ConversationRenderer

MOST_INDEX_TOKENS = 8  # "[", up to three digits, "]", and room for tokenizers that write a space of its own


class GeneratedMentions:
    """Tells when generated tokens end in a complete region index such as `[12]`.

    Args:
        renderer: Decodes, and knows the placeholder's id.
    """

    def __init__(self, renderer: ConversationRenderer) -> None:
        self.renderer = renderer
        self.region_id = renderer.region_id

    def last(self, ids: torch.Tensor) -> int:
        """The number of the region whose index ends with the last token, or -1; ids: (generated tokens,)."""
        if not len(ids) or int(ids[-1]) not in self.renderer.closing_ids:
            return -1
        text = self.renderer.decode(ids[-MOST_INDEX_TOKENS:].tolist())
        numbers = [int(index[1]) for index in INDEX.finditer(text) if index.end() == len(text)]
        return numbers[0] if numbers else -1
