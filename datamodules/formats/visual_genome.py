"""Visual Genome's region descriptions: many phrases an image, each about a box.

::

    root/region_descriptions.json
        [{"id": 2400001, "regions": [
            {"region_id": 5000, "image_id": 2400001, "x": 19, "y": 5, "width": 8, "height": 8, "phrase": "a cat "}]}]
    root/image_data.json
        [{"image_id": 2400001, "width": 800, "height": 600, ...}]
    root/VG_100K/2400001.jpg, root/VG_100K_2/2400002.jpg

A box is given by its top left corner and its size in pixels of the image. Many stick out of their image by a few
pixels and are clipped; one with nothing on the image is an error when it is read. Phrases end in blanks at times,
which are cut. The pictures come in two archives: an image is looked for in both folders, and in the folder around
them for those who have merged the two. An image without regions has no sample.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError
from datamodules.prompting.placeholders import check_mentions
from datamodules.reading.fields import array, filled, integer, mapping, member
from datamodules.reading.geometry import clipped, parse_xywh
from datamodules.reading.json_index import JsonIndex, Named
from datamodules.reading.json_rows import JsonRows
from datamodules.reading.records import RecordSource
from datamodules.types import Frames, Region, RegionSample, Turn

_logger = logging.getLogger(__name__)
FOLDERS = ("VG_100K", "VG_100K_2")
"""The two that its pictures are downloaded as."""


class VisualGenomeRegions(RecordSource):
    """Every region of Visual Genome with its phrase, in the order of the file.

    Args:
        root: Folder with `region_descriptions.json` and `image_data.json`.
        images: Folder with `VG_100K` and `VG_100K_2`, or with the pictures of both; the root if left out.
        question: What is asked; `<region>` is the region.
    """

    def __init__(
        self,
        root: Path,
        *,
        images: Path | None = None,
        question: str = "Give a short description of <region>.",
    ) -> None:
        check_mentions(question, num_regions=1, where="question")
        self.root = Path(root)
        self.images = self.root if images is None else Path(images)
        self.question = question

    @property
    def records(self) -> JsonIndex:
        """The images, each with its regions."""
        return self._index.records

    def parts(self) -> NDArray[np.int64]:
        """The number of regions of every image, (images,); 1 where it cannot be told without an error."""
        return self._index.regions

    def sample(self, record: Named, part: int) -> RegionSample:
        """The region `part` of an image."""
        image, region, where = _region(record.value, part)
        phrase = filled(member(region, "phrase", where), f"{where}.phrase").strip()
        box = parse_xywh([member(region, key, where) for key in ("x", "y", "width", "height")], where)
        number = integer(member(region, "region_id", where), f"{where}.region_id")
        return RegionSample(
            id=str(number),
            media=Frames((find_picture(self.images, f"{image}.jpg"),)),
            regions=(Region.at(clipped(box, self._size(image), where)),),
            conversation=(Turn(self.question, phrase, (phrase,)),),
            task="caption",
            protocol="Visual Genome region descriptions, one reference a region, box",
            meta={"image_id": image, "region_id": number},
        )

    def _size(self, image: int) -> tuple[int, int]:
        """(height, width) of an image."""
        row = int(np.searchsorted(self._sizes[:, 0], image))
        if row == len(self._sizes) or self._sizes[row, 0] != image:
            raise DataError(f"{self.root / 'image_data.json'}: no image {image} among {len(self._sizes)}")
        _, width, height = self._sizes[row].tolist()
        return height, width

    @cached_property
    def _index(self) -> _Index:
        path = self.root / "region_descriptions.json"
        rows = [(row.start, row.stop, _count(row.value), row.name) for row in JsonRows(path)]
        table = np.array([row[:3] for row in rows], np.int64).reshape(-1, 3)
        empty = int((table[:, 2] == 0).sum())
        if empty == len(rows):
            raise DataError(f"{path}: 0 regions of {len(rows)} images")
        images = f"{empty} image{'s' if empty != 1 else ''} without"
        _logger.info("%s: %d regions of %d images, %s", path, table[:, 2].sum(), len(rows), images)
        names = tuple(name for *_, name in rows if isinstance(name, str))
        return _Index(JsonIndex(path, names, table[:, :2]), table[:, 2])

    @cached_property
    def _sizes(self) -> NDArray[np.int64]:
        """(images, 3): id, width and height in pixels, ascending by id."""
        path = self.root / "image_data.json"
        sizes = [_image_size(row.value, f"{path}: [{row.name}]") for row in JsonRows(path)]
        table = np.array(sizes, np.int64).reshape(-1, 3)
        return table[np.argsort(table[:, 0], kind="stable")]


def find_picture(folder: Path, name: str, parts: Sequence[str] = FOLDERS) -> Path:
    """The picture in `folder`, or in one of its parts: the two folders that Visual Genome is downloaded as.

    Raises:
        DataError: It is in none of them.
    """
    for path in (folder / name, *(folder / part / name for part in parts)):
        if _is_file(path):
            return path
    raise DataError(f"{name} is neither in {folder} nor in its {', '.join(parts)}")


class _Index(NamedTuple):
    records: JsonIndex
    regions: NDArray[np.int64]


def _count(record: Any) -> int:
    # what is no list of regions is one part, whose reading says so
    regions = record.get("regions") if isinstance(record, dict) else None
    return len(regions) if isinstance(regions, list) else 1


def _region(record: Any, part: int) -> tuple[int, dict[str, Any], str]:
    """The image's id, one of its regions, and where that stands."""
    fields = mapping(record, "record")
    image = integer(member(fields, "id"), "id")
    where = f"regions[{part}]"
    region = mapping(array(member(fields, "regions"), "regions")[part], where)
    other = integer(member(region, "image_id", where), f"{where}.image_id")
    if other != image:
        raise DataError(f"{where}.image_id: {other} in the record of image {image}")
    return image, region, where


def _image_size(value: Any, where: str) -> tuple[int, int, int]:
    fields = mapping(value, where)
    return (
        integer(member(fields, "image_id", where), f"{where}.image_id"),
        integer(member(fields, "width", where), f"{where}.width", least=1),
        integer(member(fields, "height", where), f"{where}.height", least=1),
    )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no file can have
        return False
