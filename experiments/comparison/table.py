"""A comparison on paper: one table for the terminal, Markdown and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from rich.table import Table

from experiments.benchmarks import markdown
from experiments.comparison.comparison import Comparison, Row
from experiments.comparison.statistics import Interval, Spread, detectable

ONE_SEED, EQUAL = "1 seed", "seeds are equal"
DETECTABLE = (
    "detectable: a true difference of this size is found in four of five such sweeps, by the paired t test of 5 % over "
    "seeds that differ as these do; a smaller one can go unseen"
)


class Grid(NamedTuple):
    """Cells as text; a column that no row has anything for is left out."""

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def grid(comparison: Comparison) -> Grid:
    """The table's cells."""
    paper = f"paper, {comparison.paper.metric}" if comparison.paper else "paper"
    titles = [*(title for title, _ in _COLUMNS), paper, *(title for title, _ in _COSTS.values())]
    lines = [
        [
            *(show(row) for _, show in _COLUMNS),
            "" if row.paper is None else f"{row.paper:g}",
            *(show(row.costs[name]) if name in row.costs else "" for name, (_, show) in _COSTS.items()),
        ]
        for row in comparison.rows
    ]
    for row in comparison.published:
        theirs = {"setting": row.model, "mean": f"{row.values[comparison.metric]:.4f}"}
        lines.append([theirs.get(title, "") for title in titles])
    filled = [number for number in range(len(titles)) if any(line[number] for line in lines)]
    return Grid(
        tuple(titles[number] for number in filled),
        tuple(tuple(line[number] for number in filled) for line in lines),
    )


def facts(comparison: Comparison) -> dict[str, str]:
    """What the numbers stand on."""
    unknown = {} if comparison.clusters else {"clusters": "not recorded"}
    return _facts(comparison) | unknown | _protocols(comparison.rows)


def _facts(comparison: Comparison) -> dict[str, str]:
    return {
        "split": str(comparison.split),
        "n": str(comparison.n),
        "clusters": str(comparison.clusters or ""),
        "checkpoint": comparison.checkpoint,
        "base": comparison.base,
        "commit": ", ".join(comparison.commits),
    }


def _protocols(rows: Sequence[Row]) -> dict[str, str]:
    """One line for all settings, or one each where they differ."""
    if len({row.protocol for row in rows}) == 1:
        return {"protocol": rows[0].protocol}
    return {f"protocol of {row.setting}": row.protocol for row in rows}


def notes(comparison: Comparison) -> list[str]:
    """How to read the intervals, and all that is not in the table."""
    bootstrap = (
        f"no bootstrap over samples: {comparison.no_samples}"
        if comparison.no_samples
        else f"over samples: paired bootstrap, {comparison.resamples} resamples of {_resampled(comparison)}, "
        f"the same for all runs, seed {comparison.seed}"
    )
    shown = {row.setting for row in comparison.rows}
    paper = comparison.paper.rows if comparison.paper else {}
    return [
        "intervals are of 95 %, over seeds by t; a difference is to the base, over the seeds that both have",
        bootstrap,
        *([DETECTABLE] if any(_detectable(row) for row in comparison.rows) else []),
        *([] if comparison.base in shown else [f"no differences: the base {comparison.base!r} has no finished run"]),
        *(f"not in the table: {point}: {why}" for point, why in comparison.absent.items()),
        *(f"published, not measured here: {source}: {', '.join(models)}" for source, models in _sources(comparison)),
        *(f"in the paper only: {setting}: {value:g}" for setting, value in paper.items() if setting not in shown),
    ]


def _sources(comparison: Comparison) -> list[tuple[str, list[str]]]:
    """Paper and table, and the models that it tells of."""
    sources = dict.fromkeys(row.source for row in comparison.published)
    return [(source, [row.model for row in comparison.published if row.source == source]) for source in sources]


def _resampled(comparison: Comparison) -> str:
    if comparison.clusters is None:
        return f"the {comparison.n} samples one by one, as no run recorded what they share"
    return f"the {comparison.clusters} whole clusters (one scene, image or video each) of the {comparison.n} samples"


def terminal_table(comparison: Comparison) -> Table:
    """The table to print."""
    cells = grid(comparison)
    table = Table(title=comparison.metric)
    for number, title in enumerate(cells.titles):
        table.add_column(title, justify="right" if number else "left")
    for row in cells.rows:
        table.add_row(*row)
    return table


