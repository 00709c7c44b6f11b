"""DLC-Bench: objects of pictures with the questions that a judge answers from their descriptions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from damage import FUZZ, damaged, read_all
from datamodules.errors import DataError
from datamodules.formats.dlc_bench import DlcBench
from datamodules.types import Box, Frames, Polygon, Region, RegionSample, Turn
from moving_squares import HEIGHT, WIDTH, assert_on_pixels, save_picture, squares


def questions(colour: str) -> list[dict[str, Any]]:
    return [
        {
            "question": "Which colour does it have?",
            "choices": [[colour.capitalize(), 1], ["It is not said", 0], ["Pink", -1]],
            "type": "positive",
        },
        {"question": "Has it wheels?", "choices": [["Yes", -1], ["No", 1]], "type": "negative"},
    ]


def write_dlc_bench(root: Path, scenes: int = 3) -> None:
    """Three squares a picture: one by a ring, one by a compressed and one by an uncompressed code."""
    images, annotations = [], []
    asked: dict[str, Any] = {}
    names: dict[str, str] = {}
    for number in range(scenes):
        scene, name = squares(number), f"objects365_v2_{number:08d}.jpg"
        save_picture(root / "images" / name, scene.frames[0])
        images.append({"id": 900 + number, "file_name": name, "width": WIDTH, "height": HEIGHT})
        for square, colour in enumerate(scene.colours):
            x0, y0, x1, y1 = scene.box(square) or (0, 0, 0, 0)
            area: Any = scene.rle(square)
            if square == 0:
                area = [[value for point in scene.ring(square) for value in point]]
            if square == 1:
                down = HEIGHT * x0 + y0
                runs = [down, *[y1 - y0, HEIGHT - (y1 - y0)] * (x1 - x0)]
                runs[-1] = HEIGHT * WIDTH - sum(runs[:-1])
                area = {"size": [HEIGHT, WIDTH], "counts": runs}
            known = {"id": 50 - len(annotations), "image_id": 900 + number, "category_id": 7, "iscrowd": 0}
            annotations.append(known | {"bbox": [x0, y0, x1 - x0, y1 - y0], "segmentation": area, "area": 64})
            asked[str(known["id"])] = questions(colour)
            names[str(known["id"])] = f"{colour} square"
    coco = {"images": images, "annotations": annotations, "categories": [{"id": 7, "name": "Square"}]}
    for file, content in {"annotations": coco, "qa": asked, "class_names": names}.items():
        (root / f"{file}.json").write_text(json.dumps(content))


@pytest.mark.parametrize("prompt", ["mask", "box"])
def test_objects_lie_on_their_squares(tmp_path: Path, prompt: Any) -> None:
    write_dlc_bench(tmp_path)
    samples = read_all(DlcBench(tmp_path, prompt=prompt), tmp_path)
    assert [sample.id for sample in samples] == [str(50 - place) for place in range(9)]
    for place, sample in enumerate(samples):
        colour = squares(place // 3).colours[place % 3]
        assert assert_on_pixels(sample, [colour]) == 1
        assert sample.meta["class_name"] == f"{colour} square"
        assert sample.meta["questions"] == questions(colour)
        assert isinstance(sample.regions[0].prompts[0], Box) == (prompt == "box")


COCO: dict[str, Any] = {
    "images": [{"id": 3, "file_name": "a.jpg", "width": 20, "height": 10}],
    "categories": [{"id": 1, "name": "Bus"}],
    "annotations": [
        {"id": 8, "image_id": 3, "category_id": 1, "bbox": [1, 1, 4.5, 3], "segmentation": [[1, 1, 5, 1, 5.5, 4]]}
    ],
}
QA: dict[str, Any] = {"8": questions("red")}
NAMES: dict[str, Any] = {"8": "bus"}


def _source(folder: Path, coco: Any = COCO, qa: Any = QA, names: Any = NAMES) -> DlcBench:
    for file, content in {"annotations": coco, "qa": qa, "class_names": names}.items():
        (folder / f"{file}.json").write_text(json.dumps(content))
    return DlcBench(folder)


def test_an_object_by_hand(tmp_path: Path) -> None:
    assert _source(tmp_path)[0] == RegionSample(
        id="8",
        media=Frames((tmp_path / "images" / "a.jpg",)),
        regions=(Region.at(Polygon(((1.0, 1.0, 5.0, 1.0, 5.5, 4.0),)), category="Bus"),),
        conversation=(Turn("Describe <region> in detail."),),
        task="judge",
        protocol="DLC-Bench, polygon",
        meta={"annotation_id": 8, "class_name": "bus", "questions": questions("red")},
        origin=str(tmp_path / "annotations.json"),
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"qa": QA | {"9": []}},
            "{0}/qa.json is about 2 objects, {0}/annotations.json has 1: only one of them has '9'",
        ),
        (
            {"names": {"7": "bus"}},
            "{0}/class_names.json is about 1 objects, {0}/annotations.json has 1: only one of them has '7'",
        ),
        ({"names": {"8": " "}}, "{0}/class_names.json: '8': class name: expected text, got ' '"),
        ({"qa": {"8": "x"}}, "{0}/qa.json: '8': questions: expected an array, got 'x'"),
    ],
)
def test_files_that_do_not_fit_are_an_error(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as error:
        _source(tmp_path, **change)[0]
    assert str(error.value) == message.format(tmp_path)


def test_questions_about_an_object_twice_are_an_error(tmp_path: Path) -> None:
    source = _source(tmp_path)
    (tmp_path / "qa.json").write_text('{"8": [], "8": []}')
    with pytest.raises(DataError, match=r"qa.json is about 2 objects, .* has 1: one of them is there twice"):
        len(source)


@settings(FUZZ, max_examples=10)
@given(data=damaged(QA))
def test_damaged_questions_are_read_or_one_error(tmp_path: Path, data: bytes) -> None:
    source = _source(tmp_path)
    (tmp_path / "qa.json").write_bytes(data)
    read_all(source, tmp_path)
