"""The data module of a run's configuration, without its model."""

from __future__ import annotations

from collections.abc import Sequence

from jsonargparse import Namespace

from datamodules.region_datamodule import RegionDataModule
from experiments.config.interpolation import interpolated
from experiments.config.parts import part_parser


def configured_data(arguments: Sequence[str]) -> RegionDataModule:
    """What `--config`, `--data...` and `--vars...` of a command line make; the rest of a configuration is ignored.

    Raises:
        DataError: A value that the configuration refers to is not set.
    """
    parser = part_parser("doctor", ["data"])
    parser.add_subclass_arguments(RegionDataModule, "data", required=True)
    config = interpolated(parser, parser.parse_args(list(arguments)))
    made = parser.instantiate_classes(Namespace(data=config.data))  # type: ignore[no-untyped-call]  # jsonargparse's
    data: RegionDataModule = made.data
    return data
