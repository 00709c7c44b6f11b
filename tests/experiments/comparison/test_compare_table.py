from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from compared_runs import METRIC, answers, gathered, run, sharing
from PIL import Image
from rich.console import Console

from experiments.comparison.comparison import Comparison, compare
from experiments.comparison.plot import draw
from experiments.comparison.runs import read_run
from experiments.comparison.table import as_csv, as_markdown, grid, notes, terminal_table
from experiments.named_benchmarks import Published
from experiments.sweeps.specification import Paper
from experiments.visualize.pictures import save

RULE = "exact match with any reference; case, whitespace and one trailing '.' ignored"
MARKDOWN = f"""\
# made up

    python cli.py compare

## {METRIC}

- split: test
- n: 4
- clusters: 3
- checkpoint: last.ckpt
- base: a|1
- commit: c0ffee
- protocol: {RULE}

| setting | seeds | mean | sd | 95 % over seeds | difference | difference, over samples | difference, over seeds \
| paper, METEOR | fit minutes |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| a\\|1 | 2 | 0.5000 | 0.3536 | -2.6766 to 3.6766 | - | | | 19.3 | 2.0 |
| b | 1 | 0.7500 | 1 seed | 1 seed | +0.5000 | 0.0000 to 1.0000 | 1 seed | | |

- intervals are of 95 %, over seeds by t; a difference is to the base, over the seeds that both have
- over samples: paired bootstrap, 1000 resamples of the 3 whole clusters (one scene, image or video \
each) of the 4 samples, the same for all runs, seed 0
- not in the table: b, seed 1: FAILED
- in the paper only: c: 16.2
"""


SURE = (("a", "10"), ("b", "11"))
"""Setting, and what it gets right with every seed."""


@pytest.fixture
def compared(tmp_path: Path) -> Comparison:
    runs = [
        replace(
            run(tmp_path, "a|1", seed, sharing(answers(marks), "ppqr")), commit="c0ffee", costs={"fit_seconds": 120.0}
        )
        for seed, marks in enumerate(("1000", "1110"))
    ]
    runs.append(run(tmp_path, "b", 0, sharing(answers("1110"), "xxyz")))
    found = gathered(*(replace(made, commit="c0ffee") for made in runs))
    paper = Paper("METEOR", {"a|1": 19.3, "c": 16.2})
    return compare(replace(found, absent={"b, seed 1": "FAILED"}, paper=paper), resamples=1000)[0]


def test_equal_seeds_are_called_so(tmp_path: Path) -> None:
    """`0.5000 to 0.5000` of 95 % is no interval."""
    runs = [run(tmp_path, setting, seed, answers(right)) for setting, right in SURE for seed in (0, 1)]
    cells = grid(compare(gathered(*runs), resamples=10)[0])
    for row in cells.rows:
        assert row[cells.titles.index("95 % over seeds")] == "seeds are equal"
    assert cells.rows[1][cells.titles.index("difference, over seeds")] == "seeds are equal"


def test_the_size_that_could_have_been_detected_stands_where_seeds_differ(tmp_path: Path) -> None:
    """Differences of 0.25 and 0.75 have a deviation of 0.354; it takes 11.55 of these for two seeds to find one."""
    marks = {("a", 0): "1000", ("a", 1): "1000", ("b", 0): "1100", ("b", 1): "1111"}
    [made] = compare(gathered(*(run(tmp_path, *key, answers(right)) for key, right in marks.items())), resamples=10)
    cells = grid(made)
    assert [row[cells.titles.index("detectable")] for row in cells.rows] == ["", "4.0835"]
    assert sum(note.startswith("detectable: ") for note in notes(made)) == 1
    base, other = csv.DictReader(io.StringIO(as_csv([made])))
    assert (base["detectable"], float(other["detectable"])) == ("", pytest.approx(4.083, abs=1e-3))


def squeezed(text: str) -> str:
    """Without what only lines up columns."""
    return re.sub(r"-{3,}", "---", re.sub(" +", " ", text))


def test_markdown(compared: Comparison) -> None:
    assert squeezed(as_markdown("made up", "python cli.py compare", [compared])) == squeezed(MARKDOWN)


