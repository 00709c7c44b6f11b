"""What a region costs in the text, for comparing references."""

from __future__ import annotations

from typing import NamedTuple

from datamodules.conversation import ConversationRenderer
from datamodules.types import RegionBatch


class TextTokens(NamedTuple):
    """Means over the regions of a batch; the index, which all references write, is not in them.

    Attributes:
        per_region: Tokens of one mention of a region.
        per_frame: The same for each frame that the mention tells the region's place on.
    """

    per_region: float
    per_frame: float


def text_tokens_per_region(renderer: ConversationRenderer, batch: RegionBatch) -> TextTokens:
    """The tokens that stand for a region wherever it is mentioned; 0 in a batch without regions."""
    stand_ins = [stand_in for of_sample in batch.stand_ins for stand_in in of_sample]
    lengths = [len(renderer.shown(stand_in).ids) for stand_in in stand_ins]
    shares = [length / max(1, len(stand_in.slots)) for length, stand_in in zip(lengths, stand_ins, strict=True)]
    regions = max(1, len(stand_ins))
    return TextTokens(sum(lengths) / regions, sum(shares) / regions)
