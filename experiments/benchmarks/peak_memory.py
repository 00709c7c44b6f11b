"""The most memory a process has held."""

from __future__ import annotations

import ctypes
from pathlib import Path

import torch

from datamodules.errors import DataError

STATUS = Path("/proc/self/status")
M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
SMALL = 2**16


class PeakMemory:
    """How far this process's memory has grown at most since the object was made.

    On a GPU it is what tensors took there. Else it is resident memory as Linux counts it for this process alone; what
    `getrusage` says would begin with the peak of the process that started this one.

    Args:
        device: Where the tensors are.

    Raises:
        DataError: The operating system does not tell.
    """

    def __init__(self, device: str) -> None:
        self._on_gpu = device.startswith("cuda")
        if self._on_gpu:
            torch.cuda.reset_peak_memory_stats()
        self._before = 0 if self._on_gpu else _bytes("VmRSS")

    def grown(self) -> int:
        """Bytes."""
        return torch.cuda.max_memory_allocated() if self._on_gpu else _bytes("VmHWM") - self._before


def give_back_at_once() -> None:
    """Lets this process return the memory of a tensor to the system as soon as it is freed, from 64 KiB on.

    Else glibc keeps much of it in case it is wanted again, and the peak would be that of the gaps between tensors: in a
    training step of 3.3 GiB they were another 1.3. It costs time, so a process whose memory is measured is not timed.
    """
    ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, SMALL)


def _bytes(name: str) -> int:
    if not STATUS.is_file():
        raise DataError(f"peak memory is read from {STATUS}, which is not there: this needs Linux")
    lines = dict(line.split(":", 1) for line in STATUS.read_text(encoding="ascii", errors="replace").splitlines())
    return int(lines[name].split()[0]) * 1024
