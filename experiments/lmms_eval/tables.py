"""A named benchmark of `experiments/tables/` as objects: its data, and the module that its configuration describes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from datamodules.errors import DataError
from datamodules.region_datamodule import RegionDataModule
from experiments.commands.benchmark import check_files
from experiments.config.interpolation import interpolated
from experiments.config.parts import part_parser
from experiments.named_benchmarks import find_benchmark
from lightning_modules.region_module import RegionModule

NO_BASE = "--model.base.checkpoint=none"
"""A module has to be given a base. Of this one only class, metrics and length of answers are wanted."""


def read_table(
    name: str, root: Path, options: Mapping[str, Any] | None = None
) -> tuple[RegionModule, RegionDataModule]:
    """What `test` makes of a benchmark's configuration, but for the model: a module without weights, and the data.

    Args:
        name: One of `python cli.py benchmark --list`, or a YAML file of one's own.
        root: Where its files lie.
        options: Those of `test`, by name without dashes: `data.num_workers`, `vars.images`, ...

    Raises:
        DataError: There is no such benchmark, a judge model scores it, a file of it is not there, or an option is
            refused.
    """
    benchmark = find_benchmark(name)
    if benchmark.judged:
        raise DataError(f"{name} is scored by a judge model, which is asked by the command `benchmark {name}` alone")
    given = {"vars.root": root, **(options or {})}
    if not any(option.startswith("vars.") for option in options or {}):
        check_files(benchmark, root)
    parser = part_parser("benchmark", ["model", "data"])
    parser.add_subclass_arguments(RegionModule, "model", required=True)
    parser.add_subclass_arguments(RegionDataModule, "data", required=True)
    config = parser.parse_args(
        [f"--config={benchmark.path}", NO_BASE, *(f"--{option}={value}" for option, value in given.items())]
    )
    config = interpolated(parser, config, ["model", "data"])
    made = parser.instantiate_classes(Namespace(model=config.model, data=config.data))  # type: ignore[no-untyped-call]  # jsonargparse's
    made.data.prepare_data()
    return made.model, made.data
