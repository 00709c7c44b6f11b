"""Tests never reach for the network, and leave nothing behind for each other."""

from __future__ import annotations

import gc
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"  # of processes that tests start
os.environ["SSL_CERT_DIR"] = str(Path(__file__).parent)  # no certificates: each client would read all of the system's

import pytest
import torch

from experiments.tracking import mlflow_store
from experiments.tracking.sqlite_file import SQLITE, make_apart

# a shell that runs the tests in the background has them ignore SIGINT, which processes that they start would inherit
signal.signal(signal.SIGINT, signal.default_int_handler)

# tiny models only lose by a second thread, and sums come out the same everywhere
torch.set_num_threads(1)

# until all tests are imported: what that makes stays
gc.disable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first: at the end of the schedule one process would wait for it."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_collection_finish() -> None:
    """What is imported is searched for garbage no more, which took half a second each time."""
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    """A port, a rank or a process group that one test leaves would make later ones part of its run."""
    with mock.patch.dict(os.environ):
        yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@pytest.fixture(scope="session", autouse=True)
def _one_store_is_migrated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fresh MLflow stores of this process are copies of one: each would take seconds of migrations."""
    migrated = tmp_path_factory.mktemp("store") / "mlflow.db"

    def copied(database: Path | None, make: Callable[[str], object]) -> None:
        make_apart(migrated, make)
        make_apart(database, lambda address: shutil.copyfile(migrated, address.removeprefix(SQLITE)))

    with mock.patch.object(mlflow_store, "make_apart", copied):
        yield


@pytest.fixture
def real_data() -> Path:
    """The folder with real images and videos."""
    if not (folder := os.environ.get("REGION_REAL_DATA")):
        pytest.skip("REGION_REAL_DATA is unset: the folder with real images and videos")
    return Path(folder)
