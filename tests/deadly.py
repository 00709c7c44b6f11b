"""A source that ends the process that reads it; it imports little, as every process that takes over imports it too."""

from __future__ import annotations

import os
import signal

from datamodules.source import RegionSource
from datamodules.types import NoPicture, RegionSample, Turn


class Deadly(RegionSource):
    """Records of which the fourth is a crash in native code, and the last a mistake of the reader's own."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> RegionSample:
        if index == 3:
            os.kill(os.getpid(), signal.SIGSEGV)
        if index == self.count - 1:
            raise KeyError("a mistake")
        return RegionSample(str(index), NoPicture(), (), (Turn("why", "so"),))
