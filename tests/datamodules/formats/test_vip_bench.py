"""ViP-Bench: questions whose objects stand in files of labelme beside the plain pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from damage import FUZZ, damaged, read_all
from datamodules.errors import DataError
from datamodules.formats.vip_bench import VipBench
from datamodules.types import Box, Frames, Polygon, Turn
from moving_squares import HEIGHT, WIDTH, assert_on_pixels, save_picture, squares


def write_vip_bench(root: Path, scenes: int = 3) -> None:
    """Two questions a picture: one object as a rectangle from its lower right corner, and two, one a polygon."""
    records: dict[str, Any] = {}
    for number in range(scenes):
        scene, name = squares(number), f"v1_{number}.png"
        save_picture(root / "source_image" / name, scene.frames[0])
        x0, y0, x1, y1 = scene.box(0) or (0, 0, 0, 0)
        shapes = [
            {"label": "obj", "shape_type": "rectangle", "points": [[x1, y1], [x0, y0]]},
            {"label": "obj2", "shape_type": "polygon", "points": [list(point) for point in scene.ring(2)]},
        ]
        beside = {"version": "5.2.1", "shapes": shapes, "imagePath": name, "imageHeight": HEIGHT, "imageWidth": WIDTH}
        (root / "source_image" / f"v1_{number}.json").write_text(json.dumps(beside))
        common = {"image_source": name, "image": f"v1_{number}_0.png"}
        records[f"v1_{2 * number}"] = common | {
            "question": "What colour is <obj>?",
            "answer": f"{scene.colours[0]}<OR>a {scene.colours[0]} one",
            "capability": ["rec"],
        }
        records[f"v1_{2 * number + 1}"] = common | {
            "question": "Is <obj2> left of <obj>, and what is <obj2>?",
            "answer": f"no<AND>{scene.colours[2]}",
            "capability": ["rec", "rel"],
        }
    (root / "vip-bench-meta-data.json").write_text(json.dumps(records))


def test_objects_lie_on_their_squares(tmp_path: Path) -> None:
    write_vip_bench(tmp_path)
    samples = read_all(VipBench(tmp_path), tmp_path)
    assert [sample.id for sample in samples] == [f"v1_{place}" for place in range(6)]
    for place, sample in enumerate(samples):
        first, _, third = squares(place // 2).colours
        assert assert_on_pixels(sample, [third, first] if place % 2 else [first])


RECORD: dict[str, Any] = {
    "image_source": "v1_1.png",
    "image": "v1_1_0.png",
    "question": "What is <obj> of <obj1>?",
    "answer": "x=0.75<OR>3/4",
    "capability": ["ocr", "math"],
}
SHAPES: list[dict[str, Any]] = [
    {"label": "obj1", "shape_type": "polygon", "points": [[1, 2], [3, 4], [5, 2]]},
    {"label": "obj", "shape_type": "rectangle", "points": [[9, 8], [3, 2]]},
]


def _source(folder: Path, shapes: Any = SHAPES, **change: Any) -> VipBench:
    (folder / "source_image").mkdir(exist_ok=True)
    (folder / "source_image" / "v1_1.json").write_text(json.dumps({"shapes": shapes}))
    (folder / "vip-bench-meta-data.json").write_text(json.dumps({"v1_0": RECORD | change}))
    return VipBench(folder)


def test_a_question_by_hand(tmp_path: Path) -> None:
    sample = _source(tmp_path)[0]
    question = "What is <region0> of <region1>?"
    assert sample.conversation == (Turn(question, RECORD["answer"], (RECORD["answer"],)),)
    assert [region.prompts[0] for region in sample.regions] == [Box((3, 2, 9, 8)), Polygon(((1, 2, 3, 4, 5, 2),))]
    assert sample.media == Frames((tmp_path / "source_image" / "v1_1.png",))
    assert sample.meta == {"question": question, "capability": ["ocr", "math"]}
    assert sample.protocol == "ViP-Bench, plain pictures, polygon and box"


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (SHAPES[:1], "0 of 1 shapes are called 'obj', expected 1"),
        ([*SHAPES, SHAPES[1]], "2 of 3 shapes are called 'obj', expected 1"),
        (
            [{"label": "obj", "shape_type": "circle", "points": [[1, 2], [3, 4]]}],
            "shapes[0]: expected a polygon or a rectangle of 2 points, got 'circle' of 2",
        ),
        (
            [{"label": "obj", "shape_type": "rectangle", "points": [[1, 2], [1, 4]]}],
            "shapes[0].points: empty, width 0 and height 2",
        ),
    ],
)
def test_what_is_wrong_with_a_shape_is_said(tmp_path: Path, shapes: Any, message: str) -> None:
    with pytest.raises(DataError) as error:
        _source(tmp_path, shapes)[0]
    found = f"{tmp_path}/vip-bench-meta-data.json: 'v1_0': {tmp_path}/source_image/v1_1.json: {message}"
    assert str(error.value) == found


@settings(FUZZ, max_examples=25)
@given(data=damaged({"v1_0": RECORD}))
def test_damaged_records_are_read_or_one_error(tmp_path: Path, data: bytes) -> None:
    source = _source(tmp_path)
    (tmp_path / "vip-bench-meta-data.json").write_bytes(data)
    read_all(source, tmp_path)


@settings(FUZZ, max_examples=25)
@given(data=damaged({"shapes": SHAPES}))
def test_damaged_shapes_are_read_or_one_error(tmp_path: Path, data: bytes) -> None:
    source = _source(tmp_path)
    (tmp_path / "source_image" / "v1_1.json").write_bytes(data)
    read_all(source, tmp_path)
