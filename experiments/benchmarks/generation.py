"""Captions in batches over captions one by one: `python -m experiments.benchmarks.generation`.

Both ways run the vision tower, read the prompt and generate greedily with the same functions; one at a time is what
evaluation scripts of region models commonly do. Questions are of different lengths, so that a batch has padding. The
end of sequence is switched off, so that every caption has the same number of new tokens, and all texts are equal. The
quickstart's model runs on one thread, as its configuration has it.

What the profile says: the quickstart's model is bound by calls, one by one sixteen times as many as in a batch of 16.
Of the larger one two thirds are linear layers, most of them in the pass over the prompt, which a batch
does not make cheaper; what it saves is reading the weights once a step for all captions.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from datamodules.batching.batch import RegionBatch
from datamodules.batching.collate import Collate
from datamodules.types import Box, Pixels, Region, RegionSample, Turn
from experiments.benchmarks.markdown import table
from experiments.benchmarks.models import MIDDLE, TINY, make_module, side_of, yaml_architecture
from experiments.benchmarks.timing import in_turn
from lightning_modules.generation.decoding import generate
from lightning_modules.region_module import RegionModule

QUICKSTART = Path(__file__).parents[1] / "shapes_base.yaml"
"""Whose model the quickstart starts from."""
HEADER = ("model", "captions/s, batched / one by one", "95 %", "equal texts")


def make_samples(module: RegionModule, count: int) -> list[RegionSample]:
    """Images of noise with one region each, and questions of different lengths."""
    rng = np.random.default_rng(0)
    side = side_of(module)
    return [
        RegionSample(
            str(number),
            Pixels(rng.integers(0, 256, (1, side, side, 3), dtype=np.uint8)),
            (Region.at(Box((0, 0, side / 2, side / (1 + number % 3)))),),
            (Turn(f"Describe <region> in {'very ' * (number % 4)}few words"),),
        )
        for number in range(count)
    ]


def captions(module: RegionModule, batches: Sequence[RegionBatch], new_tokens: int) -> list[str]:
    """The captions of all batches, in order."""
    texts: list[str] = []
    with torch.no_grad():
        for batch in batches:
            texts += generate(module.backbone, module.renderer, batch, new_tokens)
    return texts


def compare(
    name: str, architecture: dict[str, Any], count: int, new_tokens: int, repeats: int, device: str
) -> list[str]:
    """A row of the table."""
    module = make_module(architecture, device).eval()
    module.backbone.model.generation_config.eos_token_id = None
    process = module.processor(num_frames=1)
    collate = Collate(module.vision)
    items = [process(sample) for sample in make_samples(module, count)]
    together, apart = [collate(items).to(device)], [collate([item]).to(device) for item in items]
    batched, one_by_one = (partial(captions, module, batches, new_tokens) for batches in (together, apart))
    texts = list(zip(batched(), one_by_one(), strict=True))  # warms up, too
    same = sum(one == other for one, other in texts)
    assert same == count, f"only {same} of {count} captions are equal"
    paired = in_turn(one_by_one, batched, repeats, warm_up=0)
    low, high = paired.interval
    return [name, f"{paired.ratio:.2f}", f"{low:.2f} to {high:.2f}", f"{same} of {count}"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a row for each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=16, help="captions (%(default)s)")
    parser.add_argument("--new-tokens", type=int, default=20, help="of a caption (%(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each way (%(default)s)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="(%(default)s)")
    parser.add_argument("--tiny", action="store_true", help="a model of a moment, to see that it runs")
    asked = parser.parse_args(arguments)
    threads = torch.get_num_threads()
    models = {"quickstart": (yaml_architecture(QUICKSTART), 1), "120 M weights": (MIDDLE, threads)}
    rows = []
    for name, (architecture, count) in ({"tiny": (TINY, 1)} if asked.tiny else models).items():
        torch.set_num_threads(count)
        rows.append(compare(name, architecture, asked.batch, asked.new_tokens, asked.repeats, asked.device))
    torch.set_num_threads(threads)
    sys.stdout.write(table(HEADER, rows))


if __name__ == "__main__":
    main()
