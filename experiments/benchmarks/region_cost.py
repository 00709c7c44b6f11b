"""What regions cost: `python -m experiments.benchmarks.region_cost`.

First, a training step with regions over the same step without: the same model, frames and number of tokens; forward,
backward and AdamW, the guide head on both sides. Taken in turn, with a bootstrap interval.

Second, Spatial Token Mark (Eq. 1) of one frame as it is written, a canvas of marks at full resolution that is pooled
and projected, over the form used here, which pools one weight a region and projects N marks; forward and backward. The
masks are pooled in the loader's workers, so the ratio is given with the pooling and without it.

Third (`--masks`, alone), what the workers do for many tracked masks: each mask unpacked at the frame's size, what is in
its box resized by two products, all divided and pooled on the whole canvas, over the form used here, which goes from
the run-length codes to the canvas and keeps to the part of it where a mask is. The former is what it was before.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from datamodules.reading.rle import encoded
from datamodules.regions.footprints import View
from datamodules.regions.placement import Placement
from datamodules.regions.region_weights import region_weights
from datamodules.types import Mask, Region
from experiments.benchmarks.markdown import table
from experiments.benchmarks.models import MIDDLE, TINY, make_batch, make_module
from experiments.benchmarks.timing import Paired, in_turn
from experiments.benchmarks.training_step import our_step
from lightning_modules.planning.step import Step

COUNTS = (1, 4, 16)
STEP_HEADER = ("regions", "step with / without", "95 %")
FORM_HEADER = ("regions", "canvas / ours with pooling", "canvas / ours without", "values differ", "gradients differ")
MASKS_HEADER = ("frames", "masks a frame", "unpacked / ours", "95 %", "ms a sample, ours", "weights differ")
MARK_DIM = 256
FRAME, SIDE, CELL = (720, 1280), 336, 14
MANY = ((4, 64), (64, 16))


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


# --- many masks -----------------------------------------------------------------------------------------------------


def make_tracks(frames: int, masks: int) -> tuple[Region, ...]:
    """Ellipses of a tenth to a half of a side, each somewhere else on every frame."""
    rng = np.random.default_rng(0)

    def drawn() -> Mask:
        (y, x), (high, wide) = rng.uniform(0.1, 0.9, 2) * FRAME, rng.uniform(0.05, 0.25, 2) * FRAME
        rows, columns = np.ogrid[: FRAME[0], : FRAME[1]]
        mask = encoded(((rows - y) / high) ** 2 + ((columns - x) / wide) ** 2 <= 1)
        assert mask is not None
        return mask

    return tuple(Region.at(drawn(), 0, track={frame: drawn() for frame in range(1, frames)}) for _ in range(masks))


def unpacked(regions: Sequence[Region], frames: int, view: View) -> NDArray[np.float32]:
    """(V, N) guide weights by way of every mask's own pixels."""
    from pycocotools import mask as coco_mask

    by_row, by_column = (_shares_of_bins(side) for side in FRAME)
    layers = []
    for frame in range(frames):
        covered = []
        for region in regions:
            place = region.track[frame]
            assert isinstance(place, Mask)
            code = {"size": list(FRAME), "counts": place.counts}
            x, y, wide, high = (int(value) for value in coco_mask.toBbox(code))
            pixels = torch.from_numpy(coco_mask.decode(code)[y : y + high, x : x + wide].astype(np.float32))
            rows, columns = _reached(y, high, FRAME[0]), _reached(x, wide, FRAME[1])
            resized = by_row[rows, y : y + high] @ pixels @ by_column[columns, x : x + wide].T
            covered.append(np.zeros((SIDE, SIDE), np.float32))
            covered[-1][rows, columns] = resized.numpy()
        stacked = np.stack(covered)
        layers.append(view.pooled(stacked / np.maximum(stacked.sum(0), 1.0)).reshape(-1, len(regions)))
    return np.concatenate(layers)


def _reached(start: int, length: int, side: int) -> slice:
    """The bins of the canvas that a part of a line reaches into."""
    return slice(start * SIDE // side, -(-(start + length) * SIDE // side))


def _shares_of_bins(length: int) -> torch.Tensor:
    """(SIDE, length): the share of each bin of the canvas that each pixel of a line fills."""
    edges = torch.arange(SIDE + 1, dtype=torch.float64)[:, None]
    pixels = torch.arange(length, dtype=torch.float64)
    filled = torch.minimum(torch.maximum(edges, pixels * SIDE / length), (pixels + 1) * SIDE / length)
    return filled.diff(dim=0).float()


def compare_masks(frames: int, masks: int, repeats: int) -> list[str]:
    """A row of the third table."""
    regions, placement = make_tracks(frames, masks), Placement.of(FRAME, SIDE)
    view = View.regular(placement, (CELL, CELL), [[frame] for frame in range(frames)])
    ours = partial(region_weights, regions, range(frames), [view], view.tokens.size)
    theirs = partial(unpacked, regions, frames, view)
    differ = float(np.abs(ours().guide - theirs()).max())
    paired = in_turn(theirs, ours, repeats, warm_up=0)
    low, high = paired.interval
    milliseconds = 1000 * statistics.median(paired.second)
    cells = [f"{paired.ratio:.1f}", f"{low:.1f} to {high:.1f}", f"{milliseconds:.0f}", f"{differ:.0e}"]
    return [str(frames), str(masks), *cells]


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the first two tables, a row for each number of regions, or the third."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--regions", type=int, nargs="+", default=list(COUNTS), help="of a sample (%(default)s)")
    parser.add_argument("--frames", type=int, default=1, help="of a sample (%(default)s)")
    parser.add_argument("--repeats", type=int, default=15, help="runs of each side (%(default)s)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="(%(default)s)")
    parser.add_argument("--tiny", action="store_true", help="a model of a moment, to see that it runs")
    parser.add_argument("--masks", action="store_true", help="many tracked masks in the loader, and nothing else")
    asked = parser.parse_args(arguments)
    if asked.masks:
        torch.set_num_threads(1)  # as in a worker
        sys.stdout.write(table(MASKS_HEADER, [compare_masks(*many, asked.repeats) for many in MANY]))
        return
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
