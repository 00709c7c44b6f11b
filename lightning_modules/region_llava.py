"""transformers' LLaVA, able to go on generating after it has named a region."""

from __future__ import annotations

from typing import Any

import torch
from transformers import LlavaForConditionalGeneration, LogitsProcessor

from lightning_modules.mentions import GeneratedMentions


class RegionLlava(LlavaForConditionalGeneration):
    """LLaVA whose generation shows the model a region's mark after it has said the region's index.

    In training an answer's `[0]` is followed by the placeholder of region 0 as unsupervised input. To generate
    under the same conditions, `MentionProcessor` lets the placeholder follow a complete index, and its embedding is
    put in here. Without `region_embeddings` nothing differs from the parent class.
    """

    def prepare_inputs_for_generation(
        self,
        input_ids: torch.Tensor,
        inputs_embeds: torch.Tensor | None = None,
        region_embeddings: torch.Tensor | None = None,
        mentions: GeneratedMentions | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Adds to the parent's inputs the embeddings of placeholders generated in the last step.

        Args:
            input_ids: (rows, generated tokens).
            inputs_embeds: (rows, P, D), the prompts.
            region_embeddings: (rows, N, D), what stands at each region's placeholder.
            mentions: Reads region numbers off generated ids.
            kwargs: The parent's.
        """
        inputs: dict[str, Any] = super().prepare_inputs_for_generation(input_ids, inputs_embeds=inputs_embeds, **kwargs)
        step_ids = inputs.get("input_ids")
        if region_embeddings is None or mentions is None or step_ids is None:
            return inputs
        shown = step_ids == mentions.region_id
        if shown.any():
            embeddings = self.get_input_embeddings()(step_ids)
            # with a cache a step is one token, and it is the last one
            rows = shown[:, -1].nonzero().flatten()
            numbers = [mentions.last(ids[:-1]) for ids in input_ids[rows]]
            embeddings[rows, -1] = region_embeddings[rows, torch.tensor(numbers, device=rows.device)].to(
                embeddings.dtype
            )
            inputs["input_ids"], inputs["inputs_embeds"] = None, embeddings
        return inputs


class MentionProcessor(LogitsProcessor):
    """Lets a region's placeholder follow its complete index, and nothing else.

    Args:
        mentions: Reads region numbers off generated ids.
        region_counts: (rows,) int64, regions of each row's sample.
    """

    def __init__(self, mentions: GeneratedMentions, region_counts: torch.Tensor) -> None:
        self.mentions = mentions
        self.region_counts = region_counts.tolist()

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Args: input_ids: (rows, generated tokens); scores: (rows, vocabulary)."""
        region_id = self.mentions.region_id
        scores = scores.clone()
        placeholder = scores[:, region_id].clone()
        scores[:, region_id] = -torch.inf
        beams = len(input_ids) // len(self.region_counts)
        for row, ids in enumerate(input_ids):
            number = self.mentions.last(ids)
            if 0 <= number < self.region_counts[row // beams]:
                scores[row] = -torch.inf
                scores[row, region_id] = torch.where(placeholder[row].isfinite(), placeholder[row], 0.0)
        return scores
