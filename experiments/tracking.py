"""Runs in MLflow: one per command, on sqlite unless a server is named, with the full configuration beside it.

A run has a folder, `<root>/<experiment>/<name>`, which the Trainer knows as its `default_root_dir`: checkpoints,
configuration and results lie there whatever the logger is, and the same command finds them again.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from jsonargparse import Namespace
from lightning import LightningModule, Trainer
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.cli import LightningArgumentParser, SaveConfigCallback
from lightning.pytorch.loggers import MLFlowLogger
from lightning.pytorch.utilities import rank_zero_only

from experiments.files import write_text

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

_SQLITE = "sqlite:///"
RUN_ID = "mlflow_run"  # file of a run's folder


class RunLogger(MLFlowLogger):
    """One MLflow run per command, opened and closed by rank 0.

    The run ends FINISHED, or FAILED on an error or an interrupt. A sqlite store may be opened by several processes
    at once, also for the first time.

    Args:
        experiment_name: Name of the MLflow experiment.
        run_name: Name of the run; MLflow invents one if left out.
        root: Folder of `mlflow.db` and of the artifacts where no address is given.
        tracking_uri: Address of an MLflow server or store. Default: the environment's MLFLOW_TRACKING_URI, else sqlite
            under `root`.
        tags: Tags of the run; one that goes on gets them too.
        system_metrics: Whether processor, memory and GPU of rank 0's machine are logged.
        run_id: The run to go on with, as a resumed training does, or a test of what a training made.
        skip_logged: Whether steps that this run has already are not logged again, so that a resumed training's series
            are those of one that was never interrupted. A test that is repeated counts anew.
    """

    def __init__(
        self,
        experiment_name: str = "regions",
        run_name: str | None = None,
        root: Path = Path("runs"),
        tracking_uri: str | None = None,
        tags: dict[str, str] | None = None,
        system_metrics: bool = False,
        run_id: str | None = None,
        skip_logged: bool = True,
    ) -> None:
        self.uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}{root / 'mlflow.db'}"
        self.system_metrics = system_metrics
        self._monitor: SystemMetricsMonitor | None = None
        self._resumed = run_id is not None
        self._skip_logged = self._resumed and skip_logged
        self._last_steps: dict[str, int] = {}
        with self._alone():
            self._make_store()
            super().__init__(
                experiment_name,
                run_name,
                self.uri,
                dict(tags or {}),
                artifact_location=self._artifacts(experiment_name),
                run_id=run_id,
            )

    def _alone(self) -> AbstractContextManager[object]:
        """Keeps other processes out of a sqlite store: two that migrate it, or make one experiment, collide."""
        if not self.uri.startswith(_SQLITE):
            return nullcontext()
        from filelock import FileLock

        database = Path(self.uri.removeprefix(_SQLITE))
        database.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(database.with_name(f"{database.name}.lock"))

    def _make_store(self) -> None:
        """Makes a sqlite store apart and moves it into its place: a process killed meanwhile leaves none, not half."""
        from mlflow import MlflowClient

        database = Path(self.uri.removeprefix(_SQLITE))
        if not self.uri.startswith(_SQLITE) or database.exists():
            return
        with tempfile.TemporaryDirectory(dir=database.parent) as folder:
            made = Path(folder) / database.name
            MlflowClient(f"{_SQLITE}{made}").search_experiments()
            made.replace(database)

    def _artifacts(self, experiment_name: str) -> str | None:
        """Beside the sqlite file, not in the working directory; a server knows its own place."""
        if not self.uri.startswith(_SQLITE):
            return None
        return str(Path(self.uri.removeprefix(_SQLITE)).parent / "artifacts" / experiment_name)

    @property
    @rank_zero_experiment
    def experiment(self) -> MlflowClient:
        """The client; the first access on rank 0 starts the run."""
        if not self._initialized:
            with self._alone():
                _ = super().experiment
                if self._resumed:
                    self._go_on()
            self._monitor = self._start_monitor()
        return self._mlflow_client

    def _go_on(self) -> None:
        self._mlflow_client.update_run(self._run_id, status="RUNNING")
        for name, value in self.tags.items():
            self._mlflow_client.set_tag(self._run_id, name, value)

    def _start_monitor(self) -> SystemMetricsMonitor | None:
        if not self.system_metrics:
            return None
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        monitor = SystemMetricsMonitor(self._run_id, tracking_uri=self.uri)
        monitor.start()
        return monitor

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Logs what the run does not have yet."""
        if self._skip_logged and step is not None:
            metrics = {name: value for name, value in metrics.items() if step > self._last_step(name)}
        if metrics:
            super().log_metrics(metrics, step)

    def _last_step(self, name: str) -> int:
        """The last step that the run had of a metric when it was resumed; -1 without one."""
        if name not in self._last_steps:
            history = self.experiment.get_metric_history(self.run_id, name)
            self._last_steps[name] = max((point.step for point in history), default=-1)
        return self._last_steps[name]

    @rank_zero_only
    def finalize(self, status: str = "success") -> None:
        """Closes the run; Lightning calls it at the end, on errors and on interrupts."""
        if self._monitor is not None:
            self._monitor.finish()
            self._monitor = None
        super().finalize(status)

    @property
    def name(self) -> str:
        """Empty, as is `version`: Lightning puts checkpoints under both, and the run's folder shall stay the same."""
        return ""

    @property
    def version(self) -> str:
        """Empty; MLflow's own is `run_id`."""
        return ""

    @property
    def resumed(self) -> bool:
        """Whether the run was begun by an earlier process."""
        return self._resumed

    @property
    def page(self) -> str:
        """Where to look at the run: its address on a server, else the command that shows it."""
        if self.uri.startswith("http"):
            return f"{self.uri.rstrip('/')}/#/experiments/{self.experiment_id}/runs/{self.run_id}"
        return f"mlflow ui --backend-store-uri {self.uri}"


