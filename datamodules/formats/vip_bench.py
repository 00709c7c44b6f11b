"""ViP-Bench: open questions about marked objects of pictures; a judge says how right an answer is.

::

    vip-bench-meta-data.json       {"v1_0": record, ...}
    source_image/v1_1.png          the plain picture, `image_source`
    source_image/v1_1.json         where its objects are, as labelme writes it

    {"image_source": "v1_1.png", "image": "v1_1_0.png", "question": "What is the value of the variable in <obj>?",
     "answer": "0.75<OR>x=0.75<OR>3/4", "capability": ["ocr", "math"]}
    {"shapes": [{"label": "obj", "shape_type": "rectangle", "points": [[x0, y0], [x1, y1]]}, ...], ...}

`<obj>` and `<obj2>` in a question are the shapes of these labels, in pixels; a shape is a rectangle by two corners or a
polygon. Marks are told on the plain picture in place of the drawn ones (`bbox/`, `human/`), which is what the release
has the shapes for. In an answer `<AND>` joins what has to be said together, `<OR>` what is right alone.
"""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import Any

from datamodules.errors import DataError
from datamodules.reading.fields import array, filled, mapping, member, number
from datamodules.reading.geometry import parse_polygon
from datamodules.reading.json_index import JsonIndex, Named, read_json
from datamodules.reading.records import RecordSource, located
from datamodules.reading.shown import shown
from datamodules.types import Box, Frames, Geometry, Region, RegionSample, Turn

_OBJECT = re.compile(r"<(obj\d*)>", re.ASCII)


class VipBench(RecordSource):
    """One question a record; numbers are reported by capability, of which a question may need several.

    Args:
        root: Folder with the files above.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    @cached_property
    def records(self) -> JsonIndex:
        """The records of the file."""
        return JsonIndex.build(self.root / "vip-bench-meta-data.json")

    def sample(self, record: Named, part: int) -> RegionSample:
        """The record's question."""
        fields = mapping(record.value, "record")
        asked = filled(member(fields, "question"), "question")
        answer = filled(member(fields, "answer"), "answer")
        capabilities = array(member(fields, "capability"), "capability")
        picture = self.root / "source_image" / filled(member(fields, "image_source"), "image_source")
        names = list(dict.fromkeys(_OBJECT.findall(asked)))
        regions = tuple(Region.at(geometry) for geometry in _objects(picture.with_suffix(".json"), names))
        question = _OBJECT.sub(lambda found: f"<region{names.index(found[1])}>", asked)
        return RegionSample(
            id=str(record.name),
            media=Frames((picture,)),
            regions=regions,
            conversation=(Turn(question, answer, (answer,)),),
            task="judge",
            protocol=f"ViP-Bench, plain pictures, {shown(regions)}",
            meta={
                "question": question,
                "capability": [filled(name, f"capability[{place}]") for place, name in enumerate(capabilities)],
            },
        )


def _objects(path: Path, names: list[str]) -> list[Geometry]:
    """Where the objects of these names are; nothing is read where there are none."""
    if not names:
        return []
    document = read_json(path)
    with located(str(path)):
        shapes = array(member(mapping(document, "document"), "shapes"), "shapes")
        labelled = [(_label(shape, place), shape, f"shapes[{place}]") for place, shape in enumerate(shapes)]
        return [_object(name, labelled) for name in names]


def _label(shape: object, place: int) -> str:
    return filled(member(mapping(shape, f"shapes[{place}]"), "label", f"shapes[{place}]"), f"shapes[{place}].label")


def _object(name: str, labelled: list[tuple[str, Any, str]]) -> Geometry:
    found = [(shape, where) for label, shape, where in labelled if label == name]
    if len(found) != 1:
        raise DataError(f"{len(found)} of {len(labelled)} shapes are called {name!r}, expected 1")
    [(shape, where)] = found
    kind, points = member(shape, "shape_type", where), array(member(shape, "points", where), f"{where}.points")
    corners = [
        [number(value, f"{where}.points[{place}]") for value in array(point, f"{where}.points[{place}]", 2)]
        for place, point in enumerate(points)
    ]
    if kind == "polygon":
        return parse_polygon([[value for corner in corners for value in corner]], f"{where}.points")
    if kind != "rectangle" or len(corners) != 2:
        raise DataError(f"{where}: expected a polygon or a rectangle of 2 points, got {kind!r} of {len(corners)}")
    (x0, x1), (y0, y1) = (sorted(values) for values in zip(*corners, strict=True))
    if x0 == x1 or y0 == y1:
        raise DataError(f"{where}.points: empty, width {x1 - x0:g} and height {y1 - y0:g}")
    return Box((x0, y0, x1, y1))
