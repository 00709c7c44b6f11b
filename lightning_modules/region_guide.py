"""Temporal Region Guide Head (Omni-RGPT, section 3.3): in training, every visual token says whose mark it is under.

Letters: F frames of all samples one after the other, G side of the token grid, N regions (padded), M marks, D width of
the language model.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from datamodules.types import RegionBatch
from lightning_modules.region_references.reference import frame_owner

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
        """(F, G * G, D) hidden states of the visual tokens -> (F, G * G, M + 1) logits."""
        logits: torch.Tensor = self.classifier(hidden)
        return logits


def soft_labels(weights: torch.Tensor, marks: torch.Tensor, num_marks: int) -> torch.Tensor:
    """The share of each token's area that lies under each mark; the rest is background (Eq. 2).

    Args:
        weights: (F, G * G, N), share of each region.
        marks: (F, N) int64, the mark of each region, -1 beyond a sample's regions (weight 0 there).
        num_marks: M.

    Returns:
        (F, G * G, M + 1); a token's labels sum to 1.
    """
    frames, tokens, _ = weights.shape
    labels = weights.new_zeros(frames, tokens, num_marks + 1)
    index = marks.clamp(min=0).unsqueeze(1).expand(-1, tokens, -1)
    labels.scatter_add_(2, index, weights)
    labels[..., -1] = 1 - weights.sum(2)
    return labels


def guide_losses(logits: torch.Tensor, batch: RegionBatch, marks: torch.Tensor) -> torch.Tensor:
    """Cross-entropy with the soft labels (Eq. 2), averaged over the tokens of a sample's known frames.

    Args:
        logits: (F, G * G, M + 1).
        batch: Where the regions are, and on which frames that is known.
        marks: (B, N) int64, the marks drawn.

    Returns:
        (B,); a sample without a known frame has 0, which still reaches the head's weights.
    """
    owner = frame_owner(batch)
    labels = soft_labels(batch.guide_weights, marks[owner], logits.shape[2] - 1)
    of_token = F.cross_entropy(logits.float().flatten(0, 1), labels.flatten(0, 1), reduction="none")
    of_frame = of_token.view(logits.shape[:2]).mean(1) * batch.guide_known
    return of_frame.new_zeros(len(batch)).index_add_(0, owner, of_frame) / _known_frames(batch).clamp(min=1)


def guide_loss(logits: torch.Tensor, batch: RegionBatch, marks: torch.Tensor) -> torch.Tensor:
    """The sum of `guide_losses`; over the number of all samples of a step that have a guide term it is L_guide."""
    return guide_losses(logits, batch, marks).sum()


def has_guide_term(batch: RegionBatch) -> torch.Tensor:
    """Which samples have a guide term, those with a known frame: (B,) bool."""
    return _known_frames(batch) > 0


def guided_samples(batch: RegionBatch) -> torch.Tensor:
    """How many samples have a guide term: a scalar."""
    return has_guide_term(batch).sum()


def _known_frames(batch: RegionBatch) -> torch.Tensor:
    known = batch.guide_known.float()
    return known.new_zeros(len(batch)).index_add_(0, frame_owner(batch), known)


def heat_map(logits: torch.Tensor, batch: RegionBatch, marks: torch.Tensor) -> torch.Tensor:
    """The probability of each region's mark at each token: (F, G * G, N); 0 beyond a sample's regions."""
    of_frame = marks[frame_owner(batch)]
    index = of_frame.clamp(min=0).unsqueeze(1).expand(-1, logits.shape[1], -1)
    return logits.float().softmax(-1).gather(2, index) * (of_frame >= 0).unsqueeze(1)


def tracking_hits(logits: torch.Tensor, batch: RegionBatch, marks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """How often the head finds the right region after the prompted frames, background aside.

    A token counts when its frame is known and has no prompt itself, so that every region was prompted before it, its
    sample has at least two regions to confuse, and one of them covers at least `TRACKED_SHARE` of it, more than any
    other. It is a hit when that region's mark is the most likely of all M marks, drawn or not.

    Returns:
        Hits and counted tokens of each sample, (B,) int64 both.
    """
    if batch.guide_weights.shape[2] < 2:
        nothing = torch.zeros_like(batch.region_counts)
        return nothing, nothing
    owner = frame_owner(batch)
    later = batch.guide_known & (batch.mark_weights.sum((1, 2)) == 0) & (batch.region_counts[owner] > 1)
    share, region = batch.guide_weights.topk(2, dim=2)
    clear = (share[..., 0] >= TRACKED_SHARE) & (share[..., 0] > share[..., 1]) & later.unsqueeze(1)
    right = marks[owner].gather(1, region[..., 0]) == logits[..., :-1].argmax(-1)

    def per_sample(tokens: torch.Tensor) -> torch.Tensor:
        counts = tokens.sum(1)
        return counts.new_zeros(len(batch)).index_add_(0, owner, counts)

    return per_sample(clear & right), per_sample(clear)
