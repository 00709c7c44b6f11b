"""Answers: text by generation, or the likelihood of each option behind one shared prefix.

Letters: B samples, P tokens of the longest prompt, O options (padded to the batch's most), A tokens of the longest
option, D width of the language model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.utils.rnn import pad_sequence

from datamodules.conversation import ConversationRenderer, Rendered
from datamodules.types import RegionBatch, RegionSample
from lightning_modules.backbone import Embedded, TokenMarkBackbone
from lightning_modules.mentions import GeneratedMentions
from lightning_modules.region_llava import MentionProcessor


@dataclass(frozen=True, slots=True)
class OptionScores:
    """Of one sample's options: `log_likelihoods`, natural log, summed over `lengths` tokens; stand-ins not in it."""

    log_likelihoods: tuple[float, ...]
    lengths: tuple[int, ...]


@torch.no_grad()
def generate(
    backbone: TokenMarkBackbone,
    renderer: ConversationRenderer,
    batch: RegionBatch,
    embedded: Embedded,
    max_new_tokens: int,
    synced: bool = False,
) -> list[str]:
    """The most likely answers, greedily, one text a sample; of a region that is named the index alone.

    Args:
        backbone: The model.
        renderer: Decodes, and knows the special tokens.
        batch: What is asked; only what stands before `prompt_lengths` is read.
        embedded: The batch's embeddings.
        max_new_tokens: Most tokens of an answer.
        synced: Ranks wait for each other in every step, which sharded weights need.
    """
    prompts, attention = _left_aligned(embedded.embeddings, batch.prompt_lengths)
    mentions = GeneratedMentions(renderer, batch.stand_ins)
    generated = backbone.llava.generate(
        inputs_embeds=prompts,
        attention_mask=attention,
        region_embeddings=embedded.reference.text,
        mentions=mentions,
        logits_processor=[MentionProcessor(mentions)],
        max_new_tokens=max_new_tokens,
        do_sample=False,
        synced_gpus=synced,
    )
    return [renderer.decode(mentions.said(row, ids)) for row, ids in enumerate(generated.tolist())]


def scored_options(sample: RegionSample) -> tuple[str, ...]:
    """The options whose likelihood decides; none where a letter is generated."""
    return sample.options if sample.answering == "likelihood" else ()


@torch.no_grad()
def score_options(
    backbone: TokenMarkBackbone, renderer: ConversationRenderer, batch: RegionBatch, embedded: Embedded
) -> list[OptionScores]:
    """The log-likelihood of every option of every sample, as an answer to the same prompt.

    The prompts, with all their visual tokens, pass the language model once; every option continues their key-value
    cache. Samples may have different numbers of options, also none.
    """
    rendered = [
        [renderer.answer(text, stand_ins) for text in scored_options(sample)]
        for sample, stand_ins in zip(batch.samples, batch.stand_ins, strict=True)
    ]
    most = max(1, *map(len, rendered))
    prompts, attention = _left_aligned(embedded.embeddings, batch.prompt_lengths)
    model = backbone.llava.model.language_model
    prefix = model(inputs_embeds=prompts, attention_mask=attention, position_ids=_positions(attention), use_cache=True)
    prefix.past_key_values.batch_repeat_interleave(most)
    ids, embeddings, loss = _options(backbone, rendered, most, embedded)
    attention = torch.cat([attention.repeat_interleave(most, 0), torch.ones_like(ids)], 1)
    continued = model(
        inputs_embeds=embeddings,
        attention_mask=attention,
        position_ids=_positions(attention)[:, -ids.shape[1] :],
        past_key_values=prefix.past_key_values,
    )
    before = torch.cat(
        [prefix.last_hidden_state[:, -1:].repeat_interleave(most, 0), continued.last_hidden_state[:, :-1]], 1
    )
    chances = backbone.llava.lm_head(before[loss]).float().log_softmax(-1).gather(1, ids[loss].unsqueeze(1))
    sums = torch.zeros(loss.shape, device=loss.device).masked_scatter(loss, chances).sum(1).view(-1, most)
    lengths = loss.sum(1).view(-1, most)
    return [
        OptionScores(tuple(total[: len(options)].tolist()), tuple(length[: len(options)].tolist()))
        for total, length, options in zip(sums, lengths, rendered, strict=True)
    ]


def _options(
    backbone: TokenMarkBackbone, rendered: Sequence[Sequence[Rendered]], most: int, embedded: Embedded
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids (B * O, A), embeddings (B * O, A, D) with their placeholders filled, and loss mask (B * O, A)."""
    device = embedded.embeddings.device
    rows = [
        option for options in rendered for option in [*options, *[Rendered([0], [False], [-1])] * (most - len(options))]
    ]
    ids = pad_sequence([torch.tensor(row.ids) for row in rows], batch_first=True).to(device)
    loss = pad_sequence([torch.tensor(row.loss) for row in rows], batch_first=True).to(device)
    slots = pad_sequence([torch.tensor(row.placeholder) for row in rows], batch_first=True, padding_value=-1)
    embeddings = backbone.llava.get_input_embeddings()(ids)
    row, column = (slots >= 0).nonzero(as_tuple=True)
    shown = embedded.reference.text[row // most, slots[row, column]]
    embeddings[row, column] = shown.to(embeddings.dtype)
    return ids, embeddings, loss


def _left_aligned(embeddings: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The first `lengths` embeddings of each row, padded on the left: (B, P, D), and their attention mask (B, P)."""
    longest = int(lengths.max())
    source = torch.arange(longest, device=embeddings.device) - (longest - lengths).unsqueeze(1)
    inside = source >= 0
    index = source.clamp(min=0).unsqueeze(-1).expand(-1, -1, embeddings.shape[-1])
    return embeddings.gather(1, index) * inside.unsqueeze(-1), inside.long()


def _positions(attention: torch.Tensor) -> torch.Tensor:
    return (attention.cumsum(1) - 1).clamp(min=0)
