"""Answers: text by generation, or the likelihood of each option behind one shared prefix.

Letters: B samples, P tokens of the longest prompt, O options (padded to the batch's most), A tokens of the longest
option.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence
from transformers import LogitsProcessor

from datamodules.batching.batch import Places, RegionBatch
from datamodules.prompting.conversation import ConversationRenderer, Rendered
from datamodules.types import RegionSample
from lightning_modules.backbone import TokenMarkBackbone, Told
from lightning_modules.generation.followed_mentions import FollowedMentions
from lightning_modules.generation.mentions import GeneratedMentions
from lightning_modules.generation.steps import GenerationOptions
from lightning_modules.generation.streaming import FollowAnswers, StreamedAnswer


@dataclass(frozen=True, slots=True)
class OptionScores:
    """Of one sample's options: `log_likelihoods`, natural log, summed over `lengths` tokens; texts not in it."""

    log_likelihoods: tuple[float, ...]
    lengths: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Prompts:
    """What stands before `prompt_lengths`, padded on the left.

    Attributes:
        ids: (B, P) int64.
        attention: (B, P) int64, 0 on padding.
        places: Where visual tokens and placeholders stand in them.
    """

    ids: torch.Tensor
    attention: torch.Tensor
    places: Places

    @classmethod
    def of(cls, batch: RegionBatch) -> Prompts:
        """The prompts of a batch; padding carries the id 0, which attention never sees."""
        assert not batch.packed, "prompts have rows of their own"
        longest, width = max(batch.prompt_lengths), batch.input_ids.shape[1]
        missing = [longest - length for length in batch.prompt_lengths]
        rows = [ids[:length] for ids, length in zip(batch.input_ids, batch.prompt_lengths, strict=True)]
        moved = [row * (longest - width) + lack for row, lack in enumerate(missing)]
        # what stands before the last answer of each sample, then what stands in it
        parts = [count for counts in batch.placeholder_counts for count in counts]
        placeholders, owner, slots = (torch.split(values, parts)[::2] for values in batch.places[1:])
        visual = torch.split(batch.places.visual, list(batch.token_counts))
        return cls(
            torch.stack([F.pad(row, (lack, 0)) for row, lack in zip(rows, missing, strict=True)]),
            torch.stack([F.pad(torch.ones_like(row), (lack, 0)) for row, lack in zip(rows, missing, strict=True)]),
            Places(_moved(visual, moved), _moved(placeholders, moved), torch.cat(owner), torch.cat(slots)),
        )


def _moved(places: Sequence[torch.Tensor], moved: Sequence[int]) -> torch.Tensor:
    """Places of each sample, so much further on."""
    return torch.cat([of_sample + by for of_sample, by in zip(places, moved, strict=True)])


@torch.no_grad()
def generate(
    backbone: TokenMarkBackbone,
    renderer: ConversationRenderer,
    batch: RegionBatch,
    max_new_tokens: int,
    synced: bool = False,
    streamed: Sequence[StreamedAnswer] = (),
    options: GenerationOptions = GenerationOptions(),  # noqa: B008  # it is frozen
) -> list[str]:
    """The most likely answers, greedily, one text a sample; of a region that is named the index alone.

    Args:
        backbone: The model.
        renderer: Decodes, and knows the special tokens.
        batch: What is asked; only what stands before `prompt_lengths` is read.
        max_new_tokens: Most tokens of an answer.
        synced: Ranks wait for each other in every step, which sharded weights need.
        streamed: One for each sample, which may end before `max_new_tokens`; or none, if nobody listens.
        options: Of the cache and of compiling.

    Raises:
        DataError: The base has no cache of that kind.
    """
    prompts = Prompts.of(batch)
    mentions = GeneratedMentions(renderer, batch.region_texts)
    length, regions = prompts.ids.shape[1], [len(sample.regions) for sample in batch.samples]
    with backbone.telling(batch, prompts.places) as told, options.steps(backbone.base):
        rows = backbone.model.generate(
            input_ids=prompts.ids,
            attention_mask=prompts.attention,
            **backbone.inputs(batch, prompts.ids),
            **options.inputs(backbone.base, length + max_new_tokens),
            logits_processor=[MentionProcessor(mentions, told, length)],
            stopping_criteria=[FollowAnswers(streamed, mentions, length, regions)] if streamed else None,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            synced_gpus=synced,
        )
    generated = rows[:, length:].tolist()
    return [renderer.decode(mentions.said(row, ids)) for row, ids in enumerate(generated)]