def test_csv_has_the_numbers_in_full_and_no_invented_ones(compared: Comparison) -> None:
    base, other = csv.DictReader(io.StringIO(as_csv([compared])))
    assert base["values"] == "0=0.25 1=0.75"
    assert float(base["sd"]) == pytest.approx(0.125**0.5, rel=1e-15)
    assert (base["paper"], base["cost/fit_seconds"], base["difference"]) == ("19.3", "120.0", "")
    assert (other["mean"], other["difference"], other["difference_over_samples_low"]) == ("0.75", "0.5", "0.0")
    empty = ("sd", "mean_low", "difference_over_seeds_low", "difference_over_seeds_high", "paper", "cost/fit_seconds")
    assert [other[name] for name in empty] == [""] * len(empty)
    assert (base["n"], base["clusters"]) == ("4", "3")
    assert {base["metric"], other["metric"]} == {METRIC}
    assert {base["protocol"], other["protocol"]} == {RULE}


def test_runs_that_did_not_record_what_samples_share_say_so(tmp_path: Path) -> None:
    (made,) = compare(gathered(*(run(tmp_path, name, 0, answers(marks)) for name, marks in (("a", "10"), ("b", "11")))))
    text = as_markdown("made up", "python cli.py compare", [made])
    assert "- n: 2\n- clusters: not recorded\n" in text
    assert "10000 resamples of the 2 samples one by one, as no run recorded what they share, the same" in text
    assert {line["clusters"] for line in csv.DictReader(io.StringIO(as_csv([made])))} == {""}


def test_protocols_that_differ_by_purpose_are_told_setting_by_setting(tmp_path: Path) -> None:
    runs = [run(tmp_path, shown, 0, answers("10", protocol=f"set A, {shown}")) for shown in ("mask", "box")]
    compared = compare(replace(gathered(*runs), protocol_varies=True), resamples=10)
    text = as_markdown("made up", "python cli.py compare", compared)
    assert f"- protocol of mask: {RULE}; set A, mask\n- protocol of box: {RULE}; set A, box\n" in text
    lines = list(csv.DictReader(io.StringIO(as_csv(compared))))
    assert [line["protocol"] for line in lines] == [f"{RULE}; set A, mask", f"{RULE}; set A, box"]


def test_terminal_shows_what_markdown_does(compared: Comparison) -> None:
    text = io.StringIO()
    Console(file=text, width=250, markup=False).print(terminal_table(compared))
    for cell in ("a|1", "0.3536", "1 seed", "+0.5000", "0.0000 to 1.0000", "19.3", "fit minutes"):
        assert cell in text.getvalue()


def test_plot_is_drawn(compared: Comparison, tmp_path: Path) -> None:
    figure = draw([compared, compared])
    assert len(figure.axes) == 2
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a|1 (2 seeds)", "b (1 seed)"]
    dots = [line.get_xdata() for line in axes.lines if line.get_marker() == "o"]
    assert [list(np.asarray(dot)) for dot in dots] == [[0.25, 0.75], [0.75]]
    assert axes.get_xlabel().endswith("test, n = 4 in 3 clusters")
    assert len(axes.containers) == 1  # the one setting with an interval
    with Image.open(save(figure, tmp_path / "plot.png")) as picture:
        assert (picture.format, picture.width) == ("PNG", 700)
        pixels = np.asarray(picture.convert("L"))
    halves = np.array_split(pixels, 2)
    assert all(0.01 < (half < 200).mean() < 0.5 for half in halves)


def test_published_numbers_stand_among_ours(tmp_path: Path) -> None:
    """Those of the benchmark's file, as the run's configuration has kept them, by the metric compared alone."""
    ours = run(tmp_path, "ours", 0, answers("0110"))
    path = tmp_path / "ours-seed0" / "config.yaml"
    table = {"source": "A paper, Table 1", "metrics": [METRIC, "other"], "rows": {"One": [75, 1], "Two": [None, 2]}}
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "benchmark": {"published": [table]}}))
    read = read_run(path.parent, ours.name, ours.setting, 0)
    one = Published("One", "A paper, Table 1", {METRIC: 0.75, "other": 0.01})
    assert read.published == (one, Published("Two", "A paper, Table 1", {"other": 0.02}))
    [comparison] = compare(gathered(read))
    assert comparison.published == (one,)
    cells = grid(comparison)
    shown = [dict(zip(cells.titles, row, strict=True)) for row in cells.rows]
    assert [(row["setting"], row["mean"], row["seeds"]) for row in shown] == [
        ("ours", "0.5000", "1"),
        ("One", "0.7500", ""),
    ]
    assert "published, not measured here: A paper, Table 1: One" in notes(comparison)
    [_, theirs] = csv.DictReader(io.StringIO(as_csv([comparison])))
    assert (theirs["setting"], theirs["mean"], theirs["source"]) == ("One", "0.75", "A paper, Table 1")
