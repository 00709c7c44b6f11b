"""Draw -> processed sample: the map-style data set that the loader's workers run."""

from __future__ import annotations

from collections.abc import Mapping

from torch.utils.data import Dataset

from datamodules.processor import Processed, RegionProcessor
from datamodules.sampling import Draw
from datamodules.source import RegionSource


class RegionDataset(Dataset[Processed]):
    """Named sources behind one processor; indexed by `Draw`. Ids become `source/id`, unique over the sources."""

    def __init__(self, sources: Mapping[str, RegionSource], processor: RegionProcessor, seed: int = 0) -> None:
        self.names = list(sources)
        self.sources = list(sources.values())
        self.processor = processor
        self.seed = seed

    def __getitem__(self, draw: Draw) -> Processed:
        sample = self.sources[draw.source][draw.record].with_id_prefix(self.names[draw.source])
        named = f"{self.seed}/{draw.position}" if draw.position >= 0 else ""
        return self.processor(sample, draw=named)
