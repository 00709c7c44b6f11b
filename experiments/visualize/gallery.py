"""Samples of an evaluation that are worth a picture: a few, of every group, with what the model made of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from numpy.typing import NDArray

from datamodules.batching.batch import RegionBatch
from datamodules.regions.footprints import View, finest
from datamodules.types import RegionSample, Task
from experiments.visualize.choice import Choice
from metrics.predictions import Prediction, PredictionMetric

if TYPE_CHECKING:
    import numpy as np

    from lightning_modules.generation.answering import Answered


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One sample with its answer.

    Attributes:
        sample: What was asked.
        frames: The source frames that the model saw.
        prediction: What it answered.
        choice: Which option it chose, by the rule that scores it; None where there are no options.
        heat: (V, N), the guide head's map of the clip's visual tokens, or None without one.
        view: Which pixels and frames these tokens cover; None without a picture.
    """

    sample: RegionSample
    frames: tuple[int, ...]
    prediction: Prediction
    choice: Choice | None
    heat: NDArray[np.float32] | None
    view: View | None

    @property
    def spoken(self) -> str:
        """The answer in words, with the option where one was chosen."""
        said = self.prediction.prediction
        if self.choice is None or self.choice.chosen is None:
            return said
        return f"{said}   chosen option ({self.choice.chosen + 1}) {self.choice.options[self.choice.chosen]}"

    def draw(self, path: Path) -> Path:
        """Writes its picture, with the heat map where there is one; the pixels are read again."""
        from datamodules.media.clips import read_clip
        from experiments.visualize import pictures

        clip = read_clip(self.sample.media, len(self.frames), self.sample.prompted_frames)
        assert clip.frames == self.frames, f"read frames {clip.frames}, the model saw {self.frames}"
        said = self.prediction.prediction
        if self.heat is None or self.view is None or not self.sample.regions:
            figure = pictures.draw_sample(self.sample, clip, said, self.choice)
        else:
            figure = pictures.draw_heat(self.sample, clip, self.heat, self.view, said, self.choice)
        return pictures.save(figure, path)


class Gallery:
    """Keeps the first samples of each group, one a scene.

    Args:
        size: Most exhibits.
        metrics: Task -> the metric that scores it, and says which option is chosen.
    """

    def __init__(self, size: int, metrics: Mapping[Task, PredictionMetric]) -> None:
        self.size = size
        self._metrics = metrics
        self._groups: dict[str, dict[str, Exhibit]] = {}  # group -> scene -> its first sample

    def add(self, batch: RegionBatch, answered: Answered) -> None:
        """Keeps what is still wanted of a batch and the model's answers to it."""
        heats = (
            torch.split(answered.heat, list(batch.token_counts)) if answered.heat is not None else [None] * len(batch)
        )
        for number, (prediction, heat) in enumerate(zip(answered.predictions, heats, strict=True)):
            group, scene = self._groups.setdefault(prediction.group, {}), prediction.cluster or prediction.id
            if len(group) < self.size and scene not in group:
                choice = Choice.of(prediction, self._metrics)
                group[scene] = _exhibit(batch, number, prediction, choice, heat)

    def exhibits(self) -> list[Exhibit]:
        """At most `size`, of every group in turn: its first of a scene that is not shown yet, else its first."""
        groups = [dict(group) for group in self._groups.values()]
        chosen: list[Exhibit] = []
        shown: set[str] = set()
        while len(chosen) < self.size and any(groups):
            for group in filter(None, groups):
                scene = next((scene for scene in group if scene not in shown), next(iter(group)))
                chosen.append(group.pop(scene))
                shown.add(scene)
        return chosen[: self.size]

    def draw(self, folder: Path) -> Iterator[tuple[Exhibit, Path]]:
        """Writes the pictures `folder/000.png` and on, and yields each with its exhibit."""
        for number, exhibit in enumerate(self.exhibits()):
            yield exhibit, exhibit.draw(folder / f"{number:03}.png")


def _exhibit(
    batch: RegionBatch, number: int, prediction: Prediction, choice: Choice | None, heat: torch.Tensor | None
) -> Exhibit:
    sample, views = batch.samples[number], batch.views[number]
    seen = None if heat is None else heat[:, : len(sample.regions)].float().cpu().numpy()
    return Exhibit(sample, batch.frames[number], prediction, choice, seen, finest(views) if views else None)
