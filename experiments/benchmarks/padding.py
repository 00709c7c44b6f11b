"""How many tokens are padding, by token budget and in random batches: `python -m experiments.benchmarks.padding`.

Half of the samples are images of 576 visual tokens, half are clips of four frames, 2,304 tokens, in random order. The
text of a sample is 45 tokens of prompt and a log-normal number with median 80 and sigma 0.7; these parameters are
chosen to look real and fitted to no data set. Both ways split the same steps: random batches take a fixed number of
samples in order, budgets group a step's samples by length. Nothing is trained: padding is a matter of lengths alone.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from datamodules.batching.packing import pack, padded_tokens

IMAGE, VIDEO = 576, 2304
PROMPT, MEDIAN, SIGMA = 45, 80, 0.7


class Row(NamedTuple):
    """What one way of splitting comes to: `padding` is a share of all tokens, `largest` the tokens of a pass."""

    name: str
    padding: float
    samples_per_pass: float
    largest: int


def draw_lengths(samples: int, seed: int) -> NDArray[np.int64]:
    """(samples,) tokens of images and videos in random order, as many of each."""
    rng = np.random.default_rng(seed)
    visual = rng.permutation(np.repeat([IMAGE, VIDEO], samples // 2))
    return visual + PROMPT + np.round(rng.lognormal(np.log(MEDIAN), SIGMA, len(visual))).astype(np.int64)


def measure(name: str, steps: Sequence[list[int]], splits: Sequence[list[list[int]]]) -> Row:
    """Args: name; steps: lengths of the samples of each; splits: places of the samples of each pass, by step."""
    padded = [padded_tokens(step, [group]) for step, split in zip(steps, splits, strict=True) for group in split]
    return Row(name, 1 - sum(map(sum, steps)) / sum(padded), sum(map(len, steps)) / len(padded), max(padded))


def compare(samples: int, step: int, ranks: int, budgets: Sequence[int], sizes: Sequence[int], seed: int) -> list[Row]:
    """Random batches of some sizes and token budgets, over the same steps of `step` samples on `ranks` ranks."""
    lengths = draw_lengths(samples, seed).tolist()
    steps = [lengths[start : start + step] for start in range(0, samples - step + 1, step)]
    in_order = list(range(step))
    rows = []
    for size in sizes:
        fixed = [in_order[start : start + size] for start in range(0, step, size)]
        rows.append(measure(f"random batches of {size}", steps, [fixed] * len(steps)))
    for budget in budgets:
        dealt = [[group for of_rank in pack(one, budget, ranks) for group in of_rank] for one in steps]
        rows.append(measure(f"token budget {budget:,}", steps, dealt))
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a table for each size of a step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=8192, help="samples of the mixture (%(default)s)")
    parser.add_argument("--ranks", type=int, default=8, help="ranks that share a step (%(default)s)")
    parser.add_argument("--steps", type=int, nargs="+", default=[16, 64, 256], help="samples of a step (%(default)s)")
    parser.add_argument("--budgets", type=int, nargs="+", default=[4096, 8192, 16384], help="(%(default)s)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[2, 4, 8], help="of random batches (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(%(default)s)")
    asked = parser.parse_args(arguments)
    for step in asked.steps:
        sys.stdout.write(f"\n{step} samples a step on {asked.ranks} ranks\n")
        sys.stdout.write(f"{'':24}{'padding':>10}{'samples a pass':>16}{'largest pass':>14}\n")
        for row in compare(asked.samples, step, asked.ranks, asked.budgets, asked.sizes, asked.seed):
            name, padding, per_pass, largest = row
            sys.stdout.write(f"{name:24}{100 * padding:>8.2f} %{per_pass:>16.2f}{largest:>14,}\n")


if __name__ == "__main__":
    main()
