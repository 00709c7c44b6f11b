from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from jsonargparse import dict_to_namespace
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.utilities import rank_zero_only
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow_server import serving
from tiny_run import TinyModule, loader, trainer
from tiny_run import run as run_tiny

from datamodules.errors import DataError
from experiments.lightning_cli import RegionCLI
from experiments.tracking.mlflow_runs import RunLogger, default_run_name, run_folder
from experiments.tracking.mlflow_store import Store, page, store_address
from experiments.tracking.run_record import RunRecord, flat_parameters
from processes import finish, start, start_ranks

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for all tests: it takes seconds to make."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def runs(uri: str | Path, experiment: str) -> list[Run]:
    client = MlflowClient(f"sqlite:///{uri / 'mlflow.db'}" if isinstance(uri, Path) else uri)
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    return list(client.search_runs([found.experiment_id], order_by=["start_time ASC"]))


def config_callback(**values: object) -> RunRecord:
    parser = LightningArgumentParser()
    parser.add_argument("--note", type=str)
    parser.add_argument("--rate", type=float)
    return RunRecord(parser, parser.parse_object(values))


def test_an_experiment_is_made_once_beside_its_store(root: Path) -> None:
    store = Store(store_address(root))
    client = store.client()
    made = store.experiment(client, "shown")
    assert store.experiment(client, "shown") == made
    assert Path(client.get_experiment(made).artifact_location.removeprefix("file://")) == root / "artifacts" / "shown"


def test_the_page_of_a_local_store_is_an_address_and_the_command_that_serves_it(tmp_path: Path) -> None:
    """`mlflow ui` alone was not on the path, and opens another page than that of the runs."""
    uri = f"sqlite:///{tmp_path / 'my runs' / 'mlflow.db'}"
    address, _, command = page(uri, "experiments/1/runs/ab").partition(" after ")
    assert address == "http://127.0.0.1:5000/#/experiments/1/runs/ab"
    program, *rest = shlex.split(command)
    assert rest == ["ui", "--backend-store-uri", uri] and Path(program).is_file()


def test_two_runs_in_a_row_are_two_finished_runs(root: Path, tmp_path: Path) -> None:
    long = "x" * 300
    for rate in (0.5, 0.25):
        logger = RunLogger("twice", "same-name", root)
        trainer(logger, tmp_path, callbacks=[config_callback(note=long, rate=rate)]).fit(TinyModule(), loader())

    assert yaml.safe_load((tmp_path / "config.yaml").read_text()) == {"note": long, "rate": 0.25}
    first, second = runs(root, "twice")
    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    for run, logged in ((first, "0.5"), (second, "0.25")):
        assert run.info.status == "FINISHED"
        assert run.info.run_name == "same-name"
        assert run.data.params == {"command": "fit", "note": long[:250], "rate": logged}
        history = client.get_metric_history(run.info.run_id, "train/loss")
        # gradient descent on w^2 from 1 at rate 0.1: w shrinks by 0.8 a step
        assert [point.step for point in history] == [0, 1, 2, 3]
        assert [point.value for point in history] == pytest.approx([0.8 ** (2 * step) for step in range(4)], rel=1e-5)
        copy = Path(client.download_artifacts(run.info.run_id, "config.yaml", str(tmp_path)))
        assert yaml.safe_load(copy.read_text())["rate"] == float(logged)
        assert Path(run.info.artifact_uri.removeprefix("file://")).is_relative_to(root)


@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt()])
def test_a_run_that_breaks_is_marked_failed(root: Path, tmp_path: Path, error: BaseException) -> None:
    experiment = f"broken-{type(error).__name__}"
    run = trainer(RunLogger(experiment, "run", root), tmp_path)
    with pytest.raises((RuntimeError, SystemExit)):  # Lightning turns an interrupt into an exit
        run.fit(TinyModule(error), loader())
    assert [run.info.status for run in runs(root, experiment)] == ["FAILED"]


def test_a_command_that_never_starts_leaves_no_run(root: Path) -> None:
    RunLogger("never", "run", root)
    assert MlflowClient(f"sqlite:///{root / 'mlflow.db'}").get_experiment_by_name("never") is None


