"""A training step beside transformers' own LLaVA: `python -m experiments.benchmarks.training_step`.

Both sides have the same weights, batch and labels and run forward, backward and AdamW; the vision tower is frozen on
both, everything else learns. Ours has marks and guide head on top, which learn too but are given no region, so that
both losses are the same; it computes logits at the labels only and stops the tower at the layer whose features it uses.
The peer is called as transformers' Trainer calls it, without a key-value cache.

Time: steps taken in turn in one process. Memory: each side in a process of its own, from before its weights are made to
the peak of its second step, when the optimiser has its state; freed tensors are given back to the system at once.
Losses: the largest relative difference of all steps.

What the profile says, at 576 tokens on two CPU cores: 61 % of ours is matrix products, 13 % attention, some 10 % AdamW;
the peer's is the same and the output head on top, whose logits, their log-softmax and its gradient are the difference
in memory.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from datamodules.batching.batch import RegionBatch
from datamodules.batching.visual_processor import VisualProcessor
from experiments.benchmarks.fresh_process import in_fresh_process
from experiments.benchmarks.markdown import table
from experiments.benchmarks.models import MIDDLE, TINY, make_batch, make_module, training_loss
from experiments.benchmarks.peak_memory import PeakMemory, give_back_at_once
from experiments.benchmarks.timing import in_turn
from lightning_modules.planning.step import Step
from lightning_modules.region_module import RegionModule
from lightning_modules.training.optimizers import make_optimizer

if TYPE_CHECKING:
    from transformers import LlavaForConditionalGeneration

GIB = 2**30
HEADER = ("visual tokens", "throughput, ours / peer", "95 %", "peak memory, ours / peer", "GiB", "losses differ by")

TrainingStep = Callable[[], float]


def make_peer(module: RegionModule, device: str) -> LlavaForConditionalGeneration:
    """Transformers' model of the same architecture, with random weights and the same ones frozen."""
    from transformers import LlavaForConditionalGeneration

    with torch.device(device):
        peer: LlavaForConditionalGeneration = LlavaForConditionalGeneration._from_config(module.backbone.model.config)
    peer.model.vision_tower.requires_grad_(False)
    return peer


def our_step(module: RegionModule, batch: RegionBatch) -> TrainingStep:
    """Forward, backward and AdamW; returns the loss."""
    return _step(lambda: training_loss(module, batch), module.parameters())


def peer_step(peer: LlavaForConditionalGeneration, batch: RegionBatch, vision: VisualProcessor) -> TrainingStep:
    """The same of transformers' model, with -100 where there is no label, on pixels as its own processor gives them."""
    inputs: dict[str, Any] = {
        "input_ids": batch.input_ids,
        "attention_mask": batch.attention_mask,
        "pixel_values": vision.model_inputs(batch.inputs)["pixel_values"],
        "labels": _labels(batch),
    }
    return _step(lambda: peer(**inputs, use_cache=False).loss, peer.parameters())


def _labels(batch: RegionBatch) -> torch.Tensor:
    """The supervised tokens where they stand, as transformers takes them."""
    ids, labelled = batch.input_ids.flatten(), batch.supervised + 1
    labels = torch.full_like(ids, -100).index_copy(0, labelled, ids.index_select(0, labelled))
    return labels.view_as(batch.input_ids)


def _step(loss: Callable[[], torch.Tensor], weights: Iterable[nn.Parameter]) -> TrainingStep:
    learning = [weight for weight in weights if weight.requires_grad]
    optimizer = make_optimizer("adamw", learning, rate=1e-4, betas=(0.9, 0.999), decay=0.0)

    def step() -> float:
        optimizer.zero_grad()
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]  # torch's
        optimizer.step()
        return value.item()

    return step


def peak_memory(side: str, architecture: dict[str, Any], step: Step, device: str) -> int:
    """Bytes that two steps of one side, `ours` or `peer`, take at most."""
    memory = PeakMemory(device)
    give_back_at_once()
    module = make_module(architecture, device if side == "ours" else "meta")
    batch = make_batch(module, step).to(device)
    run = our_step(module, batch) if side == "ours" else peer_step(make_peer(module, device), batch, module.vision)
    run(), run()
    return memory.grown()


def compare(architecture: dict[str, Any], step: Step, repeats: int, device: str) -> list[str]:
    """A row of the table."""
    taken = [in_fresh_process(partial(peak_memory, side, architecture, step, device)) for side in ("ours", "peer")]
    module = make_module(architecture, device)
    peer = make_peer(module, device)
    peer.load_state_dict(module.backbone.model.state_dict())
    batch = make_batch(module, step).to(device)
    ours, theirs = _Losses(our_step(module, batch)), _Losses(peer_step(peer, batch, module.vision))
    paired = in_turn(theirs, ours, repeats)
    differ = max(abs(one - other) / other for one, other in zip(ours.losses, theirs.losses, strict=True))
    low, high = paired.interval
    return [
        str(sum(batch.token_counts) // step.samples),
        f"{paired.ratio:.2f}",
        f"{low:.2f} to {high:.2f}",
        f"{taken[0] / taken[1]:.2f}",
        f"{taken[0] / GIB:.2f} / {taken[1] / GIB:.2f}",
        f"{differ:.0e}",
    ]


class _Losses:
    """A step that remembers its losses."""

    def __init__(self, step: TrainingStep) -> None:
        self.step = step
        self.losses: list[float] = []

    def __call__(self) -> None:
        self.losses.append(self.step())


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a row for each number of frames."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs="+", default=[1, 4], help="of a sample (%(default)s)")
    parser.add_argument("--samples", type=int, default=1, help="of a step (%(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="steps of each side (%(default)s)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="(%(default)s)")
    parser.add_argument("--tiny", action="store_true", help="a model of a moment, to see that it runs")
    asked = parser.parse_args(arguments)
    architecture = TINY if asked.tiny else MIDDLE
    steps = [Step(asked.samples, frames, text_tokens=200, answer_tokens=60, regions=0) for frames in asked.frames]
    rows = [compare(architecture, step, asked.repeats, asked.device) for step in steps]
    sys.stdout.write(table(HEADER, rows))


if __name__ == "__main__":
    main()
