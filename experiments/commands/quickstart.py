"""`python cli.py quickstart`: both stages on the built-in data, the control without regions beside them, one table."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from experiments.config.parsers import CommandParser, count
from experiments.tracking.mlflow_runs import run_folder
from experiments.tracking.mlflow_store import Store, page, store_address

EXPERIMENT = "quickstart"
IMAGE = ["--config", "experiments/quickstart.yaml"]
VIDEO = [*IMAGE, "--config", "experiments/quickstart_video.yaml"]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: what is asked, in which stage, and the metric that answers."""

    question: str
    stage: str
    metric: str


ROWS = (
    Row("image: colour and shape of the region, both right", "image", "answer/what/accuracy"),
    Row("image: the same where all figures are marked", "image", "answer/among/accuracy"),
    Row("image: which of four descriptions fits the region", "image", "choice/choice/accuracy"),
    Row("image: texture", "image", "answer/texture/accuracy"),
    Row("image: place", "image", "answer/position/accuracy"),
    Row("image: where one region is seen from another", "image", "answer/relation/accuracy"),
    Row("image: which of the regions fits a description", "image", "refer/accuracy"),
    Row("video: direction of motion", "video", "answer/moves/accuracy"),
    Row("video: colour, shape and motion, all right", "video", "answer/what/accuracy"),
    Row("video: colour change", "video", "answer/change/accuracy"),
    Row("video: place at the end", "video", "answer/end/accuracy"),
    Row("video: which place comes next", "video", "choice/next/accuracy"),
    Row("video: which of the regions fits a description", "video", "refer/accuracy"),
    Row("video: guide head finds the region on later frames", "video", "guide/accuracy"),
)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Both stages with one region encoder.

    Attributes:
        region_encoder: Its class: `TokenMark`, or `NoRegionEncoder` for the control.
        seed: Decides weights, scenes and marks.
        root: Folder of all runs.
        options: Further command-line options for every command.
    """

    region_encoder: str
    seed: int
    root: Path
    options: tuple[str, ...] = ()

    def folder(self, stage: str) -> Path:
        """Where a stage leaves checkpoints, results and pictures."""
        return run_folder(self.root, EXPERIMENT, self._name(stage))

    def train(self) -> float:
        """Image stage, then video stage; returns the seconds both took."""
        start = time.monotonic()
        self._run("fit", "image", IMAGE)
        self._run("fit", "video", VIDEO, f"--model.init_from={self._last('image')}")
        return time.monotonic() - start

    def test(self) -> dict[str, dict[str, float]]:
        """Stage -> metric -> value, on held-out scenes."""
        self._run("test", "image", IMAGE, f"--ckpt_path={self._last('image')}")
        self._run("test", "video", VIDEO, f"--ckpt_path={self._last('video')}")
        return {stage: self._results(stage) for stage in ("image", "video")}

    def _run(self, command: str, stage: str, configs: Sequence[str], *options: str) -> None:
        from experiments.lightning_cli import main

        named = [f"--run.root={self.root}", f"--run.name={self._name(stage)}"]
        seeded = [f"--seed_everything={self.seed}", f"--model.region_encoder={self.region_encoder}"]
        main([command, *configs, *named, *seeded, *options, *self.options])

    def _name(self, stage: str) -> str:
        control = "" if self.region_encoder == "TokenMark" else "-control"
        return f"{stage}{control}-seed{self.seed}"

    def _last(self, stage: str) -> Path:
        return self.folder(stage) / "checkpoints" / "last.ckpt"

    def _results(self, stage: str) -> dict[str, float]:
        results = json.loads((self.folder(stage) / "results.json").read_text(encoding="utf-8"))["results"]
        return {result["metric"]: result["value"] for result in results}


def comparison(marked: dict[str, dict[str, float]], control: dict[str, dict[str, float]], seed: int) -> Table:
    """Token Mark beside the control; a dash where a model has no such number."""
    table = Table("held-out scenes", title=f"What was learnt, seed {seed}")
    table.add_column("Token Mark", justify="right")
    table.add_column("no region", justify="right")
    for row in ROWS:
        values = (scores[row.stage].get(row.metric) for scores in (marked, control))
        table.add_row(row.question, *("-" if value is None else f"{value:.3f}" for value in values))
    return table


def main(arguments: Sequence[str]) -> None:
    """Trains, tests and compares; options it does not know go to every fit and test."""
    parser = CommandParser(prog="python cli.py quickstart", description=__doc__)
    parser.add_argument("--seed", type=count, default=0, help="decides weights, scenes and marks")
    parser.add_argument("--root", type=Path, default=Path("runs"), help="folder of all runs")
    options, further = parser.parse_known_args(arguments)
    marked, control = (
        Pipeline(region_encoder, options.seed, options.root, tuple(further))
        for region_encoder in ("TokenMark", "NoRegionEncoder")
    )
    seconds = marked.train()
    scores = marked.test()
    control.train()
    console = Console(markup=False, highlight=False)
    console.print(comparison(scores, control.test(), options.seed))
    console.print(f"trained in {seconds / 60:.1f} minutes, and the control after it", soft_wrap=True)
    console.print(f"pictures: {marked.folder('video') / 'pictures' / 'test'}", soft_wrap=True)
    store = Store(store_address(options.root))
    runs = f"experiments/{store.experiment(store.client(), EXPERIMENT)}/runs"
    console.print(f"MLflow: {page(store.uri, runs)}", soft_wrap=True)
