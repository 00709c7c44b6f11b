"""A comparison to look at: mean and interval of each setting, its seeds as dots, the base as a line."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.comparison.comparison import Comparison
from experiments.visualize.page import INK, PAPER

WIDTH, ROW, AROUND = 7.0, 0.42, 1.3  # inches
MEAN, SEED, BASE = "#0550ae", "#bc4c00", "#1a7f37"


def draw(comparisons: Sequence[Comparison]) -> Figure:
    """One panel a metric, a line a setting, the first on top.

    Args:
        comparisons: At least one.
    """
    heights = [AROUND + ROW * len(comparison.rows) for comparison in comparisons]
    figure = Figure((WIDTH, sum(heights)), layout="constrained")
    panels = figure.subplots(len(comparisons), squeeze=False, height_ratios=heights)[:, 0]
    for axes, comparison in zip(panels, comparisons, strict=True):
        _draw_metric(axes, comparison)
    return figure


def _draw_metric(axes: Axes, comparison: Comparison) -> None:
    for place, row in enumerate(comparison.rows):
        axes.plot(list(row.values.values()), [place] * len(row.values), "o", color=SEED, markersize=4, zorder=4)
        mean, interval = row.spread.mean, row.spread.interval
        if interval:
            reach = [[mean - interval.low], [interval.high - mean]]
            axes.errorbar(mean, place, xerr=reach, color=MEAN, capsize=4, zorder=2)
        axes.plot(mean, place, "D", color=MEAN, markerfacecolor=PAPER, markersize=9, zorder=3)
        if row.setting == comparison.base:
            axes.axvline(mean, color=BASE, linestyle="--", linewidth=1, zorder=1)
    labels = [f"{row.setting} ({_seeds(len(row.values))})" for row in comparison.rows]
    axes.set_yticks(range(len(labels)), labels, parse_math=False)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    legend = "mean and 95 % interval over seeds; dots: seeds; dashed: base"
    axes.set_xlabel(f"{legend}; {comparison.split}, {_samples(comparison)}", color=INK, fontsize=8)
    axes.set_title(comparison.metric, color=INK, fontsize=10, parse_math=False)
    axes.grid(axis="x", alpha=0.3)


def _samples(comparison: Comparison) -> str:
    return f"n = {comparison.n}" + (f" in {comparison.clusters} clusters" if comparison.clusters else "")


def _seeds(count: int) -> str:
    return f"{count} seed{'' if count == 1 else 's'}"
