"""The options that this framework adds to Lightning's commands, and the page that says where all others are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from datamodules.installation import typed


class Option(NamedTuple):
    """Type, default and purpose."""

    type: Any
    default: Any
    help: str


RUN: Mapping[str, Option] = {
    "experiment": Option(str, "regions", "MLflow experiment of the run."),
    "name": Option(str | None, None, "Name of the run and of its folder."),
    "root": Option(Path, Path("runs"), "Folder of all runs."),
    "tracking_uri": Option(str | None, None, "MLflow server; else sqlite."),
    "tags": Option(dict[str, str], {}, "Further MLflow tags of the run."),
    "join": Option(
        bool | None,
        None,
        "Log into the MLflow run of the training in this folder; null: if the checkpoint lies there.",
    ),
    "system_metrics": Option(bool, True, "Log processor, memory and GPU to MLflow, too."),
    "threads": Option(int | None, None, "Threads of a process; small models are faster with one."),
    "save_every": Option(int, 500, "Optimiser steps between checkpoints."),
    "pictures": Option(int, 12, "Most pictures of an evaluation."),
}
"""`--run...`: where results go."""
VARS = Option(dict[str, Any], {}, "Values that the configuration uses as ${vars.NAME}.")
BENCHMARK = Option(dict[str, Any], {}, "Of a published benchmark: title, files that it needs, published numbers.")

_PAGE = """\
usage: python cli.py {command} --config FILE [--config FILE ...] [--OPTION VALUE ...]

{purpose}

A configuration is what a run is: experiments/README.md lists those that there are. Later files change earlier ones, and
the command line changes all.

whose options              are listed by  python cli.py {command} ...
  the model                --model.help VideoRegionModule
  its region encoder       --model VideoRegionModule --model.region_encoder.help TokenMark
  the data                 --data.help datamodules.VideoRegionDataModule
  a source of the data     --data datamodules.VideoRegionDataModule --data.train.help datamodules.formats.RegionJsonl
  the Trainer, and all     --help all
  a configuration's, set   --config FILE --print_config

options of every run:
{options}
"""


def page(command: str, purpose: str) -> str:
    """What `--help` alone prints, at once; Lightning's own has 500 lines, of which none is of model or data.

    Args:
        command: One of Lightning's.
        purpose: What it does.
    """
    told = {
        "--config FILE": "A configuration, in YAML.",
        "--ckpt_path PATH": "Checkpoint to go on with or to evaluate; `last` is that of the run's folder.",
        "--seed_everything N": "Decides weights, order and marks. (0)",
        "--vars.NAME VALUE": VARS.help,
        **{f"--run.{name}": f"{option.help} ({_shown(option.default)})" for name, option in RUN.items()},
    }
    width = max(map(len, told))
    options = "\n".join(f"  {name:{width}}  {text}" for name, text in told.items())
    return typed(_PAGE).format(command=command, purpose=purpose, options=options)


def _shown(value: object) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
