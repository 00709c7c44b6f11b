"""The data module of a run's configuration, without its model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jsonargparse import ActionConfigFile, Namespace
from lightning.pytorch.cli import LightningArgumentParser

from datamodules.region_datamodule import RegionDataModule
from experiments.interpolation import interpolated

OTHERS = ("model", "trainer", "run", "seed_everything", "ckpt_path")


def configured_data(arguments: Sequence[str]) -> RegionDataModule:
    """What `--config`, `--data...` and `--vars...` of a command line make; the rest of a configuration is ignored.

    Raises:
        DataError: A value that the configuration refers to is not set.
    """
    parser = LightningArgumentParser(prog="python cli.py doctor", description="Options of the configuration.")
    parser.add_argument("--config", action=ActionConfigFile, help="File of a run; later ones override.")
    parser.add_subclass_arguments(RegionDataModule, "data", required=True)
    parser.add_argument("--vars", type=dict[str, Any], default={}, help="Values that the configuration uses.")
    for name in OTHERS:
        parser.add_argument(f"--{name}", type=Any, help="Not looked at.")
    config = interpolated(parser, parser.parse_args(list(arguments)))
    made = parser.instantiate_classes(Namespace(data=config.data))  # type: ignore[no-untyped-call]  # jsonargparse's
    data: RegionDataModule = made.data
    return data
