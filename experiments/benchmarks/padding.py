"""How many tokens are padding, in random batches, by budget and packed: `python -m experiments.benchmarks.padding`.

Half of the samples are images of 576 visual tokens, half are clips of four frames, 2,304 tokens, in random order. The
text of a sample is 45 tokens of prompt and a log-normal number with median 80 and sigma 0.7; these parameters are
chosen to look real and fitted to no data set. All ways split the same steps: random batches take a fixed number of
samples in order, budgets group a step's samples by length, rows are filled. Nothing is trained: it is a matter of
lengths alone.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from datamodules.batching.packing import fill_rows, pack, padded_tokens

IMAGE, VIDEO = 576, 2304
PROMPT, MEDIAN, SIGMA = 45, 80, 0.7


class Row(NamedTuple):
    """What one way of splitting comes to.

    Attributes:
        name: Of the way.
        padding: Share of the tokens that are computed.
        samples_per_pass: On average.
        largest: Tokens of a pass.
        used: Tokens of samples over all that the ranks could compute until the one with the longest pass is through.
        fill: Tokens of samples over those of passes that are as large as the budget; of random batches, as the largest.
    """

    name: str
    padding: float
    samples_per_pass: float
    largest: int
    used: float
    fill: float


def draw_lengths(samples: int, seed: int) -> NDArray[np.int64]:
    """(samples,) tokens of images and videos in random order, as many of each."""
    rng = np.random.default_rng(seed)
    visual = rng.permutation(np.repeat([IMAGE, VIDEO], samples // 2))
    return visual + PROMPT + np.round(rng.lognormal(np.log(MEDIAN), SIGMA, len(visual))).astype(np.int64)


def measure(
    name: str,
    steps: Sequence[list[int]],
    splits: Sequence[list[list[list[int]]]],
    budget: int | None = None,
    packed: bool = False,
) -> Row:
    """What a way of splitting steps comes to.

    Args:
        name: Of the way.
        steps: Lengths of the samples of each step.
        splits: Of each step the passes of every rank, each the places of its samples.
        budget: Most tokens of a pass, if there is a limit.
        packed: Whether the samples of a pass share a row.
    """
    tokens = sum(map(sum, steps))
    computed, waited = [], 0
    for step, split in zip(steps, splits, strict=True):
        for at_a_time in zip(*split, strict=True):
            passes = [sum(step[place] for place in one) if packed else padded_tokens(step, [one]) for one in at_a_time]
            computed += passes
            waited += len(passes) * max(passes)
    largest, number = max(computed), len(computed)
    of_budget = tokens / (number * (budget or largest))
    return Row(name, 1 - tokens / sum(computed), sum(map(len, steps)) / number, largest, tokens / waited, of_budget)


def compare(samples: int, step: int, ranks: int, budgets: Sequence[int], sizes: Sequence[int], seed: int) -> list[Row]:
    """Random batches of some sizes, token budgets and packed rows, over the same steps of `step` samples."""
    lengths = draw_lengths(samples, seed).tolist()
    steps = [lengths[start : start + step] for start in range(0, samples - step + 1, step)]
    in_order = list(range(step))
    rows = []
    for size in sizes:
        fixed = [in_order[start : start + size] for start in range(0, step, size)]
        if len(fixed) % ranks == 0:
            dealt = [fixed[rank::ranks] for rank in range(ranks)]
            rows.append(measure(f"random batches of {size}", steps, [dealt] * len(steps)))
    for budget in budgets:
        grouped = [pack(one, budget, ranks) for one in steps]
        rows.append(measure(f"token budget {budget:,}", steps, grouped, budget))
    for budget in budgets:
        filled = [fill_rows(one, budget, ranks) for one in steps]
        rows.append(measure(f"packed rows of {budget:,}", steps, filled, budget, packed=True))
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
        sys.stdout.write(f"{'':24}{'padding':>10}{'samples a pass':>16}{'largest pass':>14}{'used':>10}{'fill':>10}\n")
        for row in compare(asked.samples, step, asked.ranks, asked.budgets, asked.sizes, asked.seed):
            name, padding, per_pass, largest, used, fill = row
            shares = f"{100 * used:>8.2f} %{100 * fill:>8.2f} %"
            sys.stdout.write(f"{name:24}{100 * padding:>8.2f} %{per_pass:>16.2f}{largest:>14,}{shares}\n")


if __name__ == "__main__":
    main()
