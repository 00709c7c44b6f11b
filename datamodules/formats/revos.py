"""ReVOS: videos with expressions that refer to objects, or that take reasoning to resolve.

    <root>/JPEGImages/<video>/<frame>.jpg
    <root>/meta_expressions_{train,train_sub,valid}_.json   (the underscore at the end is theirs)
    <root>/mask_dict.json                                   masks of all splits

An expression of a video has `exp`, its text; `anno_id`, the keys in `mask_dict` of the objects it names;
`obj_id`, their numbers in the video, unused here; and `type_id`: 0 refers to its objects, 1 takes reasoning, 2 names
nothing that is there. `mask_dict` has under the annotation's id as text a run-length code or null for each frame.

* Expressions without a target have no region and are left out; how many is logged.
* `mask_dict.json` is hundreds of megabytes: only the place of every annotation in it is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

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
from datamodules.reading.fields import integer, member
from datamodules.reading.json_index import JsonIndex
from datamodules.types import Mask

Kind: TypeAlias = Literal["referring", "reasoning"]

_NO_TARGET = "without a target"
_TYPES = ("referring", "reasoning", _NO_TARGET)


class Revos(ReferringVideos):
    """Expressions of ReVOS as captions of the objects they name, reported by kind.

    Args:
        root: Folder with the expressions, `mask_dict.json` and `JPEGImages`.
        split: `train`, its published part `train_sub`, or `valid`.
        kinds: Expressions that refer to their objects, that take reasoning, or both.
        references: A sample for every expression, or one for every object with all its expressions of a kind as
            references.
        question: What is asked; `<region>` is the object, or all objects that the expression names.
        images: Folder with the frames of every video; `<root>/JPEGImages` if left out.
    """

    def __init__(
        self,
        root: Path,
        split: Literal["train", "train_sub", "valid"],
        *,
        kinds: Sequence[Kind] = ("referring", "reasoning"),
        references: References = "single",
        question: str = "Give a short description of <region>.",
        images: Path | None = None,
    ) -> None:
        if not kinds or not set(kinds) <= set(_TYPES) - {_NO_TARGET}:
            raise DataError(f"kinds: {list(kinds)}, expected 'referring', 'reasoning' or both")
        self.root = Path(root)
        self.split = split
        self.kinds = tuple(kinds)
        data = f"ReVOS {split}, {' and '.join(kinds)} expressions"
        super().__init__(data, Path(images or self.root / "JPEGImages"), references, question)

    def expression(self, key: str, fields: dict[str, Any], where: str) -> Expression:
        """An expression with its kind; one without a target names no object."""
        number = integer(member(fields, "type_id", where), f"{where}.type_id", 0)
        if number >= len(_TYPES):
            raise DataError(f"{where}.type_id: {number} is none of 0 to {len(_TYPES) - 1}")
        objects = parse_anno_ids(fields, where)
        if not objects and _TYPES[number] != _NO_TARGET:
            raise DataError(f"{where}.anno_id: expected one object or more, got 0")
        return Expression(key, parse_exp(fields, where), objects, _TYPES[number])

    def left_out(self, expression: Expression) -> str:
        """Expressions without a target, and of a kind that is not asked for."""
        if expression.kind == _NO_TARGET:
            return _NO_TARGET
        return "" if expression.kind in self.kinds else f"of the kind {expression.kind}"

    def masks(self, video: str, frames: Sequence[str], number: int) -> list[Mask | None]:
        """The masks of an annotation."""
        return find_masks(self.files.objects, number, len(frames))

    def open(self) -> Files:
        """The videos and the masks."""
        videos = JsonIndex.build(self.root / f"meta_expressions_{self.split}_.json", "videos")
        return Files(videos, JsonIndex.build(self.root / "mask_dict.json"))
