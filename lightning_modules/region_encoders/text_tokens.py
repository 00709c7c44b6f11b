"""What a region costs in the text, for comparing references."""

from __future__ import annotations

from typing import NamedTuple

from datamodules.batching.batch import RegionBatch
from datamodules.prompting.conversation import ConversationRenderer


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
    region_texts = [region_text for of_sample in batch.region_texts for region_text in of_sample]
    lengths = [len(renderer.shown(region_text).ids) for region_text in region_texts]
    shares = [
        length / max(1, len(region_text.slots)) for length, region_text in zip(lengths, region_texts, strict=True)
    ]
    regions = max(1, len(region_texts))
    return TextTokens(sum(lengths) / regions, sum(shares) / regions)
