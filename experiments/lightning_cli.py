"""LightningCLI with this framework's defaults: a stable folder a run, tracking, a report at the end."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jsonargparse import namespace_to_dict
from lightning import Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from datamodules.errors import DataError, at_least
from datamodules.region_datamodule import RegionDataModule
from experiments.checkpointing import RunCheckpoint
from experiments.config.interpolation import interpolated
from experiments.config.options import BENCHMARK, RUN, VARS
from experiments.config.run_parser import RunParser
from experiments.opening import Opening
from experiments.progress import Progress
from experiments.quiet import quieten
from experiments.recipe import recipe
from experiments.reporting import Report
from experiments.termination import Termination
from experiments.tracking.costs import Costs
from experiments.tracking.mlflow_runs import RunLogger, default_run_name, opens_store, run_folder
from experiments.tracking.mlflow_store import Store, store_address
from experiments.tracking.run_record import RunRecord
from experiments.tracking.run_tags import command_tag, place, run_tags
from experiments.tracking.training_run import check_not_lost, training_run
from lightning_modules.checkpoints.files import WholeCheckpointIO, recover
from lightning_modules.checkpoints.reading import AnyCheckpointIO
from lightning_modules.region_module import RegionModule
from lightning_modules.training.sharding import FullySharded

OF_LIGHTNING = ("last", "best", "hpc", "registry")
"""What `--ckpt_path` may be other than a path."""


class RegionCLI(LightningCLI):
    """Every run has a folder, `<root>/<experiment>/<name>`, where the same command finds its checkpoints again.

    Args:
        arguments: The command line, which begins with the subcommand.
        options: LightningCLI's.
    """

    def __init__(self, arguments: Sequence[str], **options: Any) -> None:
        self.arguments = list(arguments)
        super().__init__(args=self.arguments, **options)

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]  # Lightning's is a static method
        """The one of the command line: making a parser for each of the others takes as long as reading a file."""
        return {name: skipped for name, skipped in super().subcommands().items() if name == self.arguments[0]}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """`run` says where results go; a value that two classes need is written once."""
        own = {**{f"run.{name}": option for name, option in RUN.items()}, "vars": VARS, "benchmark": BENCHMARK}
        for name, option in own.items():
            parser.add_argument(f"--{name}", **option._asdict())
        # one file says how a benchmark is answered and who judges the answers
        parser.add_argument("--judge", type=dict[str, Any] | None, default=None, help="Of the command judge; ignored.")
        parser.link_arguments("seed_everything", "data.init_args.seed", compute_fn=int)

    def setup_parser(self, *arguments: Any, **options: Any) -> None:
        """Leaves it to the report to print scores, once and with their protocols, and to keep predictions."""
        super().setup_parser(*arguments, **options)
        left = {"validate": {"verbose": False}, "test": {"verbose": False}, "predict": {"return_predictions": False}}
        for name in self.subcommands():
            self._parser(name).set_defaults({"trainer.enable_model_summary": False, **left.get(name, {})})

    def before_instantiate_classes(self) -> None:
        """Gives the run its folder; a run without a name gets one that says what it is.

        Raises:
            DataError: The folder cannot be made, an option of the run is out of range, or a value is not set.
        """
        assert self.subcommand is not None
        self._files = [Path(path.absolute) for path in self.config[self.subcommand].config or []]
        config = interpolated(self._parser(self.subcommand), self.config[self.subcommand])
        self.config[self.subcommand] = config
        at_least(1, **{"run.threads": config.run.threads, "run.save_every": config.run.save_every})
        at_least(0, **{"run.pictures": config.run.pictures})
        if config.run.threads:
            torch.set_num_threads(config.run.threads)
        config.run.name = config.run.name or default_run_name(config)
        folder = run_folder(config.run.root, config.run.experiment, config.run.name)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"--run.root {config.run.root}: {folder}: {error.strerror}") from error
        config.trainer.default_root_dir = str(folder)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The Trainer, tracked in MLflow unless the configuration has a logger of its own, or false."""
        run, trainer = self.config_init[self.subcommand].run, self.config_init[self.subcommand].trainer
        # the last checkpoint lies where `--ckpt_path last` of the same command looks for it
        folder = Path(trainer.default_root_dir) / "checkpoints"
        recover(folder)
        self._check_checkpoint(folder)
        if trainer.overfit_batches:
            raise DataError(
                f"trainer.overfit_batches {trainer.overfit_batches}: training samples are a stream, which has no first "
                "batches; give data.train a small source instead"
            )
        if trainer.logger in (None, True):
            kwargs["logger"] = self._logger(Path(trainer.default_root_dir))
        termination = Termination()
        kwargs["callbacks"] = [
            *(trainer.callbacks or []),
            *self._progress(),
            termination,
            RunCheckpoint(folder, run.save_every, termination, self._recipe),
            Costs(),
            Opening(),
            Report(run.pictures, min(run.pictures, 4)),
        ]
        made = super().instantiate_trainer(**kwargs)
        if not isinstance(made.strategy, FullySharded):
            made.strategy.checkpoint_io = WholeCheckpointIO() if self.subcommand == "fit" else AnyCheckpointIO()
        return made

    def _progress(self) -> list[Progress]:
        """Ours, but for a bar of the user's own, and for none."""
        trainer = self.config_init[self.subcommand].trainer
        own = any(isinstance(callback, ProgressBar) for callback in trainer.callbacks or [])
        return [] if own or trainer.enable_progress_bar is False else [Progress()]

    def _logger(self, folder: Path) -> RunLogger:
        """A new MLflow run, or that of the training in the run's folder, of which an evaluation is a part.

        Raises:
            DataError: The run to join is not there.
        """
        assert self.subcommand is not None
        run, training = self.config_init[self.subcommand].run, self.subcommand == "fit"
        if not opens_store():
            return RunLogger(run.experiment, run.name, run.root, run.tracking_uri)
        # a training that goes on does so in its MLflow run, also if it was killed before its first checkpoint
        resumed = training and self.config_init[self.subcommand].ckpt_path is not None
        store = Store(store_address(run.root, run.tracking_uri))
        checkpoint = self._checkpoint(folder)
        within = checkpoint is not None and checkpoint.resolve().is_relative_to(folder.resolve())
        joins = not training and within if run.join is None else run.join
        run_id = training_run(store, run.experiment, folder) if joins or resumed else None
        if training and run_id is not None and self.config_init[self.subcommand].ckpt_path == "last":
            check_not_lost(store, run_id, folder / "checkpoints" / "last.ckpt")
        if run.join and run_id is None:
            raise DataError(f"--run.join: there is no tracked training in {folder}")
        # what a run began with stays its own, but for its place, which may have been moved
        own = run_tags(self.model, folder, self._files, checkpoint) if run_id is None else place(folder)
        return RunLogger(
            run.experiment,
            run.name,
            run.root,
            run.tracking_uri,
            {**own, **command_tag(self.arguments), **run.tags},
            run.system_metrics,
            run_id,
            skip_logged=training,
        )

    def _recipe(self) -> dict[str, str]:
        """What decides the training, of the configuration as it was given."""
        return recipe(namespace_to_dict(self.config[self.subcommand]))

    def _checkpoint(self, folder: Path) -> Path | None:
        """Where the weights that the run is about lie: those it makes, or those it evaluates."""
        assert self.subcommand is not None
        path = self.config_init[self.subcommand].ckpt_path
        if self.subcommand == "fit" or path == "last":
            return folder / "checkpoints" / "last.ckpt"
        return None if path is None else Path(path)

    def _check_checkpoint(self, folder: Path) -> None:
        """Refuses to score an untrained model; a training may name `last` before there is any.

        Raises:
            DataError: The checkpoint is not there.
        """
        path = self.config_init[self.subcommand].ckpt_path
        if path == "last" and self.subcommand != "fit" and not (folder / "last.ckpt").exists():
            raise DataError(f"--ckpt_path last: there is no {folder / 'last.ckpt'}")
        if path is not None and str(path) not in OF_LIGHTNING and "://" not in str(path) and not Path(path).exists():
            raise DataError(f"--ckpt_path {path}: there is no such file")

    def _parse_ckpt_path(self) -> None:
        """The configuration alone says what the model is; a checkpoint's own options never override it."""

    def _add_instantiators(self) -> None:
        """None: Lightning's write the whole configuration and read it again, for hyperparameters of checkpoints."""


