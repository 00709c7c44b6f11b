"""L = L_LM + alpha * L_guide of an optimiser step (Omni-RGPT, section 3.3), whatever its passes and ranks.

Both are means over the whole step: L_LM over supervised tokens, L_guide over samples that have a guide term. A pass
therefore adds its sum, divided by the count of all passes of all ranks; the strategy averages gradients over the ranks,
hence the factor of their number.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from datamodules.batching.batch import RegionBatch, StepBatch
from lightning_modules.backbone import BackboneOutput
from lightning_modules.region_guide import guide_loss, guided_samples
from lightning_modules.training.ranks import sum_over_ranks, world_size


def step_counts(passes: StepBatch) -> torch.Tensor:
    """Supervised tokens, and samples with a guide term, of a whole step: (2,), over all passes of all ranks."""
    tokens = sum(len(part.supervised) for part in passes)
    samples = torch.stack([guided_samples(part) for part in passes]).sum()
    return sum_over_ranks(torch.stack([torch.full_like(samples, tokens), samples]).float())


def pass_losses(output: BackboneOutput, batch: RegionBatch, counts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What a pass adds to its step's L_LM and L_guide; the second is 0 without a guide head.

    Args:
        output: The backbone's, for `batch`.
        batch: One pass.
        counts: The step's, from `step_counts`.
    """
    tokens, samples = counts.clamp(min=1)
    total = F.cross_entropy(output.logits.float(), output.targets, reduction="sum")
    language = total * world_size() / tokens
    if output.guide_logits is None or output.marks is None:
        return language, language.new_zeros(())
    guide = guide_loss(output.guide_logits, batch, output.marks)
    return language, guide * world_size() / samples
