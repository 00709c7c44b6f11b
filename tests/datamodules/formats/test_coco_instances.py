"""COCO instances as region classification."""

import copy
import json
import pickle
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco
from pycocotools.coco import COCO

from datamodules.errors import DataError
from datamodules.formats.coco_instances import CocoInstances
from datamodules.types import Box, Frames, Mask, Polygon, Region, RegionSample, Turn
from helpers import square_weights

RING = [1, 1, 5, 1, 5.5, 4]
PIXELS = np.zeros((10, 20), np.uint8, order="F")
PIXELS[2:5, 3:9] = 1
COMPRESSED = {"size": [10, 20], "counts": coco.encode(PIXELS)["counts"].decode()}
UNCOMPRESSED = {"size": [10, 20], "counts": [32, 3, 7, 3, 7, 3, 7, 3, 7, 3, 7, 3, 115]}

DOCUMENT: dict[str, Any] = {
    "info": {"description": "annotations before images, ids not in order"},
    "annotations": [
        {"id": 50, "image_id": 9, "category_id": 3, "bbox": [1, 1, 4.5, 3], "segmentation": [RING, RING]},
        {"id": 7, "image_id": 2, "category_id": 1, "bbox": [3, 2, 6, 3], "segmentation": COMPRESSED},
        {"id": 8, "image_id": 2, "category_id": 3, "bbox": [3, 2, 6, 3], "iscrowd": 1, "segmentation": []},
        {"id": 6, "image_id": 2, "category_id": 3, "bbox": [3, 2, 6, 3], "segmentation": UNCOMPRESSED},
        {"id": 4, "image_id": 9, "category_id": 3, "bbox": [0, 0, 2, 0.5], "iscrowd": 0, "segmentation": []},
        {"id": 5, "image_id": 9, "category_id": 3, "bbox": [-0.5, 9, 20.9, 1.99]},
    ],
    "images": [
        {"id": 9, "file_name": "sub/é.jpg", "width": 20, "height": 10, "coco_url": "unused"},
        {"id": 2, "file_name": "two.jpg", "width": 20, "height": 10},
        {"id": 1, "file_name": "empty.jpg", "width": 1, "height": 1},
    ],
    "categories": [{"id": 1, "name": "Person"}, {"id": 3, "name": "Hot Dog"}, {"id": 4, "name": "unused"}],
}


def write_coco(folder: Path) -> None:
    """Four images of two squares each, as COCO instances."""
    (folder / "images").mkdir(parents=True)
    annotations = []
    for number in range(4):
        pixels = np.zeros((40, 60, 3), np.uint8)
        pixels[5:15, 5:15, 0] = pixels[20:35, 30:45, 1] = 255
        Image.fromarray(pixels).save(folder / "images" / f"{number}.jpg")
        for place, box in enumerate(([5, 5, 10, 10], [30, 20, 15, 15])):
            annotations.append(
                {"id": 2 * number + place, "image_id": number, "category_id": place, "bbox": box, "iscrowd": 0}
                | {"area": box[2] * box[3], "segmentation": []}
            )
    images = [{"id": number, "file_name": f"{number}.jpg", "width": 60, "height": 40} for number in range(4)]
    categories = [{"id": 0, "name": "Red"}, {"id": 1, "name": "green"}]
    text = json.dumps({"images": images, "annotations": annotations, "categories": categories})
    for split in ("train", "val"):
        (folder / f"instances_{split}.json").write_text(text)


def _source(folder: Path, document: Any = DOCUMENT, **options: Any) -> CocoInstances:
    path = folder / "instances.json"
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    return CocoInstances(path, Path("/images"), **options)


def _read(source: CocoInstances) -> list[RegionSample]:
    return [source[index] for index in range(len(source))]


