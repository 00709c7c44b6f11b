"""Tests never reach for the network, and leave nothing behind for each other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"  # of processes that tests start

import pytest
import torch

# tiny models only lose by a second thread, and sums come out the same everywhere
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    """A port, a rank or a process group that one test leaves would make later ones part of its run."""
    with mock.patch.dict(os.environ):
        yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@pytest.fixture
def real_data() -> Path:
    """The folder with real images and videos."""
    if not (folder := os.environ.get("REGION_REAL_DATA")):
        pytest.skip("REGION_REAL_DATA is unset: the folder with real images and videos")
    return Path(folder)
