"""What a run was made of, kept in its folder and in MLflow: configuration, machine and software, data."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from jsonargparse import Namespace, namespace_to_dict
from lightning import LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, SaveConfigCallback
from lightning.pytorch.trainer.states import TrainerFn

from datamodules.files import write_text
from datamodules.installation import written
from experiments.named_benchmarks import SECTION
from experiments.run_files import CONFIGURATION, of_command
from experiments.tracking.data_fingerprint import describe_data
from experiments.tracking.mlflow_runs import RunLogger, log_artifact, run_file
from experiments.tracking.provenance import environment

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

READS = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",), "predict": ("predict",)}
"""Command -> splits of the data."""
MOST_SOURCE = 65_535
"""Characters that MLflow takes to say what a dataset comes from."""


class RunRecord(SaveConfigCallback):
    """Keeps what the run is made of in its folder and in MLflow, and the configuration flat as MLflow's parameters.

    The files are `config.yaml`, `environment.json` and `data.json` for fit. Other commands on the same run write
    `config-test.yaml` and so on beside them, so that what a checkpoint was trained with stays known. The run's tag
    `data.fingerprint` is that of the command that began it; its datasets are the sources that its commands have used.
    """

    def __init__(
        self,
        parser: LightningArgumentParser,
        config: Namespace,
        config_filename: str = CONFIGURATION,
        overwrite: bool = True,
        multifile: bool = False,
    ) -> None:
        # a run tracked in sqlite has no log_dir, which Lightning's own way insists on
        super().__init__(parser, config, config_filename, overwrite, multifile, save_to_log_dir=False)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Records any command but a training, whose checkpoint has to be accepted first."""
        if stage != TrainerFn.FITTING.value:
            super().setup(trainer, pl_module, stage)

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Records a training: all that it goes on from is loaded, also what is sharded."""
        super().setup(trainer, pl_module, TrainerFn.FITTING.value)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Where the sanity check is left out."""
        super().setup(trainer, pl_module, TrainerFn.FITTING.value)

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Called by Lightning, once and on rank 0, when the run has begun and its data are prepared."""
        assert trainer.state.fn is not None
        command, folder = trainer.state.fn.value, Path(trainer.default_root_dir)
        tracked = [logger for logger in trainer.loggers if isinstance(logger, RunLogger)]
        for run in tracked:
            run.go_on()
        if tracked:
            write_text(folder / run_file(command), f"{tracked[0].run_id}\n")
        text = written(self.parser.dump(self.config, skip_none=False, skip_validation=True))  # it made the run
        data = describe_data(namespace_to_dict(self.config.data.init_args) if "data" in self.config else {})
        files = {self.config_filename: text, "environment.json": _json(environment()), "data.json": _json(data)}
        for name, content in files.items():
            log_artifact(trainer, write_text(folder / of_command(name, command, "fit"), content))
        # what others have published is no parameter of the run
        told = {name: part for name, part in yaml.safe_load(text).items() if name != SECTION}
        parameters = {"command": command, **flat_parameters(told)}
        for logger in trainer.loggers:
            if logger not in tracked:
                logger.log_hyperparams(parameters)
        for run in tracked:
            run.experiment.log_inputs(run.run_id, datasets=_datasets(data["sources"], command))
            if not run.resumed:
                run.log_hyperparams(parameters)
                run.experiment.set_tag(run.run_id, "data.fingerprint", data["fingerprint"])


def _datasets(sources: Mapping[str, Mapping[str, Any]], command: str) -> list[DatasetInput]:
    """The sources that a command reads, as MLflow shows them beside a run."""
    from mlflow.entities import Dataset, DatasetInput, InputTag
    from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

    used = {name: name.partition("/")[0] for name in sources}
    splits = set(used.values()) & set(READS[command])
    # without sources of its own `predict` has those of the test
    splits = splits if splits or command != "predict" else {"test"}
    return [
        DatasetInput(
            Dataset(name, source["fingerprint"], source["class"], json.dumps(source["options"])[:MOST_SOURCE]),
            [InputTag(MLFLOW_DATASET_CONTEXT, used[name])],
        )
        for name, source in sources.items()
        if used[name] in splits
    ]


def _json(value: Any) -> str:
    return f"{json.dumps(value, indent=2)}\n"


def flat_parameters(config: Mapping[str, Any]) -> dict[str, str]:
    """Command-line option -> value, as `model.init_args.guide_weight`; characters that MLflow refuses become `_`."""
    return {re.sub(r"[^\w./ :-]", "_", key): str(value) for key, value in _leaves(config, "")}


def _leaves(config: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