def _changed(*path: Any, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(DOCUMENT)
    place: Any = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed


def test_images_by_id_then_annotations_by_file_without_crowds(tmp_path: Path) -> None:
    source = _source(tmp_path)
    assert [source[i].id for i in range(len(source))] == ["7", "6", "50", "4", "5"]


def test_a_sample_by_hand(tmp_path: Path) -> None:
    source = _source(tmp_path)
    assert source[2] == RegionSample(
        id="50",
        media=Frames((Path("/images/sub/é.jpg"),)),
        regions=(Region.at(Polygon((tuple(RING), tuple(RING))), category="Hot Dog"),),
        conversation=(Turn("What is the category of <region>?", "hot dog"),),
        task="classify",
        protocol="instances.json, polygon, whole image",
        meta={"image_id": 9, "annotation_id": 50, "category_id": 3, "bbox": [1.0, 1.0, 4.5, 3.0]},
        origin=str(tmp_path / "instances.json"),
    )
    json.dumps(source[2].meta)


def test_every_kind_of_segmentation(tmp_path: Path) -> None:
    source = _source(tmp_path)
    masks = [source[0].regions[0].prompts[0], source[1].regions[0].prompts[0]]
    assert masks == [Mask((10, 20), COMPRESSED["counts"].encode())] * 2
    assert source[3].regions[0].prompts[0] == Box((0.0, 0.0, 2.0, 0.5))
    # regression: the protocol said "mask" of all of them
    forms = ["mask", "mask", "polygon", "box in place of a mask", "box in place of a mask"]
    assert [source[place].protocol.split(", ")[1] for place in range(5)] == forms


def test_what_is_pointed_with_does_not_change_where_the_object_is(tmp_path: Path) -> None:
    """With boxes to point with the guide head learnt boxes: an ablation of the two changed the target as well."""
    boxed, masked = _source(tmp_path, prompt="box"), _source(tmp_path)
    for index in range(3):
        both = (source[index].regions for source in (boxed, masked))
        box, mask = (square_weights(regions, (0,), (10, 20), 20, 5) for regions in both)
        np.testing.assert_array_equal(box.guide, mask.guide)
        np.testing.assert_array_equal(mask.mark, mask.guide)
        assert box.known.tolist() == mask.known.tolist() == [True]
    # the triangle, which was last
    assert box.mark.sum() > 1.5 * mask.mark.sum() > 0
    assert boxed[3].regions == masked[3].regions, "without a mask the object is in its box"


def test_boxes_are_clipped_where_rounding_put_them_outside(tmp_path: Path) -> None:
    source = _source(tmp_path, prompt="box")
    assert source[0].regions[0].prompts[0] == Box((3.0, 2.0, 9.0, 5.0))
    assert source[4].regions[0].prompts[0] == Box((0.0, 9.0, 20.0, 10.0))
    assert source[4].meta["bbox"] == [-0.5, 9.0, 20.9, 1.99]


@pytest.mark.parametrize(
    ("bbox", "expected"),
    [
        ([15, 2, 60, 3], Box((15.0, 2.0, 20.0, 5.0))),
        ([-1.35, -44.4, 395.3, 357.6], Box((0.0, 0.0, 20.0, 10.0))),
        ([9, 2, -4, 3], None),
        ([25, 2, 4, 3], None),
        ([-3, 2, 3.000001, 3], None),
    ],
)
def test_a_box_is_clipped_and_an_error_only_where_nothing_of_it_can_be_shown(
    tmp_path: Path, bbox: list[float], expected: Box | None
) -> None:
    """Regression: two real files were refused for boxes, though the masks beside them were shown."""
    document = _changed("annotations", 1, "bbox", value=bbox)
    assert isinstance(_source(tmp_path, document)[0].regions[0].prompts[0], Mask)
    boxed = _source(tmp_path, document, prompt="box")
    if expected is None:
        with pytest.raises(DataError, match=r"annotation 7: bbox: box .* is not on the frame of width 20 and height"):
            boxed[0]
    else:
        assert boxed[0].regions[0].prompts[0] == expected


@pytest.mark.parametrize("prompt", ["box", "mask"])
def test_objects_without_height_or_width_are_left_out_and_counted(
    tmp_path: Path, prompt: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Regression: COCO's own two made an error of all of it."""
    document = _changed("annotations", 4, "bbox", value=[3, 3, 2, 0])
    with caplog.at_level("INFO"):
        assert [sample.id for sample in _read(_source(tmp_path, document, prompt=prompt))] == ["7", "6", "50", "5"]
    assert (
        "5 objects; left out: 1 without height or width, 0 below min_area; boxes clipped to their image: 1"
        in caplog.text
    )


def test_the_question_is_an_option(tmp_path: Path) -> None:
    assert _source(tmp_path, question="class <region0>")[0].conversation[0].question == "class <region0>"
    with pytest.raises(DataError, match=r"question: <region1> has no region, there are 1"):
        _source(tmp_path, question="class <region1>")


def test_balance_gives_every_class_the_same_weight(tmp_path: Path) -> None:
    assert _source(tmp_path).balance() is None
    weights = _source(tmp_path, balanced=True).balance()
    assert weights is not None
    assert weights.tolist() == pytest.approx([1 / 2, 1 / 8, 1 / 8, 1 / 8, 1 / 8])


def test_small_objects_are_left_out_on_request_only(tmp_path: Path) -> None:
    document = _changed("annotations", 4, "bbox", value=[0, 0, 0.9, 0.9])
    assert len(_source(tmp_path, document)) == 5
    source = _source(tmp_path, document, min_area=1, balanced=True)
    assert [source[i].id for i in range(len(source))] == ["7", "6", "50", "5"]
    weights = source.balance()
    assert weights is not None
    assert weights.tolist() == pytest.approx([1 / 2, 1 / 6, 1 / 6, 1 / 6])
    with pytest.raises(DataError, match="all 5 objects are left out: 5 objects are below min_area 1000, 0 without"):
        len(_source(tmp_path, min_area=1000))


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (
            _changed("annotations", 0, "image_id", value=77),
            ": annotation 50: image_id 77 is none of the file's 3",
        ),
        (
            _changed("annotations", 1, "category_id", value=2),
            ": annotation 7: category_id 2 is none of the file's 3",
        ),
        (_changed("annotations", 1, "id", value=50), ": annotation 50: its id stands 2 times"),
        (_changed("annotations", 0, "id", value="x"), ": annotations[0].id: expected an integer, got 'x'"),
        (
            _changed("annotations", 0, "id", value=2**70),
            ": annotations[0].id: expected an integer, got 11805",
        ),
        (_changed("annotations", 0, value=[]), ": annotations[0]: expected an object, got []"),
        (_changed("annotations", 0, value={"id": 1}), ": annotations[0]: missing key 'bbox'"),
        (
            _changed("annotations", 0, "bbox", value=[1, 2, 3]),
            ": annotations[0].bbox: expected 4 elements, got",
        ),
        (_changed("images", 1, "id", value=9), ": images[1]: the id 9 stands twice"),
        (
            _changed("images", 1, "width", value=0),
            ": images[1].width: expected an integer of at least 1, got 0",
        ),
        (_changed("images", value={}), ": images: expected an array, got {}"),
        (_changed("categories", 0, "name", value=""), ": categories[0].name: expected text, got ''"),
        (_changed("annotations", value=[]), ": 0 annotations of single objects"),
        (_changed("annotations", value={"a": {}}), ": annotations: expected an array, got the key 'a'"),
        ({"images": []}, ": missing key 'annotations'"),
        ([], ":1: not JSON: Expecting '{' (column 1)"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, document: Any, message: str) -> None:
    source = _source(tmp_path, document)
    with pytest.raises(DataError) as error:
        _read(source)
    assert str(error.value).startswith(f"{source.annotations}{message}")


def test_one_bad_box_does_not_hide_the_other_records(tmp_path: Path) -> None:
    source = _source(tmp_path, _changed("annotations", 1, "bbox", value=[25, 2, 6, 3]), prompt="box")
    assert [source[index].id for index in range(1, len(source))] == ["6", "50", "4", "5"]
    with pytest.raises(DataError, match="annotation 7"):
        source[0]


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([[1, 2, 3, 4]], "segmentation[0]: 4 numbers, a ring is an even number of at least 6"),
        ({"size": [10, 20], "counts": [200]}, "segmentation: empty mask, 0 of 200 pixels"),
        (
            {"size": [5, 4], "counts": [0, 20]},
            "segmentation: 5 x 4 pixels (height x width), its image 10 x 20",
        ),
        ("0000", "segmentation: expected an object, got '0000'"),
    ],
)
def test_a_segmentation_that_cannot_be_used_is_named(tmp_path: Path, segmentation: Any, message: str) -> None:
    source = _source(tmp_path, _changed("annotations", 1, "segmentation", value=segmentation))
    with pytest.raises(DataError) as error:
        source[0]
    assert str(error.value) == f"{source.annotations}: annotation 7: {message}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"annotations": [\n{"iscrowd": 1},\n]}', ":3: not JSON: Expecting value"),
        (b'{"annotations": [\n{"iscrowd": 1} {', ":2: not JSON: Expecting ','"),
        (b'{"annotations": [\n{"iscrowd": 1', ":2: not JSON: Expecting ','"),
        (b'{"images": [{"file_name": "\xff"}], "annotations": []}', ": not JSON: 'utf-8' codec"),
        (b'{1: 2, "annotations": []}', ":1: not JSON: Expecting property name"),
        (b'{"annotations": []} {}', ":1: not JSON: Extra data"),
        (b'{"annotations": ' + b"[" * 100_000, ": not JSON: maximum recursion"),
        (b"", r":1: not JSON: Expecting '\{'"),
    ],
)
def test_a_file_that_is_not_json_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    source = _source(tmp_path)
    source.annotations.write_bytes(content)
    with pytest.raises(DataError, match=rf"instances\.json({message})"):
        len(source)
    source.annotations.unlink()
    with pytest.raises(DataError, match=r"instances\.json: No such file"):
        len(source)


@settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(indent=st.sampled_from([None, 0, 3]), order=st.permutations(list(DOCUMENT)), mark=st.booleans())
def test_layout_does_not_matter(tmp_path: Path, indent: int | None, order: list[str], mark: bool) -> None:
    source = _source(tmp_path)
    expected = [source[i] for i in range(len(source))]
    text = json.dumps({key: DOCUMENT[key] for key in order}, indent=indent, ensure_ascii=False)
    source.annotations.write_text(text, encoding="utf-8-sig" if mark else "utf-8")
    again = CocoInstances(source.annotations, source.images)
    assert [again[i] for i in range(len(again))] == expected


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    return [place for key in keys for place in [(*path, key), *_places(value[key], (*path, key))]]


@settings(
    max_examples=400,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    path=st.sampled_from(_places(DOCUMENT)),
    junk=st.sampled_from([None, True, -1, 0, 10**30, 1.5, float("nan"), "x", "\ud83d", [], [[]], {}, {"id": []}]),
)
def test_a_damaged_document_is_read_or_a_data_error(tmp_path: Path, path: tuple[Any, ...], junk: Any) -> None:
    source = CocoInstances(tmp_path / "instances.json", tmp_path)
    source.annotations.write_text(json.dumps(_changed(*path, value=junk)))
    try:
        samples = [source[i] for i in range(len(source))]
    except DataError as error:
        fine = str(error).startswith(f"{source.annotations}:")
    else:
        fine = 0 < len(samples) <= 6
    assert fine


