"""TokenMarkBackbone: LLaVA, a region reference and the guide head; a batch goes in, losses' parts come out.

Letters: B samples, F frames of all samples one after the other, G side of the token grid, N regions (padded), L text
and visual tokens, M marks, D width of the language model, K supervised tokens of the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from datamodules.types import RegionBatch
from lightning_modules.region_guide import TemporalRegionGuideHead
from lightning_modules.region_llava import RegionLlava
from lightning_modules.region_references.reference import Reference, RegionReference


@dataclass(slots=True)
class Embedded:
    """A batch as the language model reads it: `embeddings` (B, L, D), and the region reference that is in them."""

    embeddings: torch.Tensor
    reference: Reference


@dataclass(slots=True)
class BackboneOutput:
    """What one forward pass of a batch yields.

    Attributes:
        logits: (K, vocabulary), only where there is a label.
        targets: (K,) int64, the supervised tokens.
        guide_logits: (F, G * G, M + 1), or None without a guide head.
        embedded: What went into the language model, to generate from without a second pass of the vision tower.
    """

    logits: torch.Tensor
    targets: torch.Tensor
    guide_logits: torch.Tensor | None
    embedded: Embedded


class TokenMarkBackbone(nn.Module):
    """The shared model of images and videos; an image is a clip of one frame.

    Args:
        llava: Vision tower, projector and language model.
        reference: How regions are told to it.
        guide: Whether it has a Temporal Region Guide Head; needs a reference with marks.
    """

    def __init__(self, llava: RegionLlava, reference: RegionReference, guide: bool = True) -> None:
        super().__init__()
        self.llava = llava
        self.reference = reference
        width = llava.config.text_config.hidden_size
        self.guide = TemporalRegionGuideHead(width, reference.num_marks) if guide and reference.num_marks else None

    def visual_tokens(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """(F, 3, S, S) -> (F, G * G, D): every frame on its own, the class token dropped.

        The tower stops at the layer whose features are taken; transformers' LLaVA runs it to the end and keeps every
        layer's hidden states to pick one of them.
        """
        if not len(pixel_values):
            # a batch of text alone: every rank runs every module in every step, here on a blank frame without a token
            return self.visual_tokens(pixel_values.new_zeros(1, *pixel_values.shape[1:]))[:0]
        tower = self._tower
        hidden = tower.pre_layrnorm(tower.embeddings(pixel_values.to(self.llava.model.vision_tower.dtype)))
        for layer in self.used_layers:
            hidden = layer(hidden, None)
        projector = self.llava.model.multi_modal_projector
        projected: torch.Tensor = projector(hidden[:, 1:].to(projector.linear_1.weight.dtype))
        return projected

    @property
    def _tower(self) -> Any:
        # some versions of transformers wrap the tower's transformer once more
        tower = self.llava.model.vision_tower
        return getattr(tower, "vision_model", tower)

    @property
    def used_layers(self) -> Sequence[nn.Module]:
        """The vision tower's layers up to the one whose features are taken."""
        layers: Sequence[nn.Module] = self._tower.encoder.layers[: self._used]
        return layers

    @property
    def _used(self) -> int:
        """Layers up to the features: hidden state k is the output of layer k, hidden state 0 that of no layer."""
        taken: int = self.llava.config.vision_feature_layer
        return taken + len(self._tower.encoder.layers) + 1 if taken < 0 else taken

    def embed(self, batch: RegionBatch) -> Embedded:
        """Words, visual tokens and regions as one sequence of embeddings."""
        visual = self.visual_tokens(batch.pixel_values)
        reference = self.reference(batch, visual)
        words = self.llava.get_input_embeddings()(batch.input_ids)
        is_visual = batch.input_ids == self.llava.config.image_token_id
        expected, found = reference.visual.shape[0] * reference.visual.shape[1], int(is_visual.sum())
        assert found == expected, f"{found} visual placeholders, but {expected} visual tokens"
        embeddings = words.masked_scatter(is_visual.unsqueeze(-1), reference.visual.to(words.dtype))
        rows, columns = (batch.placeholder >= 0).nonzero(as_tuple=True)
        regions = reference.text[rows, batch.placeholder[rows, columns]].to(words.dtype)
        return Embedded(embeddings.index_put((rows, columns), regions), reference)

    def forward(self, batch: RegionBatch) -> BackboneOutput:
        """One pass over whole conversations: logits of the supervised tokens, and the guide head's."""
        embedded = self.embed(batch)
        hidden = self.llava.model.language_model(
            inputs_embeds=embedded.embeddings,
            attention_mask=batch.attention_mask,
            use_cache=False,  # a cache would be appended to a second time where layers run again in the backward pass
        ).last_hidden_state
        supervised = batch.loss_mask[:, 1:]  # a token is predicted from the one before it
        logits = self.llava.lm_head(hidden[:, :-1][supervised])
        return BackboneOutput(logits, batch.input_ids[:, 1:][supervised], self._guide(hidden, batch), embedded)

    def _guide(self, hidden: torch.Tensor, batch: RegionBatch) -> torch.Tensor | None:
        if self.guide is None:
            return None
        visual = hidden[batch.input_ids == self.llava.config.image_token_id]
        visual = visual.view(*batch.guide_weights.shape[:2], hidden.shape[-1])
        logits: torch.Tensor = self.guide(visual.to(self.guide.classifier.weight.dtype))
        return logits

    def unused_parameters(self) -> list[nn.Parameter]:
        """Weights of the vision tower behind the layer whose features are taken: no gradient ever reaches them."""
        tower = self._tower
        unused = [*tower.encoder.layers[self._used :], tower.post_layernorm]
        return [weight for part in unused for weight in part.parameters()]
