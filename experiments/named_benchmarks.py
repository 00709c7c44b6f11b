"""Published benchmarks by their names: each is a configuration of `experiments/tables/` or `judged/` with a section.

::

    benchmark:
      title: VCR validation                     what it is, in a line
      over: other.yaml                          the file beside it that it changes, if it does
      needs: {val.jsonl: the questions}         files and folders below the root, each with what it is
      published:                                numbers of others, if there are any to stand beside ours
        - source: ViP-LLaVA (arXiv 2312.00784), Table 4
          metrics: [choice/q_a, choice/qa_r]    as in results.json
          scale: 100                            theirs divided by it are ours; 100 if left out
          rows: {ViP-LLaVA-7B: [87.3, null]}

A file's name is the benchmark's, without the number of a table of the paper: `table04_vcr.yaml` is `vcr`. One with a
section `judge` has its answers scored by a judge model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from datamodules.errors import DataError, nearest
from datamodules.reading.fields import array, filled, mapping, member, number
from datamodules.reading.records import located

FOLDERS = (Path(__file__).parent / "tables", Path(__file__).parent / "judged")
SECTION = "benchmark"


class Published(NamedTuple):
    """What a paper says of one model.

    Attributes:
        model: Its name.
        source: Paper and table.
        values: Metric, as in `results.json` -> number on the scale of ours.
    """

    model: str
    source: str
    values: Mapping[str, float]


class NamedBenchmark(NamedTuple):
    """What can be asked for by a name.

    Attributes:
        name: By which it is asked for.
        path: Its configuration.
        title: What it is.
        needs: Each file or folder that it reads below the root -> what it is.
        over: The configuration that its own one changes, if it does.
        judged: Whether a judge model scores the answers.
    """

    name: str
    path: Path
    title: str
    needs: Mapping[str, str]
    over: Path | None = None
    judged: bool = False

    @property
    def configurations(self) -> list[Path]:
        """All that it takes, in order."""
        return [self.path] if self.over is None else [self.over, self.path]


@cache
def benchmarks() -> Mapping[str, NamedBenchmark]:
    """All that are shipped, by name; their files are read once."""
    found = (_read(path) for folder in FOLDERS for path in sorted(folder.glob("*.yaml")))
    return {benchmark.name: benchmark for benchmark in sorted(filter(None, found))}


def find_benchmark(name: str) -> NamedBenchmark:
    """The benchmark of a name, or the one that a file of one's own describes.

    Raises:
        DataError: There is none, or the file describes none.
    """
    path = Path(name)
    if path.suffix == ".yaml":
        if (own := _read(path)) is None:
            raise DataError(f"{path}: no section {SECTION!r}, which says what a benchmark needs")
        return own
    known = benchmarks()
    if name not in known:
        raise DataError(f"no benchmark {name!r}{nearest(name, known)}; `benchmark --list` names all {len(known)}")
    return known[name]


def _read(path: Path) -> NamedBenchmark | None:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or SECTION not in content:
        return None
    with located(str(path)):
        section = mapping(content[SECTION], SECTION)
        needs = mapping(member(section, "needs", SECTION), f"{SECTION}.needs")
        title = filled(member(section, "title", SECTION), f"{SECTION}.title")
        published_rows(section)
        told = {place: filled(what, f"{SECTION}.needs.{place}") for place, what in needs.items()}
        over = path.parent / filled(section["over"], f"{SECTION}.over") if "over" in section else None
    return NamedBenchmark(re.sub(r"^table\d+_", "", path.stem), path, title, told, over, "judge" in content)


def published_rows(section: Mapping[str, Any]) -> tuple[Published, ...]:
    """The published numbers of a section `benchmark`, in its order.

    Raises:
        DataError: A part is missing, or a row has another number of values than there are metrics.
    """
    where = f"{SECTION}.published"
    return tuple(
        row
        for place, table in enumerate(array(section.get("published") or [], where))
        for row in _table(mapping(table, f"{where}[{place}]"), f"{where}[{place}]")
    )


def _table(table: dict[str, Any], where: str) -> Sequence[Published]:
    source = filled(member(table, "source", where), f"{where}.source")
    if ": " in source:
        raise DataError(f"{where}.source: {source!r} holds ': ', which makes two of it where a run keeps it")
    metrics = [filled(name, f"{where}.metrics") for name in array(member(table, "metrics", where), f"{where}.metrics")]
    scale = number(table.get("scale", 100), f"{where}.scale")
    found = []
    for model, values in mapping(member(table, "rows", where), f"{where}.rows").items():
        row = zip(metrics, array(values, f"{where}.rows.{model}", len(metrics)), strict=True)
        told = {name: number(value, f"{where}.rows.{model}") / scale for name, value in row if value is not None}
        found.append(Published(str(model), source, told))
    return found
