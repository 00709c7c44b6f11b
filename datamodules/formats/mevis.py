"""MeViS: videos with expressions about the motion of their objects.

    <root>/{train,valid_u}/JPEGImages/<video>/<frame>.jpg
    <root>/{train,valid_u}/meta_expressions.json
    <root>/{train,valid_u}/mask_dict.json

An expression of a video has `exp`, its text; `anno_id`, the keys in `mask_dict` of the objects it names, often several;
and `obj_id`, their numbers in the video, unused here. `mask_dict` has under the annotation's id as text a run-length
code or null for each frame; it is large, so only the place of every annotation in it is kept.

The masks of a third split, `valid`, are not public, so its expressions have no region.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from datamodules.errors import DataError
from datamodules.formats.referring_video import (
    Expression,
    Files,
    References,
    ReferringVideos,
    find_masks,
    parse_anno_ids,
    parse_exp,
)
from datamodules.reading.json_index import JsonIndex
from datamodules.types import Mask


class Mevis(ReferringVideos):
    """Expressions of MeViS as captions of the objects they name.

    Args:
        root: Folder with a folder for every split.
        split: `train` or `valid_u`, the two with public masks.
        references: A sample for every expression, or one for every object, or set of objects, with all its
            expressions as references.
        question: What is asked; `<region>` is the object, or all objects that the expression names.
        images: Folder with the frames of every video; `<root>/<split>/JPEGImages` if left out.
    """

    def __init__(
        self,
        root: Path,
        split: Literal["train", "valid_u"],
        *,
        references: References = "single",
        question: str = "Give a short description of <region>.",
        images: Path | None = None,
    ) -> None:
        self.root = Path(root)
        self.split = split
        folder = Path(images or self.root / split / "JPEGImages")
        super().__init__(f"MeViS {split}", folder, references, question)

    def expression(self, key: str, fields: dict[str, Any], where: str) -> Expression:
        """An expression with the annotations that it names."""
        objects = parse_anno_ids(fields, where)
        if not objects:
            raise DataError(f"{where}.anno_id: expected one object or more, got 0")
        return Expression(key, parse_exp(fields, where), objects)

    def masks(self, video: str, frames: Sequence[str], number: int) -> list[Mask | None]:
        """The masks of an annotation."""
        return find_masks(self.files.objects, number, len(frames))

    def open(self) -> Files:
        """The videos and the masks."""
        videos = JsonIndex.build(self.root / self.split / "meta_expressions.json", "videos")
        return Files(videos, JsonIndex.build(self.root / self.split / "mask_dict.json"))