class Parsed(RegionCLI):
    """A command line read to its end, its values filled in, and nothing made of it."""

    def _set_seed(self) -> None:
        """Not yet."""

    def before_instantiate_classes(self) -> None:
        """Fills in the values."""
        interpolated(self._parser(self.subcommand), self.config[self.subcommand])

    def instantiate_classes(self) -> None:
        """Not yet."""

    def _run_subcommand(self, subcommand: str) -> None:
        """Not yet."""


def check(arguments: Sequence[str]) -> None:
    """Reads a command line of one of Lightning's subcommands.

    Raises:
        DataError: It could not be run.
    """
    _read(Parsed, arguments)


def main(arguments: Sequence[str]) -> None:
    """Runs one of Lightning's subcommands.

    Raises:
        DataError: Something of it cannot be used, or Lightning refuses it.
    """
    try:
        _read(RegionCLI, arguments)
    except (MisconfigurationException, ValueError, RuntimeError, ImportError) as error:
        if not _is_lightnings(error):
            raise
        raise DataError(f"refused by Lightning: {error}") from error


def _read(cli: type[RegionCLI], arguments: Sequence[str]) -> None:
    quieten()
    cli(
        arguments,
        model_class=RegionModule,
        datamodule_class=RegionDataModule,
        save_config_callback=RunRecord,
        save_config_kwargs={"overwrite": True},
        seed_everything_default=0,
        parser_class=RunParser,
        subclass_mode_model=True,
        subclass_mode_data=True,
        auto_configure_optimizers=False,  # the model has its own, and its options say which
    )


def _is_lightnings(error: Exception) -> bool:
    """Whether Lightning itself has raised it, as it does with options that it cannot follow, and nothing below it."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return str(frames[-1].f_globals.get("__name__")).startswith("lightning.")