def test_nothing_is_opened_before_use_and_the_pickle_is_an_index(tmp_path: Path) -> None:
    CocoInstances(tmp_path / "not yet written.json", tmp_path)
    ring = [float(i % 9) for i in range(400)]
    annotations = [
        {"id": i, "image_id": 2, "category_id": 1, "bbox": [0, 0, 9, 9], "segmentation": [ring]} for i in range(500)
    ]
    source = _source(tmp_path, DOCUMENT | {"annotations": annotations})
    assert len(source) == 500
    pickled = pickle.dumps(source)
    assert len(pickled) < 500 * 72 + 2000
    assert pickle.loads(pickled)[499] == source[499]


@pytest.mark.real_data
@pytest.mark.parametrize(("split", "objects"), [("train", 2804), ("val", 1137)])
def test_real_instances_agree_with_pycocotools(
    real_data: Path, split: Literal["train", "val"], objects: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = real_data / "bccd" / f"instances_{split}.json"
    source = CocoInstances(path, real_data / "bccd" / "images", prompt="box", balanced=True)
    assert len(source) == objects
    reference = COCO(str(path))
    capsys.readouterr()
    for annotation_id, sample in zip(
        reference.getAnnIds(sorted(reference.imgs)), map(source.__getitem__, range(objects)), strict=True
    ):
        [annotation] = reference.loadAnns(annotation_id)
        x, y, width, height = annotation["bbox"]
        assert sample.id == str(annotation_id)
        assert sample.regions[0].prompts[0] == Box((x, y, x + width, y + height))
        assert sample.conversation[0].answer == reference.cats[annotation["category_id"]]["name"]
        assert isinstance(sample.media, Frames)
        assert sample.media.paths[0].is_file()


@pytest.mark.real_data
def test_real_masks_cover_what_their_annotation_says(real_data: Path) -> None:
    path = real_data / "panopticapi" / "panoptic_coco_detection_format.json"
    areas = {a["id"]: a["area"] for a in json.loads(path.read_text())["annotations"]}
    source = CocoInstances(path, real_data / "panopticapi" / "input_images")
    for sample in map(source.__getitem__, range(len(source))):
        mask = sample.regions[0].prompts[0]
        assert isinstance(mask, Mask)
        assert coco.area({"size": mask.size, "counts": mask.counts}) == areas[int(sample.id)]
