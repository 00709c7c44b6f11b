"""A COCO instances file as a compact array: what is often asked, and where the rest stands in the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError
from datamodules.reading.fields import array, filled, integer, mapping, member, number
from datamodules.reading.geometry import clipped, parse_mask, parse_polygon
from datamodules.reading.json_rows import JsonRows, read_row
from datamodules.reading.prompts import Prompt, prompted_object
from datamodules.types import Box, Mask, Polygon, Region

_Row = TypeVar("_Row")
_ANNOTATION = np.dtype(
    [
        ("id", np.int64),
        ("image_id", np.int64),
        ("category_id", np.int64),
        ("bbox", np.float64, 4),
        ("place", np.int64, 2),
    ]
)


class CocoImage(NamedTuple):
    """An image of the file; width and height in pixels."""

    file_name: str
    width: int
    height: int


@dataclass(frozen=True, slots=True, eq=False)
class CocoIndex:
    """The annotations of single objects (iscrowd 0), by the id of their image, then in the file's order.

    Attributes:
        path: The file.
        images: Image id -> image.
        categories: Category id -> name.
        annotations: (N,) records of id, image_id, category_id, bbox (x, y, width, height in pixels) and
            place, the bytes [start, stop) of the annotation in the file.
    """

    path: Path
    images: Mapping[int, CocoImage]
    categories: Mapping[int, str]
    annotations: NDArray[np.void]

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the file once.

        Raises:
            DataError: Naming the file and the annotation, image or category that cannot be used.
        """
        rows = JsonRows(path, "annotations")
        annotations = np.fromiter(_annotations(rows), _ANNOTATION)
        if not len(annotations):
            raise DataError(f"{path}: 0 annotations of single objects")
        index = cls(
            path=path,
            images=_by_id(rows, "images", _image),
            categories=_by_id(rows, "categories", _category),
            annotations=annotations[np.argsort(annotations["image_id"], kind="stable")],
        )
        index._check_ids()
        return index

    def read(self, row: int) -> dict[str, Any]:
        """The annotation as the file has it."""
        start, stop = self.annotations["place"][row]
        return mapping(read_row(self.path, int(start), int(stop)), self.where(row))

    def segmentation(self, row: int) -> Any:
        """The annotation's segmentation as the file has it, None if it has none."""
        return self.read(row).get("segmentation")

    def image(self, row: int) -> CocoImage:
        """The annotation's image."""
        return self.images[int(self.annotations["image_id"][row])]

    def category(self, row: int) -> str:
        """The name of the annotation's category."""
        return self.categories[int(self.annotations["category_id"][row])]

    def row_of(self, annotation: int) -> int:
        """The row of the annotation with this id.

        Raises:
            DataError: It is not in the file, or not a single object.
        """
        rows = np.flatnonzero(self.annotations["id"] == annotation)
        if not len(rows):
            raise DataError(f"{self.path}: no annotation {annotation} among {len(self.annotations)} single objects")
        return int(rows[0])

    def rows_of_image(self, image: int) -> range:
        """The rows of all single objects on the image with this id, in the file's order."""
        ids = self.annotations["image_id"]
        return range(int(np.searchsorted(ids, image, "left")), int(np.searchsorted(ids, image, "right")))

    def box(self, row: int) -> Box:
        """The annotation's box, clipped to its image.

        Raises:
            DataError: Nothing of it is on the image.
        """
        x, y, width, height = self.annotations["bbox"][row].tolist()
        image = self.image(row)
        return clipped(Box((x, y, x + width, y + height)), (image.height, image.width), f"{self.where(row)}: bbox")

    def region(self, row: int, prompt: Prompt) -> Region:
        """The annotation's object, pointed at by its segmentation or its clipped box; by the box if it has no other.

        Raises:
            DataError: The segmentation is malformed or has another size than its image, or the box is not on it.
        """
        return prompted_object(prompt, self._mask(row), lambda: self.box(row), self.category(row))

    def _mask(self, row: int) -> Polygon | Mask | None:
        shape = self.segmentation(row)
        where = f"{self.where(row)}: segmentation"
        if shape in (None, [], {}):
            return None
        if isinstance(shape, list):
            return parse_polygon(shape, where)
        image = self.image(row)
        mask = parse_mask(shape, where)
        if mask.size != (image.height, image.width):
            size = "{} x {}".format(*mask.size)
            raise DataError(f"{where}: {size} pixels (height x width), its image {image.height} x {image.width}")
        return mask

    def on_image(self) -> NDArray[np.bool_]:
        """Whether anything of each annotation's box is on its image, (N,)."""
        boxes = _clipped(self.annotations["bbox"], self._sizes())
        shown: NDArray[np.bool_] = np.logical_and(boxes[:, 0] < boxes[:, 2], boxes[:, 1] < boxes[:, 3])
        return shown

    def stick_out(self) -> NDArray[np.bool_]:
        """Whether each annotation's box reaches over the edge of its image, where it is cut, (N,)."""
        near, extent = self.annotations["bbox"][:, :2], self.annotations["bbox"][:, 2:]
        outside: NDArray[np.bool_] = ((near < 0) | (near + extent > self._sizes())).any(axis=1)
        return outside

    def where(self, row: int) -> str:
        """File and annotation, for error messages."""
        return f"{self.path}: annotation {self.annotations['id'][row]}"

    def _sizes(self) -> NDArray[np.int64]:
        """Width and height of every annotation's image, (N, 2)."""
        images = [self.images[key] for key in self.annotations["image_id"].tolist()]
        return np.array([(image.width, image.height) for image in images], np.int64)

    def _check_ids(self) -> None:
        _, first, counts = np.unique(self.annotations["id"], return_index=True, return_counts=True)
        for repeated in np.flatnonzero(counts > 1).tolist():
            raise DataError(f"{self.where(first[repeated])}: its id stands {counts[repeated]} times")
        for key, known in (("image_id", self.images), ("category_id", self.categories)):
            values = self.annotations[key]
            for row in np.flatnonzero(~np.isin(values, np.fromiter(known, np.int64))).tolist():
                raise DataError(f"{self.where(row)}: {key} {values[row]} is none of the file's {len(known)}")


