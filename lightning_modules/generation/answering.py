"""What a model says to a batch: predictions of text and options, and where its guide head sees the marks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from datamodules.batching.batch import RegionBatch
from datamodules.clusters import cluster_of
from datamodules.prompting.conversation import ConversationRenderer
from datamodules.types import RegionSample
from lightning_modules.backbone import BackboneOutput, TokenMarkBackbone
from lightning_modules.generation.decoding import OptionScores, generate, score_options, scored_options
from lightning_modules.generation.steps import GenerationOptions
from lightning_modules.region_guide import heat_map
from lightning_modules.training.ranks import sum_over_ranks, world_size
from metrics import Prediction

UNSCORED = OptionScores((), ())
"""Of a sample whose options nobody has scored."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What an evaluation step hands to callbacks: `heat` (V, N) is the guide head's map, None without one."""

    predictions: list[Prediction]
    heat: torch.Tensor | None

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Answered:
        """The same on `device`; Lightning moves what `predict` gathers."""
        return replace(self, heat=None if self.heat is None else self.heat.to(device, non_blocking=non_blocking))


@torch.no_grad()
def answer(
    backbone: TokenMarkBackbone,
    renderer: ConversationRenderer,
    batch: RegionBatch,
    output: BackboneOutput,
    max_new_tokens: int,
    options: GenerationOptions = GenerationOptions(),  # noqa: B008  # it is frozen
) -> Answered:
    """Generated text for the last turn of every sample; where it has options, their likelihoods too.

    Args:
        backbone: The model. With sharded weights all ranks have to call this together.
        renderer: Of its words.
        batch: What is asked.
        output: What the backbone made of it.
        max_new_tokens: Most tokens of an answer.
        options: How they are generated.
    """
    texts = generate(backbone, renderer, batch, max_new_tokens, synced=world_size() > 1, options=options)
    # sharded weights need every rank in every pass, so all ranks score options when one has to
    choosing = torch.tensor(float(any(map(scored_options, batch.samples))), device=output.logits.device)
    scored = score_options(backbone, renderer, batch) if sum_over_ranks(choosing) > 0 else [UNSCORED] * len(batch)
    predictions = [
        prediction(sample, prompt, text, scores)
        for sample, prompt, text, scores in zip(batch.samples, batch.prompts, texts, scored, strict=True)
    ]
    logits, marks = output.guide_logits, output.marks
    heat = None if logits is None or marks is None else heat_map(logits, batch, marks)
    return Answered(predictions, heat)


def prediction(sample: RegionSample, prompt: str, text: str, scores: OptionScores = UNSCORED) -> Prediction:
    """What was said to the last turn of a sample, with all that scoring it needs.

    Args:
        sample: What was asked.
        prompt: The text of it.
        text: The answer.
        scores: Of its options, where they have some.
    """
    turn = sample.conversation[-1]
    return Prediction(
        id=sample.id,
        task=sample.task,
        group=sample.group,
        prompt=prompt,
        prediction=text.strip(),
        references=turn.references or (turn.answer,),
        options=sample.options,
        label=sample.label,
        option_scores=scores.log_likelihoods,
        option_lengths=scores.lengths,
        answering=sample.answering,
        protocol=sample.protocol,
        cluster=cluster_of(sample),
        meta=dict(sample.meta),
    )
