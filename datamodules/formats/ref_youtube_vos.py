"""Ref-YouTube-VOS: videos of YouTube-VOS with expressions for their objects.

    <root>/meta_expressions/{train,valid,test}/meta_expressions.json
    <root>/train/JPEGImages/<video>/<frame>.jpg
    <root>/train/Annotations/<video>/<frame>.png     a palette index a pixel, 0 where there is no object
    <root>/train/meta.json                           {"videos": {"<video>": {"objects": {"1": {"category"}}}}}

An expression of a video has `exp`, its text, and `obj_id`, a string: the palette index of its object. Every fifth
frame of the original videos is there, so frames are called 00000, 00005, ...; they count as frames 0, 1, ... here.

* The masks of `valid` are not public. Whoever has them names their folder; the file of `valid` lists the videos of
  `test` too, which are left out.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError
from datamodules.formats.referring_video import Expression, Files, References, ReferringVideos, parse_exp
from datamodules.media.mask_picture import read_label_picture
from datamodules.reading.fields import filled, mapping, member, text
from datamodules.reading.json_index import JsonIndex
from datamodules.reading.rle import encoded
from datamodules.types import Mask

_logger = logging.getLogger(__name__)

_PALETTE = frozenset(map(str, range(1, 256)))


class RefYoutubeVos(ReferringVideos):
    """Expressions of Ref-YouTube-VOS as captions of the objects they name.

    Args:
        root: Folder with `meta_expressions` and a folder for every split.
        split: `train`; `valid` only together with `annotations`.
        references: A sample for every expression, or one for every object with all its expressions as references.
        question: What is asked; `<region>` is the object.
        images: Folder with the frames of every video; `<root>/<split>/JPEGImages` if left out.
        annotations: Folder with the masks of every video; `<root>/train/Annotations` if left out.
    """

    def __init__(
        self,
        root: Path,
        split: Literal["train", "valid"],
        *,
        references: References = "single",
        question: str = "Give a short description of <region>.",
        images: Path | None = None,
        annotations: Path | None = None,
    ) -> None:
        self.root = Path(root)
        self.split = split
        self.annotations = None if annotations is None else Path(annotations)
        folder = Path(images or self.root / split / "JPEGImages")
        super().__init__(f"Ref-YouTube-VOS {split}", folder, references, question)

    def expression(self, key: str, fields: dict[str, Any], where: str) -> Expression:
        """An expression with the palette index that it names."""
        number = text(member(fields, "obj_id", where), f"{where}.obj_id")
        if number not in _PALETTE:
            raise DataError(f"{where}.obj_id: {number!r} is no palette index from 1 to 255")
        return Expression(key, parse_exp(fields, where), (int(number),))

    def masks(self, video: str, frames: Sequence[str], number: int) -> list[Mask | None]:
        """The pixels with a palette index."""
        folder = self._mask_folder() / video
        indices = (_palette_indices(folder / f"{frame}.png") for frame in frames)
        return [encoded(picture == number) for picture in indices]

    def category(self, video: str, objects: Sequence[int]) -> str:
        """The class of the one object."""
        [number] = objects
        where = f"{self.files.objects.path}: {video!r}"
        value: Any = self.files.objects.find(video)
        for key in ("objects", str(number), "category"):
            value, where = member(mapping(value, where), key, where), f"{where}.{key}"
        return filled(value, where)

    def open(self) -> Files:
        """The videos, and their objects' categories; `DataError` if there are no masks."""
        self._mask_folder()
        videos = JsonIndex.build(self._expressions_file(self.split), "videos")
        if self.split == "valid":
            videos = _without(videos, JsonIndex.build(self._expressions_file("test"), "videos"))
        return Files(videos, JsonIndex.build(self.root / self.split / "meta.json", "videos"))

    def _mask_folder(self) -> Path:
        if self.annotations is None and self.split != "train":
            raise DataError(
                f"{self.root}: the masks of {self.data} are not public, so its expressions point at nothing; "
                "take the split train, or say with `annotations` in which folder they are"
            )
        return self.annotations or self.root / "train" / "Annotations"

    def _expressions_file(self, split: str) -> Path:
        return self.root / "meta_expressions" / split / "meta_expressions.json"


def _without(index: JsonIndex, other: JsonIndex) -> JsonIndex:
    """The videos of `index` that are not in `other` as well."""
    shared = set(other.names)
    kept = [number for number, name in enumerate(index.names) if name not in shared]
    if not kept:
        raise DataError(f"{index.path}: 0 of {len(index)} videos are not of the test split")
    left_out = len(index) - len(kept)
    _logger.info("%s: videos left out: %d of %d, of the test split", index.path, left_out, len(index))
    return replace(index, names=tuple(index.names[number] for number in kept), places=index.places[kept])


def _palette_indices(path: Path) -> NDArray[np.integer]:
    """(H, W): the palette index of every pixel of a picture."""
    labels = read_label_picture(path)
    if labels.mode != "P" or labels.numbers is None:
        raise DataError(f"{path}: a picture of mode {labels.mode}, expected palette indices (mode P)")
    return labels.numbers
