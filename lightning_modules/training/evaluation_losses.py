"""L_LM and L_guide over an evaluation set, whatever its batches and ranks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from datamodules.batching.batch import RegionBatch
from lightning_modules.backbone import BackboneOutput
from lightning_modules.region_guide import guide_losses, has_guide_term


class EvaluationLosses(Metric):
    """Means over all samples of all batches and ranks: L_LM over supervised tokens, L_guide over guide terms.

    Every sample's sums are kept by the number that its id seeds marks with, so that what a distributed sampler repeats
    counts once, and the order in which samples come does not matter.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    seeds: list[torch.Tensor] | torch.Tensor
    sums: list[torch.Tensor] | torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("seeds", default=[], dist_reduce_fx="cat")  # (samples,) int64
        self.add_state("sums", default=[], dist_reduce_fx="cat")  # (samples, 4): each loss, and what it is a sum of

    @torch.no_grad()
    def update(self, output: BackboneOutput, batch: RegionBatch) -> None:
        """Adds the samples of a batch; an answer that is unknown has no supervised token."""
        of_token = F.cross_entropy(output.logits.float(), output.targets, reduction="none")
        row = batch.supervised // batch.input_ids.shape[1]
        language, tokens = (
            of_token.new_zeros(len(batch)).index_add_(0, row, values)
            for values in (of_token, torch.ones_like(of_token))
        )
        guide, guided = torch.zeros_like(language), torch.zeros_like(language)
        if output.guide_logits is not None and output.marks is not None:
            guide = guide_losses(output.guide_logits, batch, output.marks)
            guided = has_guide_term(batch)
        assert isinstance(self.seeds, list) and isinstance(self.sums, list), "update of a metric that is synchronised"
        self.seeds.append(batch.mark_seeds)
        self.sums.append(torch.stack([language, tokens, guide, guided], 1).float())

    def compute(self) -> dict[str, float]:
        """`language_loss` and `guide_loss`, each only where a sample has one."""
        if not len(self.seeds):
            return {}
        seeds, sums = dim_zero_cat(self.seeds).tolist(), dim_zero_cat(self.sums).double().cpu()
        places = {seed: place for place, seed in reversed(list(enumerate(seeds)))}
        language, tokens, guide, guided = sums[[places[seed] for seed in sorted(places)]].sum(0).tolist()
        means = {"language_loss": (language, tokens), "guide_loss": (guide, guided)}
        return {name: total / count for name, (total, count) in means.items() if count}
