from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient

from datamodules.errors import DataError
from experiments.tracking.mlflow_runs import RUN_ID
from experiments.tracking.mlflow_store import Store, store_address
from experiments.tracking.training_run import training_run


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """One for all tests: it takes seconds to make."""
    return Store(f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}")


def began(client: MlflowClient, experiment: str, folder: Path, command: str) -> str:
    """A run that was killed before it could write anything into its folder."""
    found = client.get_experiment_by_name(experiment)
    experiment_id = client.create_experiment(experiment) if found is None else found.experiment_id
    tags = {"folder": str(folder.resolve()), f"command/{command}": "python cli.py"}
    run_id: str = client.create_run(experiment_id, tags=tags).info.run_id
    return run_id


def test_a_folder_that_nothing_was_trained_in_has_none(store: Store, tmp_path: Path) -> None:
    assert training_run(store, "nobody's", tmp_path) is None
    began(store.client(), "others", tmp_path / "other", "fit")
    began(store.client(), "others", tmp_path / "this", "test")
    assert training_run(store, "others", tmp_path / "this") is None


@pytest.mark.parametrize("name", ["plain", "it's", 'a "b"'])
def test_a_training_that_left_no_file_is_found_by_its_folder(store: Store, tmp_path: Path, name: str) -> None:
    began(store.client(), "killed", tmp_path / name, "fit")
    last = began(store.client(), "killed", tmp_path / name, "fit")
    assert training_run(store, "killed", tmp_path / name) == last


def test_the_file_of_the_folder_is_believed_first(store: Store, tmp_path: Path) -> None:
    written = began(store.client(), "written", tmp_path / "elsewhere", "fit")
    began(store.client(), "written", tmp_path, "fit")
    (tmp_path / RUN_ID).write_text(f"{written}\n")
    assert training_run(store, "written", tmp_path) == written


def test_a_run_that_the_store_lost_is_an_error_that_names_file_and_store(store: Store, tmp_path: Path) -> None:
    run_id = began(store.client(), "lost", tmp_path, "fit")
    (tmp_path / RUN_ID).write_text(f"{run_id}\n")
    fresh = Store(store_address(tmp_path / "new", None))
    for where in (fresh, store):
        with pytest.raises(DataError) as raised:
            training_run(where, "lost", tmp_path)
        for word in (str(tmp_path / RUN_ID), run_id, where.uri):
            assert word in str(raised.value)
        store.client().delete_run(run_id)  # next, one that is in the store's bin


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
