"""Tests never reach for the network, and find each other's helpers."""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"  # of processes that tests start
# what tests share, and the writers of published formats, which stand beside the tests of their readers
sys.path.insert(0, str(Path(__file__).parent / "datamodules" / "formats"))
sys.path.insert(0, str(Path(__file__).parent / "lightning_modules" / "bases"))
sys.path.insert(0, str(Path(__file__).parent / "lightning_modules" / "planning"))
sys.path.insert(0, str(Path(__file__).parent))

import pytest
import torch

# tiny models only lose by a second thread, and sums come out the same everywhere
torch.set_num_threads(1)


@pytest.fixture
def real_data() -> Path:
    """The folder with real images and videos."""
    if not (folder := os.environ.get("REGION_REAL_DATA")):
        pytest.skip("REGION_REAL_DATA is unset: the folder with real images and videos")
    return Path(folder)
