"""The parent run in MLflow, and what it says in the runs of its points."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from stub_sweep import write_sweep

from experiments.sweeps.parent import ParentRun
from experiments.sweeps.specification import read_sweep
from experiments.tracking.mlflow_store import Store


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for all tests: it takes seconds to make."""
    return tmp_path_factory.mktemp("sweep")


@pytest.fixture(scope="module")
def store(folder: Path) -> Store:
    return Store(f"sqlite:///{folder / 'mlflow.db'}")


@pytest.fixture
def client(store: Store) -> MlflowClient:
    return store.client()


def children(client: MlflowClient, parent: ParentRun, point: str, view: int = ViewType.ACTIVE_ONLY) -> list[Run]:
    experiment = client.get_run(parent.run_id).info.experiment_id
    return list(client.search_runs([experiment], f"tags.point = '{point}'", view))


def begin(client: MlflowClient, parent: ParentRun, point: str) -> str:
    experiment = client.get_run(parent.run_id).info.experiment_id
    tags = {"mlflow.parentRunId": parent.run_id, "point": point}
    return str(client.create_run(experiment, tags=tags).info.run_id)


def test_a_sweep_has_one_parent_with_its_file(folder: Path, store: Store, client: MlflowClient) -> None:
    path = write_sweep(folder)
    parent = ParentRun(read_sweep(path), store)
    parent.close(failed=False)
    run = client.get_run(parent.run_id)
    assert (run.info.run_name, run.info.status) == ("sizes", "FINISHED")
    assert run.data.tags.items() >= {"sweep": "sizes", "sweep.parent": "true"}.items()
    assert client.get_experiment(run.info.experiment_id).name == "sizes"

    again = ParentRun(read_sweep(write_sweep(folder, seeds=[0, 1, 2])), store)
    assert again.run_id == parent.run_id
    assert client.get_run(parent.run_id).info.status == "RUNNING"
    kept = Path(client.download_artifacts(parent.run_id, "sweep.yaml", str(folder)))
    assert kept.read_text() == path.read_text() and "- 2\n" in path.read_text()
    again.close(failed=True)
    assert client.get_run(parent.run_id).info.status == "FAILED"


def test_of_two_parents_that_were_begun_at_once_the_earlier_stays(
    folder: Path, store: Store, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = read_sweep(write_sweep(folder))
    parent = ParentRun(sweep, store)
    looks = iter([None])
    first = ParentRun._first
    # the second had looked before the first was there
    monkeypatch.setattr(ParentRun, "_first", lambda self, name: next(looks, first(self, name)))
    assert ParentRun(sweep, store).run_id == parent.run_id
    experiment = client.get_run(parent.run_id).info.experiment_id
    assert len(client.search_runs([experiment], "tags.`sweep.parent` = 'true'")) == 1


def test_an_error_is_a_tag_of_the_points_run_until_it_is_done(folder: Path, store: Store, client: MlflowClient) -> None:
    parent = ParentRun(read_sweep(write_sweep(folder)), store)
    failing, other = (begin(client, parent, point) for point in ("size=1,seed=0", "size=2,seed=0"))
    parent.failed("size=1,seed=0", "out of memory")
    parent.failed("size=1,seed=1", "was not even tracked")
    run = client.get_run(failing)
    assert (run.data.tags["error"], run.info.status) == ("out of memory", "FAILED")
    assert "error" not in client.get_run(other).data.tags and client.get_run(other).info.status == "RUNNING"
    parent.done("size=1,seed=0")
    parent.done("size=2,seed=0")
    assert "error" not in client.get_run(failing).data.tags


def test_what_is_discarded_can_be_restored(folder: Path, store: Store, client: MlflowClient) -> None:
    parent = ParentRun(read_sweep(write_sweep(folder)), store)
    run = begin(client, parent, "size=3,seed=0")
    parent.discard("size=3,seed=0")
    assert children(client, parent, "size=3,seed=0") == []
    (deleted,) = children(client, parent, "size=3,seed=0", ViewType.DELETED_ONLY)
    assert deleted.info.run_id == run
