"""`make regvid-demo`: instruction data from built-in videos by stand-in models, a report on it, a short training."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from datamodules.regvid.output import SAMPLES
from experiments.rehearse import parser, rehearse
from experiments.terminal import run_script

TRAINING = "experiments/regvid/train_on_shapes.yaml"


def main(arguments: Sequence[str] | None = None) -> None:
    """Makes the data, reports on it and trains on it; `DataError` if something cannot be written."""
    options = parser("python -m experiments.regvid_demo")
    options.add_argument("--steps", type=int, default=60, help="of the training (%(default)s)")
    options.add_argument("--root", default="runs", help="folder of the training's run (%(default)s)")
    asked, further = options.parse_known_args(arguments)
    from experiments.lightning_cli import main as lightning
    from experiments.visualize.instruction_report import report

    rehearse(asked)
    report(asked.to / SAMPLES, asked.to / "report")
    configured = [f"--config={TRAINING}", f"--vars.made={asked.to}", f"--run.root={asked.root}"]
    lightning(["fit", *configured, f"--trainer.max_steps={asked.steps}", "--run.name=demo", *further])
    sys.stdout.write(f"\ndata: {asked.to / SAMPLES}\nreport: {asked.to / 'report' / 'index.html'}\n")


if __name__ == "__main__":
    run_script(main)
