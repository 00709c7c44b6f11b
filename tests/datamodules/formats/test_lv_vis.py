"""LV-VIS: masks of single objects on every frame, asked for their category."""

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from pycocotools import mask as coco_mask

from damage import FUZZ, damaged, dump_json, read_all
from datamodules.errors import DataError
from datamodules.formats.lv_vis import LvVis
from datamodules.types import Frames, Mask
from moving_squares import FRAMES, HEIGHT, WIDTH, assert_on_pixels, save_picture, squares


def uncompressed(code: dict[str, Any]) -> dict[str, Any]:
    """The code with its runs as a list of lengths, background first."""
    pixels = coco_mask.decode(code).ravel(order="F")
    changes = [0, *(np.flatnonzero(np.diff(pixels)) + 1).tolist(), len(pixels)]
    runs = np.diff(changes).tolist()
    return {"size": code["size"], "counts": [0, *runs] if pixels[0] else runs}


def write_lv_vis(root: Path, split: str = "val", scenes: int = 3) -> None:
    """Lays `scenes` videos out as LV-VIS does: an annotation a square, null where it has left the picture.

    Category ids are neither in order nor without gaps, and every second annotation has its runs as lists.
    """
    colours = sorted({colour for number in range(scenes) for colour in squares(number).colours})
    categories = [{"id": 3 * place + 5, "name": f"{colour}_square"} for place, colour in enumerate(colours)]
    videos: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number in range(scenes):
        scene = squares(number)
        names = [f"{number:05d}/{frame:05d}.jpg" for frame in range(len(scene.frames))]
        for name, picture in zip(names, scene.frames, strict=True):
            save_picture(root / split / "JPEGImages" / name, picture)
        size = {"height": HEIGHT, "width": WIDTH, "length": len(names)}
        videos.append({"id": number + 1, "file_names": names, **size})
        for square, colour in enumerate(scene.colours):
            seen = scene.visible(square)
            codes = [scene.rle(square, t) if t in seen else None for t in range(len(names))]
            identifier = len(annotations) + 1
            if identifier % 2:
                codes = [code and uncompressed(code) for code in codes]
            known = {"video_id": number + 1, "category_id": 3 * colours.index(colour) + 5, "iscrowd": 0}
            annotations.append({"id": identifier, "segmentations": codes, **known})
    document = {"info": {}, "videos": videos, "categories": categories[::-1], "annotations": annotations}
    (root / f"{split}_instances.json").write_text(json.dumps(document))


CODE = {"size": [2, 3], "counts": [1, 2, 3]}
NOTHING = {"size": [2, 3], "counts": [6]}
DOCUMENT: dict[str, Any] = {
    "videos": [{"id": 9, "file_names": ["a/0.jpg", "a/1.jpg", "a/2.jpg"], "height": 2, "width": 3, "length": 3}],
    "annotations": [
        {"id": 4, "video_id": 9, "category_id": 77, "segmentations": [None, NOTHING, CODE]},
        {"id": 5, "video_id": 9, "category_id": 1, "segmentations": [CODE, None, CODE]},
    ],
    "categories": [{"id": 77, "name": "street_sign"}, {"id": 1, "name": "cat"}],
}


def source_of(root: Path, document: Any = DOCUMENT, **options: Any) -> LvVis:
    (root / "train_instances.json").write_bytes(dump_json(document))
    return LvVis(root, "train", **options)


def changed(*path: Any, value: Any) -> Any:
    result = copy.deepcopy(DOCUMENT)
    place: Any = result
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return result


