"""The command `score`: a table of numbers from saved predictions, without a model."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from metrics.predictions import Score


class Benchmark(NamedTuple):
    """How the predictions of a benchmark are read and scored.

    Attributes:
        metric: The class in `metrics`; empty where what others publish is no predictions, and its reader scores it.
        options: The class's arguments.
        reader: The module in `metrics.peer_files` that reads what others publish; empty if nothing is.
        beside: The files of references beside theirs.
        files: Both, in words.
    """

    metric: str
    options: Mapping[str, Any] = {}
    reader: str = ""
    beside: Literal["nothing", "one", "one each", "several"] = "nothing"
    files: str = "nothing else"


BENCHMARKS: Mapping[str, Benchmark] = {
    "caption": Benchmark(
        "Captioning",
        {"scores": ("meteor", "cider", "bleu", "rouge_l")},
        "caption",
        "several",
        "COCO caption results (.json) and annotations, or text, one caption a line, and one file of references or more",
    ),
    "causal_vidqa": Benchmark(
        "CausalVidQa", {}, "causal_vidqa", "nothing", 'JSON, {"<video>_<part>": {"prediction": 2, "answer": 2}}'
    ),
    "dlc": Benchmark("", {}, "dlc", "one", "only the judge's answers and qa.json"),
    "multiple_choice": Benchmark("MultipleChoice"),
    "pope": Benchmark("Pope", {}, "pope", "one each", "answers and questions; several pairs if wanted"),
    "referring": Benchmark("Referring"),
    "region_classification": Benchmark("RegionClassification"),
    "vcr": Benchmark("Vcr", {}, "vcr", "one", "the leaderboard's table (.csv) and val.jsonl"),
    "videorefer_q": Benchmark(
        "MultipleChoice", {"letter_rule": "extract"}, "videorefer_q", "nothing", 'records with "pred", "Answer", "type"'
    ),
}


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    files = "\n".join(f"  {name:23}{benchmark.files}" for name, benchmark in BENCHMARKS.items())
    arguments = argparse.ArgumentParser(
        prog="python cli.py score",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Score saved predictions without a model.",
        epilog=f"Each benchmark takes the predictions.jsonl that `test` leaves, and\n{files}",
    )
    arguments.add_argument(
        "--benchmark", choices=BENCHMARKS, metavar="NAME", help="one of those below; else tasks say how they are scored"
    )
    arguments.add_argument("--predictions", type=Path, nargs="+", required=True, metavar="FILE", help="what was said")
    arguments.add_argument("--references", type=Path, nargs="+", default=(), metavar="FILE", help="what is right")
    arguments.add_argument("--output", type=Path, metavar="JSON", help="save the numbers too")
    return arguments


def main(arguments: Sequence[str]) -> None:
    """Scores, saves and prints."""
    asked = parser().parse_args(arguments)
    # not before: --help has to answer at once
    from rich.console import Console

    from metrics.saved import score_files
    from metrics.table import score_table

    scores = score_files(asked.benchmark, asked.predictions, asked.references)
    if asked.output:
        save(scores, asked.output)
    table = score_table(asked.benchmark or "saved predictions", scores)
    Console(markup=False, highlight=False).print(table)  # brackets are text here


def save(scores: Mapping[str, Score], path: Path) -> None:
    """Writes `results.json`, as `test` does; `DataError` if it cannot be written there."""
    from datamodules.files import write_text
    from datamodules.types import DataError
    from metrics.table import results

    text = json.dumps(results(None, scores, None), indent=2)
    try:
        write_text(path, f"{text}\n")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
