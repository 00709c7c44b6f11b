"""Visual Genome region captions in the files that dense captioning models share."""

from __future__ import annotations

import copy
import pickle
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from damage import FUZZ, damaged, dump_json, read_all
from datamodules.errors import DataError
from datamodules.formats.grit_captions import GritCaptions
from datamodules.types import Box, Frames, Turn
from moving_squares import HEIGHT, WIDTH, Squares, assert_on_pixels, save_picture, squares

SCENES = 3


@cache
def scene_of(number: int) -> Squares:
    return squares(number)


def captions() -> dict[str, Any]:
    """Three regions an image, whose annotations are mixed and whose ids repeat those of images."""
    images = [{"id": n + 1, "file_name": f"{n + 1}.jpg", "width": WIDTH, "height": HEIGHT} for n in range(SCENES)]
    annotations = [_annotation(number, square) for square in (1, 2, 0) for number in range(SCENES)]
    categories = [{"id": 1, "name": "object", "supercategory": "object"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def _annotation(number: int, square: int) -> dict[str, Any]:
    scene = scene_of(number)
    x0, y0, x1, y1 = scene.box(square) or (0, 0, 0, 0)
    return {
        "id": 1 + 3 * number + square,
        "image_id": number + 1,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": (x1 - x0) * (y1 - y0),
        "category_id": 1,
        "iscrowd": 0,
        "segmentation": [],
        "caption": f"a {scene.colours[square]} square" + " " * square,
    }


def write_grit_captions(root: Path) -> None:
    """`annotations/test.json` and the merged folder of pictures."""
    for number in range(SCENES):
        save_picture(root / "images" / f"{number + 1}.jpg", scene_of(number).frames[0])
    (root / "annotations").mkdir()
    (root / "annotations" / "test.json").write_bytes(dump_json(captions()))


def _source(folder: Path, document: Any, **options: Any) -> GritCaptions:
    for number in range(SCENES):
        (folder / f"{number + 1}.jpg").touch()
    path = folder / "test.json"
    path.write_bytes(dump_json(document))
    return GritCaptions(path, folder, **options)


def _changed(*path: Any, value: Any) -> Any:
    changed = copy.deepcopy(captions())
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed


def test_every_caption_is_about_the_pixels_of_its_square(tmp_path: Path) -> None:
    write_grit_captions(tmp_path)
    source = GritCaptions(tmp_path / "annotations/test.json", tmp_path / "images")
    assert len(source) == SCENES * 3
    for sample in map(source.__getitem__, range(len(source))):
        assert assert_on_pixels(sample, [sample.conversation[0].answer.split()[1]]) == 1
    assert {source[index].id for index in range(9)} == {str(number) for number in range(1, 10)}
    assert source[0].protocol == "Visual Genome test.json, all regions, box"


def test_a_region_by_hand(tmp_path: Path) -> None:
    sample = _source(tmp_path, captions())[4]
    assert sample.id == "6"
    assert sample.media == Frames((tmp_path / "2.jpg",))
    assert sample.conversation == (Turn("Give a short description of <region>.", "a red square", ("a red square",)),)
    assert sample.meta == {"image_id": 2, "annotation_id": 6}
    assert sample.origin == f"{tmp_path}/test.json: annotation 6"


def test_one_region_of_each_image_is_the_first_of_the_file(tmp_path: Path) -> None:
    source = _source(tmp_path, captions(), regions="one_per_image")
    assert [source[index].id for index in range(len(source))] == ["2", "5", "8"]
    assert source[0].protocol == "Visual Genome test.json, first region of each image, box"


def test_degenerate_boxes_are_left_out_on_request_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    document = captions()
    boxes = [[3, 3, 0.99, 5], [3, 3, 5, 0.99], [WIDTH, 3, 5, 5], [-1.5, -1.5, 4, 4]]
    for annotation, box in zip(document["annotations"], boxes, strict=False):
        annotation["bbox"] = box
    source = _source(tmp_path, document)
    assert len(source) == 9
    assert source[0].regions[0].prompts[0] == Box((3.0, 3.0, 3.99, 8.0))
    with pytest.raises(DataError, match=r"annotation 8: bbox: box \[56.0, 3.0, 61.0, 8.0\] is not on the frame"):
        source[6]
    with caplog.at_level("INFO"):
        source = _source(tmp_path, document, drop_degenerate=True, regions="one_per_image")
        assert [source[index].id for index in range(len(source))] == ["3", "6", "9"]
    assert source[0].regions[0].prompts[0] == Box((0.0, 0.0, 2.5, 2.5))
    assert "9 regions, 3 degenerate ones dropped" in caplog.text
    assert source[0].protocol.endswith("first region of each image, degenerate boxes dropped, box")
    document["annotations"] = document["annotations"][:3]
    with pytest.raises(DataError, match="all 3 boxes are degenerate"):
        len(_source(tmp_path, document, drop_degenerate=True))


def test_pictures_may_lie_in_the_two_folders_of_the_download(tmp_path: Path) -> None:
    source = _source(tmp_path, captions())
    for number in range(SCENES):
        (tmp_path / f"{number + 1}.jpg").unlink()
    save_picture(tmp_path / "VG_100K_2/1.jpg", scene_of(0).frames[0])
    assert source[0].media == Frames((tmp_path / "VG_100K_2/1.jpg",))
    with pytest.raises(DataError, match=r"annotation 5: 2\.jpg is neither in .* nor in its VG_100K, VG_100K_2"):
        source[3]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("annotations", 0, "caption"), 3, "annotation 2: caption: expected a string, got 3"),
        (("annotations", 0, "caption"), "<region1>", "annotation 2: conversation[0].answer: <region1> has no region"),
        (("annotations", 0, "bbox"), [0, 0], "annotations[0].bbox: expected 4 elements, got [0, 0]"),
        (("annotations", 0, "image_id"), 9, "annotation 2: image_id 9 is none of the file's 3"),
        (("images", 0, "file_name"), "x" * 300, "annotation 2: xxxxx"),
        (("images", 0, "width"), "3", "images[0].width: expected an integer of at least 1, got '3'"),
    ],
)
def test_a_broken_record_is_named(tmp_path: Path, path: tuple[Any, ...], value: Any, message: str) -> None:
    source = _source(tmp_path, _changed(*path, value=value))
    with pytest.raises(DataError) as error:
        source[0]
    assert str(error.value).startswith(f"{tmp_path}/test.json: {message}")


def test_what_travels_to_a_worker_has_no_text(tmp_path: Path) -> None:
    source = _source(tmp_path, captions())
    sample = source[0]
    travelled = pickle.dumps(source)
    assert b"green" not in travelled
    assert pickle.loads(travelled)[0] == sample


@FUZZ
@given(data=damaged(captions()))
def test_damaged_files(tmp_path: Path, data: bytes) -> None:
    source = _source(tmp_path, {})
    source.path.write_bytes(data)
    assert len(read_all(source, tmp_path)) <= 9
    assert len(read_all(GritCaptions(source.path, tmp_path, regions="one_per_image"), tmp_path)) <= 3