def test_every_square_is_where_its_annotation_says(tmp_path: Path) -> None:
    write_lv_vis(tmp_path)
    source = LvVis(tmp_path, "val")
    assert len(source) == 9
    compared = 0
    for index in range(9):
        colour = squares(index // 3).colours[index % 3]
        assert source[index].conversation[0].answer == f"{colour} square"
        compared += assert_on_pixels(source[index], [colour])
    assert compared == 9 * FRAMES


def test_a_sample_by_hand(tmp_path: Path) -> None:
    sample = source_of(tmp_path)[0]
    [region] = sample.regions
    folder = tmp_path / "train" / "JPEGImages" / "a"
    assert sample.media == Frames((folder / "0.jpg", folder / "1.jpg", folder / "2.jpg"))
    assert isinstance(region.prompts[2], Mask)
    decoded = coco_mask.decode({"size": [2, 3], "counts": region.prompts[2].counts})
    assert decoded.tolist() == [[0, 1, 0], [1, 0, 0]]
    assert (region.track, region.category) == ({0: None, 1: None, 2: region.prompts[2]}, "street sign")
    assert (sample.id, sample.task) == ("4", "answer")
    assert sample.conversation[0].question == "What is the category of <region>?"
    assert sample.conversation[0].answer == "street sign"
    assert sample.protocol == "LV-VIS train, category, mask"
    assert sample.origin == f"{tmp_path}/train_instances.json: annotations[0]"
    [later] = source_of(tmp_path)[1].regions
    assert (list(later.prompts), list(later.track)) == ([0], [0, 1, 2])


def test_parts_of_the_download_may_lie_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(dump_json(DOCUMENT))
    source = LvVis(tmp_path, "val", annotations=tmp_path / "x.json", images=Path("/pictures"), question="<region>?")
    media = source[1].media
    assert isinstance(media, Frames) and media.paths[0] == Path("/pictures/a/0.jpg")
    assert source[1].conversation[0].question == "<region>?"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (changed("annotations", 0, "video_id", value=3), ": annotations[0]: video_id: 3 is none of the file's 1"),
        (changed("annotations", 0, "category_id", value=3), ": annotations[0]: category_id: 3 is none of the file's 2"),
        (changed("annotations", 0, "segmentations", value=[None] * 3),
         ": annotations[0]: segmentations: visible on none of 3 frames"),
        (changed("annotations", 0, "segmentations", value=[None, CODE]),
         ": annotations[0]: segmentations: expected 3 elements, got [None, {'counts': [1, 2, 3], 'size': [2, 3]}]"),
        (changed("annotations", 0, "segmentations", 1, value={"size": [2, 2], "counts": [4]}), None),
        (changed("annotations", 0, "segmentations", 2, value={"size": [2, 2], "counts": [1, 3]}),
         ": annotations[0]: segmentations[2]: 2 x 2 pixels (height x width), its video 2 x 3"),
        (changed("annotations", 0, value=[]), ": annotations[0]: the annotation: expected an object, got []"),
        (changed("annotations", 0, "id", value="4"), ": annotations[0]: id: expected an integer, got '4'"),
        (changed("videos", 0, "height", value=0),
         ": annotations[0]: video 9: height: expected an integer of at least 1, got 0"),
        (changed("videos", 0, "file_names", value=[1]),
         ": annotations[0]: video 9: file_names[0]: expected a string, got 1"),
        (changed("categories", 0, "name", value=""),
         ": annotations[0]: category 77: name: expected text, got ''"),
    ],
)  # fmt: skip
def test_a_record_that_cannot_be_used_is_named(tmp_path: Path, document: Any, message: str | None) -> None:
    source = source_of(tmp_path, document)
    assert len(source) == 2
    if message is None:
        assert source[0].prompted_frames == (2,)
        return
    with pytest.raises(DataError) as error:
        source[0]
    assert str(error.value) == f"{tmp_path}/train_instances.json{message}"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (changed("annotations", 1, "id", value=4), ": the annotation id 4 stands 2 times"),
        (changed("videos", value=DOCUMENT["videos"] * 2), ": videos[1]: the id 9 stands twice"),
        (changed("videos", 0, "id", value=None), ": videos[0].id: expected an integer, got None"),
        (changed("annotations", value=[]), ": no records"),
        (changed("annotations", value={"a": {}}), ": annotations: expected an array, got the key 'a'"),
        ({"annotations": [{}]}, ": missing key 'videos'"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, document: Any, message: str) -> None:
    source = source_of(tmp_path, document)
    with pytest.raises(DataError) as error:
        len(source)
    assert str(error.value) == f"{tmp_path}/train_instances.json{message}"


def test_nothing_is_opened_before_use_and_the_pickle_is_an_index(tmp_path: Path) -> None:
    LvVis(tmp_path / "not there", "train")
    row = DOCUMENT["annotations"][1]
    source = source_of(tmp_path, DOCUMENT | {"annotations": [row | {"id": number} for number in range(500)]})
    assert len(source) == 500
    pickled = pickle.dumps(source)
    assert len(pickled) < 500 * 32 + 3000
    assert pickle.loads(pickled)[499] == source[499]


@FUZZ
@given(data=damaged(DOCUMENT))
def test_a_damaged_file_is_read_or_a_data_error(tmp_path: Path, data: bytes) -> None:
    source = source_of(tmp_path)
    (tmp_path / "train_instances.json").write_bytes(data)
    read_all(source, tmp_path)


@pytest.mark.real_data
def test_a_real_code_covers_what_pycocotools_says(tmp_path: Path, real_data: Path) -> None:
    code = json.loads((real_data / "bdd100k" / "scalabel_rle.json").read_text())
    height, width = code["size"]
    video = {"id": 9, "file_names": ["a/0.jpg", "a/1.jpg"], "height": height, "width": width, "length": 2}
    annotation = {"id": 4, "video_id": 9, "category_id": 77, "segmentations": [None, code]}
    sample = source_of(tmp_path, DOCUMENT | {"videos": [video], "annotations": [annotation]})[0]
    mask = sample.regions[0].prompts[1]
    assert isinstance(mask, Mask)
    assert (mask.size, mask.counts.decode()) == ((height, width), code["counts"])
