"""What a device works on at once, and a batch of it that can be measured."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from datamodules.batching.batch import RegionBatch
from datamodules.batching.collate import Collate
from datamodules.batching.processor import Processed, draw_marks, visual_places
from datamodules.batching.visual_processor import VisualPrompt
from datamodules.errors import DataError
from datamodules.prompting.conversation import Rendered
from datamodules.prompting.region_text import RegionText
from datamodules.regions.region_weights import region_weights
from datamodules.types import Box, Clip, Pixels, Region, RegionSample, Turn
from lightning_modules.planning.weightless import without_values
from lightning_modules.region_module import RegionModule

WORD = 0  # the id of every token of text


@dataclass(frozen=True, slots=True)
class Step:
    """What a device works on at once; all samples are alike.

    Attributes:
        samples: B.
        frames: Of each sample.
        text_tokens: Of each sample, question and answer, beside those that stand for its pictures.
        answer_tokens: Those of them that are supervised.
        regions: N, of each sample, known on every frame.
        frame_size: Height and width of a frame in pixels.
        packed: Whether they share a row.
    """

    samples: int
    frames: int
    text_tokens: int
    answer_tokens: int
    regions: int = 1
    frame_size: tuple[int, int] = (720, 1280)
    packed: bool = False

    def answering(self, new_tokens: int) -> Step:
        """The same with answers of so many tokens."""
        return replace(self, text_tokens=self.text_tokens - self.answer_tokens + new_tokens, answer_tokens=new_tokens)


def make_batch(module: RegionModule, step: Step) -> RegionBatch:
    """The batch of a step, its pixels and weights without values.

    Where there are several samples the last has one token of text less: batches of prompts are padded, and masks of
    padding take memory.

    Raises:
        DataError: The text has no room for what is read for the regions, or the model cannot take such frames.
    """
    clip = Clip(np.zeros((step.frames, *step.frame_size, 3), np.uint8), tuple(range(step.frames)))
    half = Box((0, 0, step.frame_size[1] / 2, step.frame_size[0] / 2))
    region = Region.at(half, track=dict.fromkeys(range(step.frames), half))
    sample = RegionSample("planned", Pixels(clip.pixels), (region,) * step.regions, (Turn("", ""),))
    base, pointing = module.backbone.base, module.backbone.region_encoder.pointing
    visual = module.vision(clip)
    weights = region_weights(sample.regions, clip.frames, visual.views, visual.tokens, base.causal)
    visual = replace(visual, inputs={name: _stripped(value) for name, value in visual.inputs.items()})
    region_texts = pointing.region_texts(sample.regions, clip)
    texts = [step.text_tokens] * step.samples
    texts[-1] -= step.samples > 1
    collate = Collate(module.vision)
    batch = (collate.packed if step.packed else collate)(
        [
            Processed(
                *(sample, visual, clip.frames, weights, rendered, visual_places(rendered.ids, base.visual_ids)),
                *(region_texts, 0, draw_marks(module.backbone.region_encoder.num_marks, step.regions, 0)),
            )
            for rendered in (_text(module, visual, region_texts, text, step) for text in texts)
        ]
    )
    return replace(
        batch,
        mark_weights=without_values(batch.mark_weights),
        guide_weights=without_values(batch.guide_weights),
    )


def _stripped(values: torch.Tensor) -> torch.Tensor:
    """Pixels without values; grids, and the seconds between frames, decide positions."""
    pixels = values.dtype == torch.uint8 or (values.is_floating_point() and values.dim() > 1)
    return without_values(values) if pixels else values


def _text(
    module: RegionModule, visual: VisualPrompt, region_texts: tuple[RegionText, ...], tokens: int, step: Step
) -> Rendered:
    """A conversation of so many tokens beside the picture's; plain text around pictures has a token a byte."""
    vocabulary = module.renderer.tokenizer.get_vocab()
    slots = [slot for region_text in region_texts for slot in region_text.slots]
    prompt = tokens - step.answer_tokens
    if len(slots) > prompt:
        raise DataError(f"{prompt} text tokens before the answer, but {len(slots)} stand for regions")
    text = Rendered()
    for run in visual.text:
        ids = [vocabulary.get(run.text, WORD)] if run.special else [WORD] * len(run.text.encode())
        text.append(ids * run.count)
    for slot in [*slots, *[-1] * (prompt - len(slots))]:
        text.append([WORD], slot=slot)
    text.prompt_length = len(text.ids)
    text.append([WORD] * step.answer_tokens, loss=True)
    return text
