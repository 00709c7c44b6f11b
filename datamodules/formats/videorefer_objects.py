"""What VideoRefer's files share: objects as tracks of masks, how text names them, videos that are folders of frames.

An object is `{"<frame>": {"segmentation": mask}}`: COCO's run-length code, a list of polygons, or null. Frames are
counted from 0 in the video, or in the folder in the order of its pictures' numbers. An object with null, or with a mask
without a pixel, is not visible there; nothing is known of frames that are not listed.

In text, the n-th `<region>` stands for the n-th object. It may carry a name, `<object3><region>`, and then `<object3>`
alone means the same object wherever else it stands; the numbers of the names are arbitrary.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from datamodules.errors import DataError
from datamodules.media.pictures import frames_in
from datamodules.prompting.placeholders import PLACEHOLDER
from datamodules.reading.fields import filled, frame_number, integer, mapping, member
from datamodules.reading.geometry import parse_frame_mask, parse_polygon
from datamodules.reading.tracks import tracked_region
from datamodules.types import Frames, Geometry, Region, Video

Mode: TypeAlias = Literal["single_frame", "multi_frame"]
"""Which frame an object is prompted on: the one that the record names, or the first that shows it."""

_INTRODUCED = re.compile(r"(?:<object(\d+)>\s*)?<region>", re.ASCII)
_NAMED = re.compile(rf"{_INTRODUCED.pattern}|<object(\d+)>", re.ASCII)


def numbered(texts: Sequence[str], objects: int) -> list[str]:
    """The texts of one record with every mention of its objects as `<region0>`, `<region1>`, ....

    Raises:
        DataError: There are more or fewer `<region>` than objects, one is numbered already, or a name stands before
            two of them or before none.
    """
    introduced = [name for text in texts for name in _INTRODUCED.findall(text)]
    if len(introduced) != objects:
        raise DataError(f"{len(introduced)} <region> in the text, but annotation has {objects} objects")
    names = [name for name in introduced if name]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise DataError(f"<object{repeated[0]}> names {names.count(repeated[0])} of the {objects} objects")
    if numbers := [digits for text in texts for digits in PLACEHOLDER.findall(text) if digits]:
        raise DataError(f"<region{numbers[0]}> in the text, expected <region>")
    following = iter(range(objects))

    def number(mention: re.Match[str]) -> str:
        if mention[2] is None:
            return f"<region{next(following)}>"
        if mention[2] not in names:
            raise DataError(f"<object{mention[2]}> stands before none of the {objects} <region>")
        return f"<region{introduced.index(mention[2])}>"

    return [_NAMED.sub(number, text) for text in texts]


def parse_object(value: object, frame: int | None, where: str) -> Region:
    """One object, prompted on `frame`, or without one on the first frame that shows it.

    Raises:
        DataError: A mask is malformed, or the object is not visible on the frame, or on none.
    """
    track = {
        frame_number(key, where): _segmentation(item, f"{where}[{key!r}]")
        for key, item in mapping(value, where).items()
    }
    if frame is None:
        return tracked_region(track, where)
    geometry = track.get(frame)
    if geometry is None:
        shown = sorted(number for number, other in track.items() if other is not None)
        raise DataError(f"{where}: not visible on the prompted frame {frame}, but on {shown}")
    return Region({frame: geometry}, track)


def parse_prompted_frame(record: Mapping[str, Any], mode: Mode) -> int | None:
    """The record's `frame_idx`, a number or text; None if it does not matter."""
    value = member(dict(record), "frame_idx")
    if mode == "multi_frame":
        return None
    return frame_number(value, "frame_idx") if isinstance(value, str) else integer(value, "frame_idx", 0)


def parse_id(record: Mapping[str, Any]) -> str:
    """The record's `id`, a number or text."""
    value = member(dict(record), "id")
    return filled(value, "id") if isinstance(value, str) else str(integer(value, "id"))


def video_media(path: Path) -> Frames | Video:
    """A video file, or the pictures of a folder in the order of `frames_in`.

    Raises:
        DataError: The path or the folder cannot be read, it has no picture, or their names are in no order.
    """
    try:
        is_folder = path.is_dir()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    return Frames(frames_in(path)) if is_folder else Video(path)


def _segmentation(value: object, where: str) -> Geometry | None:
    shape = member(mapping(value, where), "segmentation", where)
    if isinstance(shape, list) and shape:
        return parse_polygon(shape, f"{where}.segmentation")
    return parse_frame_mask(shape or None, f"{where}.segmentation")