def as_markdown(title: str, command: str, comparisons: Sequence[Comparison]) -> str:
    """All comparisons as one page."""
    return f"# {title}\n\n    {command}\n" + "".join(map(_section, comparisons))


def _section(comparison: Comparison) -> str:
    cells = grid(comparison)
    known = "".join(f"- {name}: {text}\n" for name, text in facts(comparison).items())
    below = "".join(f"- {note}\n" for note in notes(comparison))
    return f"\n## {comparison.metric}\n\n{known}\n{markdown.table(cells.titles, cells.rows)}\n{below}"


def as_csv(comparisons: Sequence[Comparison]) -> str:
    """All comparisons as numbers in full, a line a metric and setting; empty where there is no number."""
    records = [
        record
        for comparison in comparisons
        for record in [*(_record(comparison, row) for row in comparison.rows), *_published(comparison)]
    ]
    names = dict.fromkeys(name for record in records for name in record)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def _record(comparison: Comparison, row: Row) -> Mapping[str, object]:
    difference = row.difference
    over_samples, over_seeds = (difference.over_samples, difference.over_seeds) if difference else (None, None)
    return {
        "metric": comparison.metric,
        **_facts(comparison),
        "protocol": row.protocol,
        "setting": row.setting,
        "seeds": len(row.values),
        "values": " ".join(f"{seed}={value}" for seed, value in row.values.items()),
        "mean": row.spread.mean,
        "sd": row.spread.deviation,
        **_ends("mean", row.spread.interval),
        "paired_seeds": difference and difference.seeds,
        "difference": over_seeds and over_seeds.mean,
        **_ends("difference_over_samples", over_samples),
        **_ends("difference_over_seeds", over_seeds and over_seeds.interval),
        "detectable": difference and detectable(difference.over_seeds, difference.seeds),
        "paper": row.paper,
        **{f"cost/{name}": value for name, value in row.costs.items()},
    }


def _published(comparison: Comparison) -> list[Mapping[str, object]]:
    return [
        {
            "metric": comparison.metric,
            "setting": row.model,
            "mean": row.values[comparison.metric],
            "source": row.source,
        }
        for row in comparison.published
    ]


def _ends(name: str, interval: Interval | None) -> dict[str, float | None]:
    low, high = interval or (None, None)
    return {f"{name}_low": low, f"{name}_high": high}


def _interval(interval: Interval) -> str:
    return f"{interval.low:.4f} to {interval.high:.4f}"


def _over_seeds(spread: Spread) -> str:
    if spread.interval:
        return _interval(spread.interval)
    return ONE_SEED if spread.deviation is None else EQUAL


def _difference(row: Row) -> str:
    return f"{row.difference.over_seeds.mean:+.4f}" if row.difference else "-"


def _difference_over_samples(row: Row) -> str:
    return _interval(row.difference.over_samples) if row.difference and row.difference.over_samples else ""


def _difference_over_seeds(row: Row) -> str:
    if row.difference is None:
        return ""
    unpaired = len(row.values) - row.difference.seeds
    return _over_seeds(row.difference.over_seeds) + (f" ({row.difference.seeds} seeds)" if unpaired else "")


def _detectable(row: Row) -> str:
    size = row.difference and detectable(row.difference.over_seeds, row.difference.seeds)
    return f"{size:.4f}" if size else ""


_COLUMNS: tuple[tuple[str, Callable[[Row], str]], ...] = (
    ("setting", lambda row: row.setting),
    ("seeds", lambda row: str(len(row.values))),
    ("mean", lambda row: f"{row.spread.mean:.4f}"),
    ("sd", lambda row: ONE_SEED if row.spread.deviation is None else f"{row.spread.deviation:.4f}"),
    ("95 % over seeds", lambda row: _over_seeds(row.spread)),
    ("difference", _difference),
    ("difference, over samples", _difference_over_samples),
    ("difference, over seeds", _difference_over_seeds),
    ("detectable", _detectable),
)
_COSTS: Mapping[str, tuple[str, Callable[[float], str]]] = {
    "fit_seconds": ("fit minutes", lambda seconds: f"{seconds / 60:.1f}"),
    "parameters": ("parameters", lambda count: f"{count:,.0f}"),
    "trainable_parameters": ("trainable", lambda count: f"{count:,.0f}"),
    "text_tokens_per_region": ("text tokens a region", lambda count: f"{count:.1f}"),
    "tokens_per_sample": ("tokens a sample", lambda count: f"{count:.0f}"),
}
