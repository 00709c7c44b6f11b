"""The whole pipeline on built-in videos, against stand-in models that lie now and then.

::

    python -m experiments.rehearse --to runs/regvid/shapes --lies 0.2
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from datamodules.formats.region_jsonl import RegionJsonl
from datamodules.prompting.placeholders import PLACEHOLDER
from datamodules.regvid.models import ROLES
from datamodules.regvid.output import FUNNEL, SAMPLES
from datamodules.shapes import ShapesFiles
from datamodules.shapes.tokenizer import train_tokenizer
from experiments.commands.regvid import main as regvid
from experiments.rehearsal.measure import measure_folder
from experiments.rehearsal.server import RehearsalServer
from experiments.rehearsal.stand_ins import add_options, stand_ins
from experiments.terminal import run_script

CONFIG = "experiments/regvid/shapes.yaml"
TOKENIZER = "tokenizer"
HASTE = [f"--regvid.models.{role}.init_args.timeout=2" for role in ROLES] + ["--regvid.patience.first_wait=0.1"]
"""These models are fast: what takes seconds is one of the faults."""

_RETRY_AFTER = 0.2


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the videos where they are missing, makes the data, and prints the funnel and how well it was verified."""
    asked = parser("python -m experiments.rehearse").parse_args(arguments)
    rehearse(asked)


def parser(program: str) -> argparse.ArgumentParser:
    """The options of a rehearsal."""
    made = argparse.ArgumentParser(program, description="Run the pipeline on built-in videos with stand-in models.")
    made.add_argument("--to", type=Path, default=Path("runs/regvid/shapes"), help="folder of the data (%(default)s)")
    made.add_argument("--videos", type=int, default=96, help="scenes of its validation split (%(default)s)")
    made.add_argument("--verdicts", type=int, default=1, help="of the judge, before a claim is removed (%(default)s)")
    add_options(made, lies=0.2, faults=0.05)
    return made


def rehearse(asked: argparse.Namespace) -> None:
    """The same for options that were parsed; beside the data lies a tokenizer that knows its words.

    Raises:
        DataError: A folder holds something else, or an option makes no sense.
    """
    files = {"root": str(asked.shapes), "kind": "video", "split": "val", "seed": asked.seed, "val_scenes": asked.videos}
    ShapesFiles(**files).prepare()
    models, faults = stand_ins(asked)
    source = {"shapes": {"class_path": "datamodules.shapes.ShapesFiles", "init_args": files}}
    with RehearsalServer(models, faults, retry_after=_RETRY_AFTER) as server:
        options = [f"--vars.server={server.base_url}", f"--regvid.to={asked.to}", f"--data.train={json.dumps(source)}"]
        options.append(f"--regvid.checks.verdicts={asked.verdicts}")
        regvid([f"--config={CONFIG}", *options, *HASTE])
        calls = len(server.exchanges)
    train_tokenizer(asked.to / TOKENIZER, further=_texts(asked.to / SAMPLES))
    sys.stdout.write(f"\n{calls} calls, {sum(one.fault is not None for one in server.exchanges)} of them went wrong\n")
    sys.stdout.write(f"\n{_funnel(asked.to / FUNNEL)}\n{measure_folder(asked.to, models.scenes).lines()}\n")


def _texts(samples: Path) -> Iterator[str]:
    """Questions and answers of a file, mentions as the model reads them: `[0]`."""
    source = RegionJsonl(samples)
    for record in range(len(source)):
        for turn in source[record].conversation:
            yield PLACEHOLDER.sub(r"[\1]", turn.question)
            yield PLACEHOLDER.sub(r"[\1]", turn.answer)


def _funnel(path: Path) -> str:
    """How much is left after each stage."""
    told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    verify, instruct = told["verify"], told["instruct"]
    samples = sum(instruct[kind] for kind in ("detailed", "brief", "conversation"))
    counts = {
        "videos": told["videos"]["done"],
        "regions found": told["regions"]["found"],
        "described": told["describe"]["described"],
        "claims checked": verify["claims"],
        "claims denied": verify["denied"],
        "descriptions rewritten": verify["rewritten"],
        "regions verified": verify["verified"],
        "samples": samples,
    }
    return "".join(f"{name:24}{count:8,}\n" for name, count in counts.items())


if __name__ == "__main__":
    run_script(main)