def _clipped(bbox: NDArray[np.float64], sizes: NDArray[np.int64]) -> NDArray[np.float64]:
    near, extent = bbox[..., :2], bbox[..., 2:]
    return np.concatenate([np.maximum(near, 0), np.minimum(near + extent, sizes)], axis=-1)


def _annotations(rows: JsonRows) -> Iterator[tuple[Any, ...]]:
    for name, row, start, stop in rows:
        if isinstance(name, str):
            raise DataError(f"{rows.path}: annotations: expected an array, got the key {name!r}")
        where = f"{rows.path}: annotations[{name}]"
        fields = mapping(row, where)
        if integer(fields.get("iscrowd", 0), f"{where}.iscrowd"):
            continue
        bbox = array(member(fields, "bbox", where), f"{where}.bbox", 4)
        yield (
            *(_key(fields, name, where) for name in ("id", "image_id", "category_id")),
            [number(value, f"{where}.bbox") for value in bbox],
            (start, stop),
        )


def _by_id(rows: JsonRows, key: str, parse: Callable[[dict[str, Any], str], _Row]) -> dict[int, _Row]:
    table: dict[int, _Row] = {}
    for count, row in enumerate(array(member(rows.members, key, str(rows.path)), f"{rows.path}: {key}")):
        where = f"{rows.path}: {key}[{count}]"
        fields = mapping(row, where)
        identifier = _key(fields, "id", where)
        if identifier in table:
            raise DataError(f"{where}: the id {identifier} stands twice")
        table[identifier] = parse(fields, where)
    return table


def _image(fields: dict[str, Any], where: str) -> CocoImage:
    return CocoImage(
        file_name=filled(member(fields, "file_name", where), f"{where}.file_name"),
        width=integer(member(fields, "width", where), f"{where}.width", least=1),
        height=integer(member(fields, "height", where), f"{where}.height", least=1),
    )


def _category(fields: dict[str, Any], where: str) -> str:
    return filled(member(fields, "name", where), f"{where}.name")


def _key(fields: dict[str, Any], name: str, where: str) -> int:
    return integer(member(fields, name, where), f"{where}.{name}")
