"""Held-out scenes, read from real files like any other data."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Literal

from datamodules.formats.region_jsonl import RegionJsonl
from datamodules.reading.prompts import Prompt
from datamodules.shapes.mixture import check_names
from datamodules.shapes.questions import groups_of
from datamodules.shapes.scene import Kind, set_of
from datamodules.shapes.showing import Showing
from datamodules.shapes.writer import TEST_SCENES, VAL_SCENES, annotation_path, write_shapes
from datamodules.source import RegionSource
from datamodules.types import RegionSample

FOLDERS: dict[Kind, Path] = {
    "image": Path("data/shapes"),
    "video": Path("data/shapes"),
    "hard": Path("data/shapes_hard"),
}


class ShapesFiles(RegionSource):
    """Held-out scenes of moving shapes, read from files that are written first where they are missing.

    Sources of one root share its files: give them the same seed and numbers of scenes.

    Args:
        root: Folder of the data set; `data/shapes`, or `data/shapes_hard` for hard ones, if left out.
        kind: "image", "video" of four frames, or "hard", see `ShapesStream`.
        split: "val" or "test".
        groups: The sorts of questions to read; every scene has one of each. All if left out.
        seed: Other seeds, other scenes.
        val_scenes: Scenes of each kind in the validation split.
        test_scenes: Scenes of each kind in the test split.
        workers: Processes that write; as many as CPUs where there is enough to do if left out.
        prompt: Point at figures by their masks, or by the boxes around them.
        category_names: Name a figure before every mention, `red ring <region>`, or mention the region alone.

    Raises:
        DataError: There is no such sort of question.
    """

    def __init__(
        self,
        root: Path | None = None,
        kind: Kind = "image",
        split: Literal["val", "test"] = "val",
        groups: list[str] | None = None,
        seed: int = 0,
        val_scenes: int = VAL_SCENES,
        test_scenes: int = TEST_SCENES,
        workers: int | None = None,
        prompt: Prompt = "mask",
        category_names: bool = False,
    ) -> None:
        self.root = Path(root or FOLDERS[kind])
        self.kind: Kind = kind
        self.split: Literal["val", "test"] = split
        self.groups = list(groups_of(kind)) if groups is None else groups
        check_names(self.groups, groups_of(kind), kind)
        self.seed = seed
        self.val_scenes = val_scenes
        self.test_scenes = test_scenes
        self.workers = workers
        self.shown = Showing(prompt, category_names)

    def prepare(self) -> None:
        """Writes the whole data set, unless it is there."""
        write_shapes(self.root, self.seed, self.val_scenes, self.test_scenes, self.workers, set_of(self.kind))

    def __len__(self) -> int:
        return len(self._file) // len(groups_of(self.kind)) * len(self.groups)

    def __getitem__(self, index: int) -> RegionSample:
        if not 0 <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        # the questions about one scene stand together in the file, in the order of all groups
        scene, place = divmod(index, len(self.groups))
        every = groups_of(self.kind)
        return self.shown(self._file[scene * len(every) + every.index(self.groups[place])])

    @cached_property
    def _file(self) -> RegionJsonl:
        return RegionJsonl(annotation_path(self.root, self.kind, self.split))