class MentionProcessor(LogitsProcessor):
    """Lets what stands for a region follow its complete index, and a placeholder nothing else.

    In training an answer's `[0]` is followed by the placeholder of region 0 as unsupervised input; so it is here.
    Generated tokens are read where they are: the host does not wait for them.

    Args:
        mentions: What is shown for each region.
        told: Is handed the slot of each placeholder that comes next.
        prompt_length: Ids of a row that were not generated.
    """

    def __init__(self, mentions: GeneratedMentions, told: Told, prompt_length: int) -> None:
        self.mentions = mentions
        self.told = told
        self.read = prompt_length
        self.followed: FollowedMentions | None = None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Args: input_ids: (rows, prompt and generated tokens); scores: (rows, vocabulary)."""
        if self.followed is None:
            self.followed = FollowedMentions(self.mentions, len(input_ids), input_ids.device)
        for column in range(self.read, input_ids.shape[1]):
            self.followed.follow(input_ids[:, column])
        self.read = input_ids.shape[1]
        due, slots = self.followed.due
        free = scores.clone()
        free[:, self.mentions.region_id] = -torch.inf
        place, is_due = due.clamp(min=0).unsqueeze(1), (due >= 0).unsqueeze(1)
        score = scores.gather(1, place)
        forced = torch.full_like(scores, -torch.inf).scatter(1, place, score.masked_fill(~score.isfinite(), 0.0))
        self.told.slots = slots.unsqueeze(1)
        return forced.where(is_due, free)


def scored_options(sample: RegionSample) -> tuple[str, ...]:
    """The options whose likelihood decides; none where a letter is generated."""
    return sample.options if sample.answering == "likelihood" else ()


@torch.no_grad()
def score_options(
    backbone: TokenMarkBackbone, renderer: ConversationRenderer, batch: RegionBatch
) -> list[OptionScores]:
    """The log-likelihood of every option of every sample, as an answer to the same prompt.

    The prompts, with all their visual tokens, pass the language model once; every option continues their key-value
    cache. Samples may have different numbers of options, also none.
    """
    rendered = [
        [renderer.answer(text, region_texts) for text in scored_options(sample)]
        for sample, region_texts in zip(batch.samples, batch.region_texts, strict=True)
    ]
    most = max(1, *map(len, rendered))
    prompts = Prompts.of(batch)
    options = _padded(rendered, most, prompts.ids.device)
    with backbone.telling(batch, prompts.places) as told:
        core, base = backbone.base.core, backbone.base
        prefix = core(
            input_ids=prompts.ids,
            attention_mask=prompts.attention,
            position_ids=base.positions(prompts.attention, any(batch.token_counts)),
            **backbone.inputs(batch, prompts.ids),
            use_cache=True,
        )
        positions = base.next_positions(prompts.attention, options.ids.shape[1]).repeat_interleave(most, -2)
        rows = torch.arange(len(batch), device=prompts.ids.device).repeat_interleave(most)
        prefix.past_key_values.reorder_cache(rows)  # the one way to repeat rows that linear attention has too
        told.slots = options.placeholder
        continued = core(
            input_ids=options.ids,
            attention_mask=torch.cat([prompts.attention.repeat_interleave(most, 0), torch.ones_like(options.ids)], 1),
            position_ids=positions,
            past_key_values=prefix.past_key_values,
            use_cache=True,
        )
    last = prefix.last_hidden_state[:, -1:].repeat_interleave(most, 0)
    before = torch.cat([last, continued.last_hidden_state[:, :-1]], 1)
    chances = base.logits(before[options.loss]).float().log_softmax(-1)
    chosen = chances.gather(1, options.ids[options.loss].unsqueeze(1))
    sums = torch.zeros(options.loss.shape, device=chosen.device).masked_scatter(options.loss, chosen).sum(1)
    lengths = options.loss.sum(1).view(-1, most)
    return [
        OptionScores(tuple(total[: len(texts)].tolist()), tuple(length[: len(texts)].tolist()))
        for total, length, texts in zip(sums.view(-1, most), lengths, rendered, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class _Options:
    """The options of a batch, (B * O, A) each: `ids`, `loss` and `placeholder`."""

    ids: torch.Tensor
    loss: torch.Tensor
    placeholder: torch.Tensor


def _padded(rendered: Sequence[Sequence[Rendered]], most: int, device: torch.device) -> _Options:
    rows = [
        option for options in rendered for option in [*options, *[Rendered([0], [False], [-1])] * (most - len(options))]
    ]
    return _Options(
        pad_sequence([torch.tensor(row.ids) for row in rows], batch_first=True).to(device),
        pad_sequence([torch.tensor(row.loss) for row in rows], batch_first=True).to(device),
        pad_sequence([torch.tensor(row.placeholder) for row in rows], batch_first=True, padding_value=-1).to(device),
    )
