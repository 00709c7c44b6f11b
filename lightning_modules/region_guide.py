"""Temporal Region Guide Head (Omni-RGPT, section 3.3): in training, every visual token says whose mark it is under.

Letters: B samples, V visual tokens of all samples one after the other, N regions (padded), M marks, D width of the
language model.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from datamodules.batching.batch import RegionBatch
from lightning_modules.region_encoders.region_encoder import sums_by_sample

TRACKED_SHARE = 0.25  # a token belongs to a region from a quarter of its area on


class TemporalRegionGuideHead(nn.Module):
    """One linear layer D -> M + 1 on the language model's last hidden states; the last class is the background.

    Args:
        width: D.
        num_marks: M.
    """

    def __init__(self, width: int, num_marks: int) -> None:
        super().__init__()
        self.num_marks = num_marks
        self.classifier = nn.Linear(width, num_marks + 1)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(V, D) hidden states of the visual tokens -> (V, M + 1) logits."""
        logits: torch.Tensor = self.classifier(hidden)
        return logits


def soft_labels(weights: torch.Tensor, marks: torch.Tensor, num_marks: int) -> torch.Tensor:
    """The share of each token's area that lies under each mark; the rest is background (Eq. 2).

    Args:
        weights: (V, N), share of each region.
        marks: (V, N) int64, the mark of each region of the token's sample, -1 beyond its regions (weight 0 there).
        num_marks: M.

    Returns:
        (V, M + 1); a token's labels sum to 1.
    """
    labels = weights.new_zeros(len(weights), num_marks + 1)
    labels.scatter_add_(1, marks.clamp(min=0), weights)
    labels[:, -1] = 1 - weights.sum(1)
    return labels


def guide_losses(logits: torch.Tensor, batch: RegionBatch, marks: torch.Tensor) -> torch.Tensor:
    """Cross-entropy with the soft labels (Eq. 2), averaged over a sample's tokens on which its regions are known.

    Args:
        logits: (V, M + 1).
        batch: Where the regions are, and on which tokens that is known.
        marks: (B, N) int64, the marks drawn.

    Returns:
        (B,); a sample without a known token has 0, which still reaches the head's weights.
    """
    labels = soft_labels(batch.guide_weights, marks[batch.token_owner], logits.shape[1] - 1)
    of_token = F.cross_entropy(logits.float(), labels, reduction="none") * batch.guide_known
    return sums_by_sample(batch, of_token) / _known_tokens(batch).clamp(min=1)


def guide_loss(logits: torch.Tensor, batch: RegionBatch, marks: torch.Tensor) -> torch.Tensor:
    """The sum of `guide_losses`; over the number of all samples of a step that have a guide term it is L_guide."""
    return guide_losses(logits, batch, marks).sum()


def has_guide_term(batch: RegionBatch) -> torch.Tensor:
    """Which samples have a guide term, those with a known token: (B,) bool."""
    return _known_tokens(batch) > 0


def guided_samples(batch: RegionBatch) -> torch.Tensor:
    """How many samples have a guide term: a scalar."""
    return has_guide_term(batch).sum()


def _known_tokens(batch: RegionBatch) -> torch.Tensor:
    return sums_by_sample(batch, batch.guide_known.float())


def heat_map(logits: torch.Tensor, batch: RegionBatch, marks: torch.Tensor) -> torch.Tensor:
    """The probability of each region's mark at each token: (V, N); 0 beyond a sample's regions."""
    of_token = marks[batch.token_owner]
    return logits.float().softmax(-1).gather(1, of_token.clamp(min=0)) * (of_token >= 0)


def tracking_hits(logits: torch.Tensor, batch: RegionBatch, marks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """How often the head finds the right region after the prompted frames, background aside.

    A token counts when its frames are known and have no prompt themselves, so that every region was prompted before,
    its sample has at least two regions to confuse, and one of them covers at least `TRACKED_SHARE` of it, more than any
    other. It is a hit when that region's mark is the most likely of all M marks, drawn or not.

    Returns:
        Hits and counted tokens of each sample, (B,) int64 both.
    """
    if batch.guide_weights.shape[1] < 2:
        nothing = torch.zeros_like(batch.region_counts)
        return nothing, nothing
    owner = batch.token_owner
    later = batch.guide_known & ~batch.prompted & (batch.region_counts[owner] > 1)
    share, region = batch.guide_weights.topk(2, dim=1)
    clear = (share[:, 0] >= TRACKED_SHARE) & (share[:, 0] > share[:, 1]) & later
    right = marks[owner].gather(1, region[:, :1]).squeeze(1) == logits[:, :-1].argmax(-1)
    return sums_by_sample(batch, (clear & right).long()), sums_by_sample(batch, clear.long())
