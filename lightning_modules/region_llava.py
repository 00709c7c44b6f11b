"""transformers' LLaVA, able to go on generating after it has named a region."""

from __future__ import annotations

from typing import Any

import torch
from transformers import LlavaConfig, LlavaForConditionalGeneration, LogitsProcessor

from lightning_modules.base_checks import check_base
from lightning_modules.mentions import GeneratedMentions


class RegionLlava(LlavaForConditionalGeneration):
    """LLaVA whose generation shows the model a region's mark after it has said the region's index.

    In training an answer's `[0]` is followed by the placeholder of region 0 as unsupervised input. To generate
    under the same conditions, `MentionProcessor` lets what stands for a region follow a complete index, and the
    embeddings of placeholders are put in here. Without `region_embeddings` nothing differs from the parent class.

    Raises:
        DataError: The configuration is of a base that would be built and be wrong, see `check_base`.
    """

    def __init__(self, config: LlavaConfig) -> None:
        check_base(config)
        super().__init__(config)

    @classmethod
    def is_custom_code(cls) -> bool:
        """No: its weights are LLaVA's, and transformers must know them by the names in published checkpoints."""
        return False

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
            region_embeddings: (rows, K, D), what stands at the placeholders, by slot.
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
            due = mentions.due(input_ids[:, :-1])
            slots = torch.tensor([due[row][1] for row in rows.tolist()], device=rows.device)
            embeddings[rows, -1] = region_embeddings[rows, slots].to(embeddings.dtype)
            inputs["input_ids"], inputs["inputs_embeds"] = None, embeddings
        return inputs


class MentionProcessor(LogitsProcessor):
    """Lets what stands for a region follow its complete index, and a placeholder nothing else.

    Args:
        mentions: Reads region numbers off generated ids.
    """

    def __init__(self, mentions: GeneratedMentions) -> None:
        self.mentions = mentions

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Args: input_ids: (rows, generated tokens); scores: (rows, vocabulary)."""
        free = scores
        scores = scores.clone()
        scores[:, self.mentions.region_id] = -torch.inf
        for row, (token, _) in enumerate(self.mentions.due(input_ids)):
            if token >= 0:
                scores[row] = -torch.inf
                scores[row, token] = torch.where(free[row, token].isfinite(), free[row, token], 0.0)
        return scores
