"""COCO instances as conversations without any region: what a base learns of pictures before it is shown one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import numpy as np

from datamodules.errors import DataError, at_least
from datamodules.reading.coco_index import CocoIndex
from datamodules.source import RegionSource
from datamodules.types import Frames, RegionSample, Turn

PLACES = ("top left", "top", "top right", "left", "middle", "right", "bottom left", "bottom", "bottom right")
"""The ninths of an image, row by row."""

Objects: TypeAlias = list[tuple[str, int]]
"""Name and place of every object of an image."""


class CocoInWords(RegionSource):
    """How many objects of a class an image has, in which ninths of it they are, and what is in one of them.

    No region is marked. Sample i is the same in every process, and its image is number i modulo their number among
    those with objects (iscrowd 0). An object is where the middle of its box is.

    Args:
        annotations: The instances file.
        images: Folder that its file names are relative to.
        size: Number of conversations; one an image if left out.
        turns: Questions of a conversation.
        names: What a category is called where it is not its name in lower case, for a small vocabulary.
        seed: Other seeds, other questions.

    Raises:
        DataError: A number is out of range, or a name is of no category of the file.
    """

    def __init__(
        self,
        annotations: Path,
        images: Path,
        *,
        size: int | None = None,
        turns: int = 6,
        names: dict[str, str] | None = None,
        seed: int = 0,
    ) -> None:
        at_least(1, size=size, turns=turns)
        at_least(0, seed=seed)
        self.annotations = Path(annotations)
        self.images = Path(images)
        self.size = size
        self.turns = turns
        self.names = names or {}
        self.seed = seed

    def __len__(self) -> int:
        return self.size or len(self._image_ids)

    def __getitem__(self, index: int) -> RegionSample:
        if not 0 <= index < len(self):
            raise IndexError(f"conversation {index} of {len(self)}")
        rows = self._index.rows_of_image(int(self._image_ids[index % len(self._image_ids)]))
        objects = [(self._names[self._index.category(row)], self._place(row)) for row in rows]
        rng = np.random.default_rng([self.seed, index])
        asked = [self._ask(objects, rng) for _ in range(self.turns)]
        return RegionSample(
            id=f"words-{index:07d}",
            media=Frames((self.images / self._index.image(rows[0]).file_name,)),
            regions=(),
            conversation=tuple(turn for _, turn in asked),
            group=asked[-1][0],
            protocol=f"{self.annotations.name}, in words",
            origin=str(self.annotations),
        )

    def _ask(self, objects: Objects, rng: np.random.Generator) -> tuple[str, Turn]:
        group = list(_QUESTIONS)[int(rng.integers(len(_QUESTIONS)))]
        names = list(self._names.values())
        place, name = int(rng.integers(len(PLACES))), names[int(rng.integers(len(names)))]
        return group, _QUESTIONS[group](objects, name, place)

    def _place(self, row: int) -> int:
        """The ninth that holds the middle of the object's box."""
        image, box = self._index.image(row), self._index.box(row).xyxy
        column, line = ((box[0] + box[2]) / 2 / image.width, (box[1] + box[3]) / 2 / image.height)
        return 3 * int(3 * line) + int(3 * column)

    @cached_property
    def _names(self) -> Mapping[str, str]:
        """Of every category, what it is called."""
        categories = list(self._index.categories.values())
        if unknown := sorted(set(self.names) - set(categories)):
            raise DataError(f"{self.annotations}: names has {unknown[0]!r}, categories are {', '.join(categories)}")
        return {category: self.names.get(category, category.lower()) for category in categories}

    @cached_property
    def _index(self) -> CocoIndex:
        return CocoIndex.load(self.annotations)

    @cached_property
    def _image_ids(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.unique(self._index.annotations["image_id"])


def _count(objects: Objects, name: str, place: int) -> Turn:
    del place
    return Turn(f"how many {name}", str(sum(called == name for called, _ in objects)))


def _where(objects: Objects, name: str, place: int) -> Turn:
    del place
    places = sorted({there for called, there in objects if called == name})
    return Turn(f"where is a {name}", " , ".join(PLACES[there] for there in places) or "outside")


def _at(objects: Objects, name: str, place: int) -> Turn:
    del name
    found = sorted({called for called, there in objects if there == place})
    return Turn(f"what is at the {PLACES[place]}", " , ".join(found) or "outside")


_QUESTIONS: dict[str, Callable[[Objects, str, int], Turn]] = {"count": _count, "where": _where, "at": _at}