class RunConfig(SaveConfigCallback):
    """Keeps the resolved configuration in the run's folder and in MLflow, and flat as MLflow's parameters.

    The file is `config.yaml` for fit. Other commands on the same run write `config-test.yaml` and so on beside it, so
    that what a checkpoint was trained with stays known.
    """

    def __init__(
        self,
        parser: LightningArgumentParser,
        config: Namespace,
        config_filename: str = "config.yaml",
        overwrite: bool = True,
        multifile: bool = False,
    ) -> None:
        # a run tracked in sqlite has no log_dir, which Lightning's own way insists on
        super().__init__(parser, config, config_filename, overwrite, multifile, save_to_log_dir=False)

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Called by Lightning, once and on rank 0, when the run has begun."""
        assert trainer.state.fn is not None
        command = trainer.state.fn.value
        name = self.config_filename if command == "fit" else f"config-{command}.yaml"
        text = self.parser.dump(self.config, skip_none=False)
        path = write_text(Path(trainer.default_root_dir) / name, text)
        for logger in trainer.loggers:
            if not (isinstance(logger, RunLogger) and logger.resumed):
                logger.log_hyperparams({"command": command, **flat_parameters(yaml.safe_load(text))})
            if isinstance(logger, RunLogger) and command == "fit":
                write_text(Path(trainer.default_root_dir) / RUN_ID, f"{logger.run_id}\n")
        log_artifact(trainer, path)


def tracked_run(folder: Path) -> str | None:
    """The MLflow run of the training in this run's folder, if it was tracked."""
    path = folder / RUN_ID
    return path.read_text().strip() if path.is_file() else None


def log_artifact(trainer: Trainer, path: Path, folder: str | None = None) -> None:
    """Copies a file into `folder` of the MLflow runs that the Trainer logs to, if there are any. Rank 0 calls it."""
    for logger in trainer.loggers:
        if isinstance(logger, MLFlowLogger):
            logger.experiment.log_artifact(logger.run_id, str(path), folder)


def flat_parameters(config: Mapping[str, Any]) -> dict[str, str]:
    """Command-line option -> value, as `model.init_args.num_marks`; characters that MLflow refuses become `_`."""
    return {re.sub(r"[^\w./ :-]", "_", key): str(value) for key, value in _leaves(config, "")}


def _leaves(config: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def default_run_name(subcommand: str, config: Namespace) -> str:
    """What a run is called without a name of its own, as `fit-VideoRegionModule-token_mark-seed0`.

    Args:
        subcommand: fit, validate, test or predict.
        config: That subcommand's configuration, before anything is instantiated.
    """
    seed = config.get("seed_everything")
    parts = [
        subcommand,
        (config.get("model.class_path") or "").rpartition(".")[2],
        config.get("model.init_args.region_reference"),
        None if seed is None or isinstance(seed, bool) else f"seed{seed}",
    ]
    return "-".join(part for part in parts if part)


def run_folder(root: Path, experiment: str, name: str) -> Path:
    """Where a run keeps its checkpoints, configuration and results."""
    return root / experiment / name