def test_ranks_beside_the_first_leave_the_store_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them opened it, and asked it for the training to go on with: 64 clients of one sqlite file."""
    asked: list[str] = []
    monkeypatch.setattr(Store, "client", lambda store: asked.append(store.uri))
    monkeypatch.setenv("LOCAL_RANK", "1")
    options = {"experiment": "e", "name": "r", "root": tmp_path, "tracking_uri": None, "join": None}
    config = {"fit": SimpleNamespace(run=SimpleNamespace(**options), ckpt_path="last")}
    command: Any = SimpleNamespace(subcommand="fit", config_init=config)
    logger = RegionCLI._logger(command, tmp_path)
    monkeypatch.setattr(rank_zero_only, "rank", 1)  # as it is where the variable was there from the beginning
    logger.log_metrics({"train/loss": 1.0}, 1)
    logger.finalize()
    assert not asked
    assert not list(tmp_path.iterdir())


def test_checkpoints_lie_in_the_folder_of_the_run(root: Path, tmp_path: Path) -> None:
    run = trainer(RunLogger("folder", "run", root), tmp_path)
    run.fit(TinyModule(), loader())
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["epoch=0-step=4.ckpt"]


def test_system_metrics_end_with_the_run(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.01")
    logger = RunLogger("system", "run", root, system_metrics=True)
    run = trainer(logger, tmp_path)
    _ = logger.experiment
    time.sleep(1.0)
    run.fit(TinyModule(), loader())
    (logged,) = runs(root, "system")
    assert "system/cpu_utilization_percentage" in logged.data.metrics
    assert logger._monitor is None


@pytest.mark.slow
def test_two_ddp_processes_are_one_run_and_share_a_fresh_store_with_another_command(tmp_path: Path) -> None:
    """Three processes open one store for the first time, at once; migrating it used to be a race."""
    finish(*start_ranks(2, run_tiny, tmp_path, "ddp", 2), start(run_tiny, tmp_path, "alone", 1))
    found = {run.info.run_name: run for run in runs(tmp_path, "tiny")}
    assert len(runs(tmp_path, "tiny")) == 2
    assert [found[name].info.status for name in ("ddp", "alone")] == ["FINISHED", "FINISHED"]
    # the loss of step t is 0.8^(2t); four batches are four steps of one rank and two of two
    assert found["alone"].data.metrics["train/loss"] == pytest.approx(0.8**6)
    assert found["ddp"].data.metrics["train/loss"] == pytest.approx(0.8**2)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    with serving(tmp_path / "server.db", tmp_path / "files") as address:
        yield address


@pytest.mark.parametrize("before", [None, "http://127.0.0.1:1"])
def test_a_run_leaves_the_environment_alone(root: Path, monkeypatch: pytest.MonkeyPatch, before: str | None) -> None:
    """MLflow used to leave its address there, and the next run of the process was logged to it whatever its root."""
    logger = RunLogger("run", "run", root)
    if before is not None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", before)
    assert logger.run_id
    assert os.environ.get("MLFLOW_TRACKING_URI") == before


@pytest.mark.slow
def test_a_server_gets_one_clean_run(server: str, tmp_path: Path) -> None:
    logger = RunLogger("served", "run", tmp_path / "runs", server, tags={"kind": "test"})
    callbacks = [config_callback(note="n", rate=1.0)]
    trainer(logger, tmp_path / "run", callbacks=callbacks).fit(TinyModule(), loader())
    (run,) = runs(server, "served")
    assert run.info.status == "FINISHED"
    assert run.data.tags["kind"] == "test"
    assert [file.path for file in MlflowClient(server).list_artifacts(run.info.run_id)] == [
        "config.yaml",
        "data.json",
        "environment.json",
    ]
    assert logger.page == f"{server}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
    assert not (tmp_path / "runs").exists()


def test_the_environment_names_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    with pytest.raises(DataError, match=r"^MLflow at http://127.0.0.1:1 does not answer"):
        RunLogger()
    with pytest.raises(DataError, match=r"^MLflow at http://127.0.0.1:2 does not answer"):
        RunLogger(tracking_uri="http://127.0.0.1:2")


def test_parameters_are_the_options_of_the_command_line() -> None:
    config = {"model": {"class_path": "a.B", "init_args": {"rate": 0.5, "of (all)": None}}, "names": ["x"]}
    assert flat_parameters(config) == {
        "model.class_path": "a.B",
        "model.init_args.rate": "0.5",
        "model.init_args.of _all_": "None",
        "names": "['x']",
    }


def test_default_run_name_says_what_is_known() -> None:
    model = {
        "class_path": "lightning_modules.VideoRegionModule",
        "init_args": {"region_encoder": {"class_path": "x.Ring"}},
    }
    seeded, unseeded = (dict_to_namespace({"seed_everything": seed, "model": model}) for seed in (3, True))
    assert default_run_name(seeded) == "VideoRegionModule-Ring-seed3"
    assert default_run_name(unseeded) == "VideoRegionModule-Ring"
    assert run_folder(Path("runs"), "shapes", "a") == Path("runs/shapes/a")
