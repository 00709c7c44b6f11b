"""Model, data module and strategy of a run's configuration, without its data and before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence

from jsonargparse import Namespace
from lightning import Trainer

from datamodules.region_datamodule import RegionDataModule
from experiments.config.interpolation import interpolated
from experiments.config.parts import part_parser
from lightning_modules.planning.plan import ConfiguredRun
from lightning_modules.region_module import RegionModule

OF_THE_DATA = ("train", "val", "test", "predict", "weights")


def configured_run(arguments: Sequence[str]) -> ConfiguredRun:
    """What `--config`, `--model...`, `--data...`, `--trainer...` and `--vars...` of a command line make.

    Sources are left out, so neither their files nor the values that name them are needed.

    Raises:
        DataError: Another value that the configuration refers to is not set.
    """
    parser = part_parser("plan", ["model", "data", "trainer"])
    parser.add_class_arguments(Trainer, "trainer", instantiate=False)
    parser.add_subclass_arguments(RegionModule, "model", required=True)
    parser.add_subclass_arguments(RegionDataModule, "data", required=True)
    config = parser.parse_args(list(arguments))
    for name in OF_THE_DATA:
        config.data.init_args[name] = None
    config = interpolated(parser, config, ["model", "data", "trainer"])
    chosen = {"model": config.model, "data": config.data, "trainer.strategy": config.trainer.strategy}
    wanted = Namespace(chosen)  # type: ignore[no-untyped-call]  # jsonargparse's
    made = parser.instantiate_classes(wanted)
    precision = config.trainer.precision
    return ConfiguredRun(made.model, made.data, made.trainer.strategy, None if precision is None else str(precision))
