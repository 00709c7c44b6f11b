"""What regions cost: `python -m experiments.benchmarks.region_cost`.

First, a training step with regions over the same step without: the same model, frames and number of tokens; forward,
backward and AdamW, the guide head on both sides. Taken in turn, with a bootstrap interval.

Second, Spatial Token Mark (Eq. 1) of one frame as it is written, a canvas of marks at full resolution that is pooled
and projected, over the form used here, which pools one weight a region and projects N marks; forward and backward. The
masks are pooled in the loader's workers, so the ratio is given with the pooling and without it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from datamodules.regions.footprints import View
from datamodules.regions.placement import Placement
from experiments.benchmarks.markdown import table
from experiments.benchmarks.models import MIDDLE, TINY, make_batch, make_module
from experiments.benchmarks.timing import Paired, in_turn
from experiments.benchmarks.training_step import our_step
from lightning_modules.planning.step import Step

COUNTS = (1, 4, 16)
STEP_HEADER = ("regions", "step with / without", "95 %")
FORM_HEADER = ("regions", "canvas / ours with pooling", "canvas / ours without", "values differ", "gradients differ")
MARK_DIM = 256


def compare_steps(architecture: dict[str, Any], step: Step, repeats: int, device: str) -> Paired:
    """Steps with the regions of `step`, and without any."""
    module = make_module(architecture, device)
    with_regions, without = (
        our_step(module, make_batch(module, replace(step, regions=count)).to(device)) for count in (step.regions, 0)
    )
    return in_turn(with_regions, without, repeats)


@dataclass(frozen=True, slots=True)
class SpatialMarks:
    """Eq. 1 on one frame in both forms.

    Attributes:
        masks: (N, S, S) float32 of 0 and 1.
        marks: (N, C), learned.
        projection: W, C -> D.
        grid: G.
    """

    masks: torch.Tensor
    marks: nn.Parameter
    projection: nn.Linear
    grid: int

    @classmethod
    def random(cls, regions: int, side: int, grid: int, width: int, device: str) -> SpatialMarks:
        """Rectangles anywhere on the frame, which overlap, and random marks."""
        torch.manual_seed(0)
        masks = torch.zeros(regions, side, side)
        for mask, (row, column) in zip(masks, torch.randint(side // 2, (regions, 2)).tolist(), strict=True):
            mask[row : row + side // 3, column : column + side // 3] = 1
        marks = nn.Parameter(torch.randn(regions, MARK_DIM, device=device))
        return cls(masks.to(device), marks, nn.Linear(MARK_DIM, width, bias=False, device=device), grid)

    def weights(self) -> torch.Tensor:
        """(G * G, N), as the loader's workers compute them."""
        masks, side = self.masks.cpu().numpy(), self.masks.shape[1]
        view = View.regular(Placement.of((side, side), side), (side // self.grid,) * 2, [[0]])
        return torch.from_numpy(view.pooled(masks / np.maximum(masks.sum(0), 1.0)).reshape(self.grid**2, -1))

    def ours(self, weights: torch.Tensor) -> torch.Tensor:
        """(G * G, D) from pooled weights."""
        spatial: torch.Tensor = weights.to(self.marks.device) @ self.projection(self.marks)
        return spatial

    def canvas(self) -> torch.Tensor:
        """(G * G, D) by way of (C, S, S)."""
        shared = torch.einsum("nc,nhw->chw", self.marks, self.masks) / self.masks.sum(0).clamp(min=1)
        projected: torch.Tensor = self.projection(F.adaptive_avg_pool2d(shared, self.grid).flatten(1).T)
        return projected

    def trained(self, form: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Values of a form, and the marks' gradient of the sum of their squares."""
        values = form()
        (gradient,) = torch.autograd.grad(values.square().sum(), [self.marks])
        return values.detach(), gradient


def compare_forms(regions: int, side: int, grid: int, width: int, repeats: int, device: str) -> list[str]:
    """A row of the second table."""
    spatial = SpatialMarks.random(regions, side, grid, width, device)
    weights = spatial.weights()
    forms = [spatial.canvas, lambda: spatial.ours(spatial.weights()), lambda: spatial.ours(weights)]
    canvas, whole, pooled = (partial(spatial.trained, form) for form in forms)
    differ = [
        float((one - other).abs().max() / other.abs().max()) for one, other in zip(whole(), canvas(), strict=True)
    ]
    ratios = [in_turn(canvas, ours, repeats).ratio for ours in (whole, pooled)]
    return [str(regions), *(f"{ratio:.1f}" for ratio in ratios), *(f"{value:.0e}" for value in differ)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints both tables, a row for each number of regions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--regions", type=int, nargs="+", default=list(COUNTS), help="of a sample (%(default)s)")
    parser.add_argument("--frames", type=int, default=1, help="of a sample (%(default)s)")
    parser.add_argument("--repeats", type=int, default=15, help="runs of each side (%(default)s)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="(%(default)s)")
    parser.add_argument("--tiny", action="store_true", help="a model of a moment, to see that it runs")
    asked = parser.parse_args(arguments)
    architecture = TINY if asked.tiny else MIDDLE
    rows = []
    for count in asked.regions:
        paired = compare_steps(architecture, Step(1, asked.frames, 200, 60, count), asked.repeats, asked.device)
        rows.append([str(count), f"{paired.ratio:.3f}", "{:.3f} to {:.3f}".format(*paired.interval)])
    sys.stdout.write(table(STEP_HEADER, rows) + "\n")
    side, patch = (architecture["vision_config"][name] for name in ("image_size", "patch_size"))
    shape = side, side // patch, architecture["text_config"]["hidden_size"]
    forms = [compare_forms(count, *shape, asked.repeats, asked.device) for count in asked.regions]
    sys.stdout.write(table(FORM_HEADER, forms))


if __name__ == "__main__":
    main()
