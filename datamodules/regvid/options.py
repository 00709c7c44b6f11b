"""What a configuration of the pipeline says."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from datamodules.errors import DataError
from datamodules.regvid.budget import Limits
from datamodules.regvid.models import Models
from datamodules.regvid.patience import Patience
from datamodules.regvid.verify import Checks
from datamodules.regvid.wanted import Wanted


@dataclass(frozen=True)
class Options:
    """Instruction data from annotated videos.

    Args:
        to: Folder of the data, of the journal and of all counts.
        models: Which model does what.
        split: Whose sources are read.
        budget: What all runs on this folder's journal may use together.
        patience: What is done when things go wrong.
        wanted: What models have to write like.
        checks: How strictly is checked what models have written.
        concurrency: Most calls at the same time, and most videos in work.
        judge_frames: Frames that the judge is shown.
        pictures: Of so many videos, spread evenly, the marked frames are kept beside the data, for the report.
        most_videos: The first so many videos only; all if left out.
        templates: Folder of edited templates; the built-in one is used for each that is not in it.
        keep_gib: Most GiB of frames in `to`, of videos that are not finished: a run that goes on reads them there, and
            makes the others again.
        seed: Decides which wording a sample asks with.
    """

    to: Path = Path("runs/regvid")
    models: Models = field(default_factory=Models)
    split: Literal["train", "val", "test", "predict"] = "train"
    budget: Limits = field(default_factory=Limits)
    patience: Patience = field(default_factory=Patience)
    wanted: Wanted = field(default_factory=Wanted)
    checks: Checks = field(default_factory=Checks)
    concurrency: int = 8
    judge_frames: int = 8
    pictures: int = 24
    most_videos: int | None = None
    templates: Path | None = None
    keep_gib: float = 20.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.pictures < 0:
            raise DataError(f"regvid.pictures is {self.pictures}, none is 0")
        if self.concurrency < 1 or (self.most_videos is not None and self.most_videos < 1):
            raise DataError(f"regvid: concurrency {self.concurrency} and most_videos {self.most_videos}: at least 1")
        if self.budget.money is not None and not any(model.price_in + model.price_out for model in self.models.every()):
            raise DataError(f"regvid.budget.money is {self.budget.money:g}, but no model has price_in and price_out")
