"""Draw -> processed sample: the map-style data set that the loader's workers run."""

from __future__ import annotations

import signal
from collections.abc import Mapping

from torch.utils.data import Dataset

from datamodules.batching.processor import Processed, RegionProcessor
from datamodules.batching.sampling import Draw
from datamodules.errors import DataError
from datamodules.parent import end_with_parent
from datamodules.prompting.choices import answered
from datamodules.reading.checks import check_taught
from datamodules.source import RegionSource
from datamodules.types import PromptedFrames, RegionSample

GRACE = 60  # seconds


class RegionDataset(Dataset[Processed]):
    """Named sources behind one processor; indexed by `Draw`. Ids become `source/id`, unique over the sources."""

    def __init__(
        self,
        sources: Mapping[str, RegionSource],
        processor: RegionProcessor,
        seed: int = 0,
        prompted_frames: PromptedFrames = "own",
    ) -> None:
        self.names = list(sources)
        self.sources = list(sources.values())
        self.processor = processor
        self.seed = seed
        self.prompted_frames: PromptedFrames = prompted_frames

    def __getitem__(self, draw: Draw) -> Processed:
        return self.process(draw, self.sample(draw))

    def sample(self, draw: Draw) -> RegionSample:
        """The record that was drawn: see `record`. In training one that has a turn without an answer is an error."""
        name, source = self.names[draw.source], self.sources[draw.source]
        return record(name, source, draw.record, self.prompted_frames, taught=draw.position >= 0)

    def process(self, draw: Draw, sample: RegionSample) -> Processed:
        """What the model eats of it; in training the marks depend on the position too."""
        named = f"{self.seed}/{draw.position}" if draw.position >= 0 else ""
        return self.processor(sample, draw=named)


def record(
    name: str, source: RegionSource, number: int, prompted_frames: PromptedFrames = "own", taught: bool = False
) -> RegionSample:
    """A source's record as it is asked about: under the source's name, its right option as answer where it has one.

    Args:
        name: Of the source.
        source: Where it is from.
        number: Which it is.
        prompted_frames: On which frames its regions are pointed at.
        taught: Whether it is learnt from.

    Raises:
        DataError: The record cannot be used, or it is to be learnt from and has a turn without an answer.
    """
    sample = source[number].with_id_prefix(name)
    try:
        sample = answered(sample)
        if taught:
            check_taught(sample)
    except DataError as error:
        raise sample.error(str(error)) from None
    return sample.prompted_everywhere() if prompted_frames == "all" else sample


def begin_worker(number: int) -> None:
    """Called by a loader's worker before its first sample; all that it draws has a generator of its own.

    Without such a function Lightning seeds workers by one of its own, and each would import it first, for seconds.

    A worker that gets SIGTERM, which schedulers send to every process, has `GRACE` seconds left: the run would fail by
    a dead worker before it can save itself. Sooner than that it ends when the run has, whatever ended it.
    """
    end_with_parent()
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(GRACE))
