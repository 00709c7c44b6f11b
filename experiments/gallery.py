"""Samples of an evaluation that are worth a picture: a few, of every group, with what the model made of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from numpy.typing import NDArray

from datamodules.regions import Fit, Placement
from datamodules.types import RegionBatch, RegionSample, Task
from experiments.choice import Choice
from metrics.predictions import Prediction, PredictionMetric

if TYPE_CHECKING:
    import numpy as np

    from lightning_modules.answering import Answered


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One sample with its answer.

    Attributes:
        sample: What was asked.
        frames: The source frames that the model saw.
        prediction: What it answered.
        choice: Which option it chose, by the rule that scores it; None where there are no options.
        heat: (T, G, G, N), the guide head's map, or None without one.
        side: S, side of the image that the model saw.
    """

    sample: RegionSample
    frames: tuple[int, ...]
    prediction: Prediction
    choice: Choice | None
    heat: NDArray[np.float32] | None
    side: int

    @property
    def spoken(self) -> str:
        """The answer in words, with the option where one was chosen."""
        said = self.prediction.prediction
        if self.choice is None or self.choice.chosen is None:
            return said
        return f"{said}   chosen option ({self.choice.chosen + 1}) {self.choice.options[self.choice.chosen]}"

    def draw(self, path: Path, fit: Fit) -> Path:
        """Writes its picture, with the heat map where there is one; the pixels are read again."""
        from datamodules.media import read_clip
        from experiments import pictures

        clip = read_clip(self.sample.media, len(self.frames), self.sample.prompted_frames)
        assert clip.frames == self.frames, f"read frames {clip.frames}, the model saw {self.frames}"
        said = self.prediction.prediction
        if self.heat is None or not self.sample.regions:
            figure = pictures.draw_sample(self.sample, clip, said, self.choice)
        else:
            height, width = clip.pixels.shape[1:3]
            placement = Placement.of((height, width), self.side, fit)
            figure = pictures.draw_heat(self.sample, clip, self.heat, placement, said, self.choice)
        return pictures.save(figure, path)


class Gallery:
    """Keeps the first samples of each group.

    Args:
        size: Most exhibits.
        metrics: Task -> the metric that scores it, and says which option is chosen.
    """

    def __init__(self, size: int, metrics: Mapping[Task, PredictionMetric]) -> None:
        self.size = size
        self._metrics = metrics
        self._groups: dict[str, list[Exhibit]] = {}

    def add(self, batch: RegionBatch, answered: Answered) -> None:
        """Keeps what is still wanted of a batch and the model's answers to it."""
        ends = batch.frame_counts.cumsum(0).tolist()
        for number, prediction in enumerate(answered.predictions):
            group = self._groups.setdefault(prediction.group, [])
            if len(group) < self.size:
                choice = Choice.of(prediction, self._metrics)
                group.append(_exhibit(batch, answered, number, ends[number], choice))

    def exhibits(self) -> list[Exhibit]:
        """At most `size`: the first of every group, then the second of every group, and so on."""
        turns = chain.from_iterable(zip_longest(*self._groups.values()))
        return [exhibit for exhibit in turns if exhibit is not None][: self.size]

    def draw(self, folder: Path, fit: Fit) -> Iterator[tuple[Exhibit, Path]]:
        """Writes the pictures `folder/000.png` and on, and yields each with its exhibit."""
        for number, exhibit in enumerate(self.exhibits()):
            yield exhibit, exhibit.draw(folder / f"{number:03}.png", fit)


def _exhibit(batch: RegionBatch, answered: Answered, number: int, end: int, choice: Choice | None) -> Exhibit:
    sample, frames = batch.samples[number], batch.frames[number]
    heat = None
    if answered.heat is not None:
        tokens = answered.heat[end - len(frames) : end, :, : len(sample.regions)].float().cpu().numpy()
        grid = round(tokens.shape[1] ** 0.5)
        heat = tokens.reshape(len(frames), grid, grid, -1)
    return Exhibit(sample, frames, answered.predictions[number], choice, heat, batch.pixel_values.shape[-1])
