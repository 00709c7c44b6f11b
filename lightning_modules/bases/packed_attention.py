"""Attention of samples that share a row, each by itself: SDPA over one sample after the other.

A mask over such a row has as many numbers as the row's length squared, scores are computed for all of them, and SDPA
takes its flash kernel only where it is given no mask. A causal sample alone needs none. So the row is cut where samples
meet, which is exact: what a sample's tokens see of others is nothing.

Letters: L tokens of the row, l tokens of a sample, H heads, d width of one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BY_SAMPLE = "sdpa_by_sample"
"""What transformers calls it; in rows of one sample each it is `sdpa`."""


def attend_by_sample(language_model: PreTrainedModel) -> None:
    """Has a decoder, whose attention is `sdpa`, understand what `row_of` hands it in place of a mask."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    if language_model.config._attn_implementation != BY_SAMPLE:
        AttentionInterface.register(BY_SAMPLE, _attention)
        AttentionMaskInterface.register(BY_SAMPLE, sdpa_mask)
        language_model.set_attn_implementation(BY_SAMPLE)


def row_of(lengths: tuple[int, ...], pictures: torch.Tensor | None = None) -> torch.Tensor:
    """What stands in place of a mask: transformers hands on anything of four dimensions as it is.

    Args:
        lengths: Tokens of each sample.
        pictures: (1, L) bool, the tokens of pictures that a base reads in both directions.

    Returns:
        (1, 1, 2, L) int64: the sample of each token, and the number of the picture that it sees all of, or -1. On the
        CPU, where a look at it waits for no other device.
    """
    samples = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    if pictures is None:
        return torch.stack([samples, torch.full_like(samples, -1)])[None, None]
    shown = pictures[0].cpu()
    begins = shown & ~shown.roll(1)
    begins[0] = shown[0]
    return torch.stack([samples, begins.cumsum(0).where(shown, -1)])[None, None]


@torch.compiler.disable  # type: ignore[untyped-decorator]  # every row has another number of samples, of other lengths
def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    sliding_window: int | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """(1, H, L, d) each -> (1, L, H, d); arguments as transformers' own functions of attention have them."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if attention_mask is None or attention_mask.dtype != torch.int64:
        attended: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, **options
        )
        return attended
    samples, pictures = attention_mask[0, 0]
    lengths = samples.unique_consecutive(return_counts=True)[1].tolist()
    masks = [_mask(of_sample, sliding_window, query.device) for of_sample in torch.split(pictures, lengths)]
    parts = zip(*(torch.split(states, lengths, 2) for states in (query, key, value)), masks, strict=True)
    return torch.cat([sdpa_attention_forward(module, *part, **options)[0] for part in parts], 1), None


def _mask(pictures: torch.Tensor, window: int | None, device: torch.device) -> torch.Tensor | None:
    """(1, 1, l, l) bool, what each token of a sample sees; None where that is all before it."""
    furthest = len(pictures) if window is None else window
    both_ways = bool((pictures >= 0).any())
    if len(pictures) <= furthest and not both_ways:
        return None
    places = torch.arange(len(pictures), device=device)
    back = places[:, None] - places
    seen = back >= 0
    if both_ways:
        pictures = pictures.to(device)
        seen |= (pictures[:, None] == pictures) & (pictures >= 0)
    return (seen & (back < furthest))[None, None]
