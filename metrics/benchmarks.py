"""The benchmarks whose saved predictions can be scored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple


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
    "gar_vqa": Benchmark(
        "MultipleChoice",
        {"letter_rule": "exact"},
        "gar_vqa",
        "nothing",
        'records with "model_output", "answer", "type"',
    ),
    "multiple_choice": Benchmark("MultipleChoice"),
    "open_vocabulary": Benchmark("OpenVocabulary"),
    "pope": Benchmark("Pope", {}, "pope", "one each", "answers and questions; several pairs if wanted"),
    "referring": Benchmark("Referring"),
    "region_classification": Benchmark("RegionClassification"),
    "vcr": Benchmark("Vcr", {}, "vcr", "one", "the leaderboard's table (.csv) and val.jsonl"),
    "videorefer_q": Benchmark(
        "MultipleChoice", {"letter_rule": "extract"}, "videorefer_q", "nothing", 'records with "pred", "Answer", "type"'
    ),
}
