"""Ref-YouTube-VOS: expressions for palette indices of mask pictures."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from damage import FUZZ, damaged, dump_json, read_all
from datamodules.errors import DataError
from datamodules.formats.ref_youtube_vos import RefYoutubeVos
from datamodules.types import Frames
from moving_squares import FRAMES, assert_on_pixels, save_picture, squares


def save_indices(path: Path, indices: NDArray[np.uint8]) -> None:
    """A mode-P PNG whose palette has nothing to do with the objects' colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(indices)
    picture.putpalette([channel for colour in range(256) for channel in (255 - colour, colour, 7)])
    assert picture.mode == "P"
    picture.save(path)


def write_ref_youtube_vos(root: Path, split: str = "train", scenes: int = 3) -> None:
    """Lays `scenes` videos out as Ref-YouTube-VOS does its training split: two expressions a square.

    Only every fifth frame of the original video is there, so the names count in fives. As `valid` it is what those
    who hold its masks would have; its list of videos has one of the test split too.
    """
    videos: dict[str, Any] = {}
    categories: dict[str, Any] = {}
    for number in range(scenes):
        scene, video = squares(number), f"{number:010x}"
        names = [f"{5 * frame:05d}" for frame in range(len(scene.frames))]
        for frame, name in enumerate(names):
            save_picture(root / split / "JPEGImages" / video / f"{name}.jpg", scene.frames[frame])
            indices = np.zeros(scene.frames.shape[1:3], np.uint8)
            for square in range(3):
                indices[scene.masks[square, frame]] = square + 1
            save_indices(root / split / "Annotations" / video / f"{name}.png", indices)
        expressions: dict[str, Any] = {}
        for square, colour in enumerate(scene.colours):
            for exp in (f"a {colour} square", f"the square that is {colour}"):
                expressions[str(len(expressions))] = {"exp": exp, "obj_id": str(square + 1)}
        videos[video] = {"expressions": expressions, "frames": names}
        shown = [[names[frame] for frame in scene.visible(square)] for square in range(3)]
        objects = {str(o + 1): {"category": f"{c} thing", "frames": shown[o]} for o, c in enumerate(scene.colours)}
        categories[video] = {"objects": objects}
    tested = {"ffffffffff": {"expressions": {"0": {"exp": "a cat"}}, "frames": ["00000", "00005"]}}
    for name, listed in {split: videos | (tested if split == "valid" else {}), "test": tested}.items():
        path = root / "meta_expressions" / name / "meta_expressions.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"videos": listed}))
    (root / split / "meta.json").write_text(json.dumps({"videos": categories}))


DOCUMENT: dict[str, Any] = {
    "videos": {
        "v": {
            "frames": ["00005", "00000"],
            "expressions": {"0": {"exp": "one", "obj_id": "1"}, "1": {"exp": "twelve", "obj_id": "12"}},
        }
    }
}
META: dict[str, Any] = {"videos": {"v": {"objects": {"1": {"category": "cat"}, "12": {"category": "giant_panda"}}}}}


def source_of(root: Path, document: Any = DOCUMENT, meta: Any = META, **options: Any) -> RefYoutubeVos:
    path = root / "meta_expressions" / "train" / "meta_expressions.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(dump_json(document))
    pictures = root / "train" / "Annotations" / "v"
    save_indices(pictures / "00000.png", np.array([[0, 1, 0], [0, 0, 0]], np.uint8))
    save_indices(pictures / "00005.png", np.array([[0, 1, 12], [0, 0, 0]], np.uint8))
    (root / "train" / "meta.json").write_bytes(dump_json(meta))
    return RefYoutubeVos(root, "train", **options)


def test_every_square_is_where_its_expression_says(tmp_path: Path) -> None:
    write_ref_youtube_vos(tmp_path)
    source = RefYoutubeVos(tmp_path, "train")
    assert len(source) == 18
    compared = 0
    for index in range(18):
        colour = squares(index // 6).colours[index % 6 // 2]
        assert source[index].regions[0].category == f"{colour} thing"
        compared += assert_on_pixels(source[index], [colour])
    assert compared == 18 * FRAMES


def test_a_sample_by_hand(tmp_path: Path) -> None:
    sample = source_of(tmp_path)[1]
    [region] = sample.regions
    folder = tmp_path / "train" / "JPEGImages" / "v"
    assert sample.media == Frames((folder / "00000.jpg", folder / "00005.jpg"))
    assert (sample.id, list(region.prompts), region.track) == ("v/1", [1], {0: None, **region.prompts})
    assert region.category == "giant_panda"
    assert sample.protocol == "Ref-YouTube-VOS train, one reference an expression, mask"


def test_grouped_references(tmp_path: Path) -> None:
    write_ref_youtube_vos(tmp_path)
    source = RefYoutubeVos(tmp_path, "train", references="grouped")
    assert len(source) == 9
    assert source[2].id == "0000000000/object 3"
    assert source[2].conversation[0].references == ("a blue square", "the square that is blue")


def test_valid_has_no_public_masks(tmp_path: Path) -> None:
    source = RefYoutubeVos(tmp_path, "valid")
    with pytest.raises(DataError) as error:
        len(source)
    assert str(error.value) == (
        f"{tmp_path}: the masks of Ref-YouTube-VOS valid are not public, so its expressions point at nothing; "
        "take the split train, or say with `annotations` in which folder they are"
    )


def test_valid_with_masks_is_without_the_videos_of_test(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_ref_youtube_vos(tmp_path, "valid")
    with caplog.at_level(logging.INFO):
        source = RefYoutubeVos(tmp_path, "valid", annotations=tmp_path / "valid" / "Annotations")
        assert len(source) == 18
    path = tmp_path / "meta_expressions" / "valid" / "meta_expressions.json"
    assert caplog.messages == [f"{path}: videos left out: 1 of 4, of the test split"]
    assert assert_on_pixels(source[17], [squares(2).colours[2]]) == FRAMES
    (tmp_path / "meta_expressions" / "test" / "meta_expressions.json").write_bytes(path.read_bytes())
    with pytest.raises(DataError, match=r"valid/meta_expressions.json: 0 of 4 videos are not of the test split"):
        len(RefYoutubeVos(tmp_path, "valid", annotations=tmp_path / "valid" / "Annotations"))


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ({"exp": "x", "obj_id": 1}, "expressions.0.obj_id: expected a string, got 1"),
        ({"exp": "x", "obj_id": "one"}, "expressions.0.obj_id: 'one' is no palette index from 1 to 255"),
        ({"exp": "x", "obj_id": "0"}, "expressions.0.obj_id: '0' is no palette index from 1 to 255"),
        ({"exp": "x", "obj_id": "9" * 5000}, f"expressions.0.obj_id: '{'9' * 5000}' is no palette index from 1 to 255"),
        ({"exp": "x", "obj_id": "12", "frames": 3}, None),
        ({"exp": "x", "obj_id": "3"}, "expressions.0: object 3: visible on none of 2 frames"),
        ({"exp": "x"}, "expressions.0: missing key 'obj_id'"),
    ],
)
def test_a_record_that_cannot_be_used_is_named(tmp_path: Path, expression: Any, message: str | None) -> None:
    meta = {"videos": {"v": {"objects": {number: {"category": "cat"} for number in ("3", "12")}}}}
    video = {"frames": ["00000", "00005"], "expressions": {"0": expression}}
    source = source_of(tmp_path, {"videos": {"v": video}}, meta)
    if message is None:
        assert source[0].regions[0].category == "cat"
        return
    with pytest.raises(DataError) as error:
        source[0]
    where = tmp_path / "meta_expressions" / "train" / "meta_expressions.json"
    assert str(error.value) == f"{where}: 'v': {message}"


def test_pictures_without_a_palette_or_missing_are_named(tmp_path: Path) -> None:
    source = source_of(tmp_path)
    path = tmp_path / "train" / "Annotations" / "v" / "00005.png"
    Image.new("RGB", (3, 2)).save(path)
    with pytest.raises(DataError, match=r"00005.png: a picture of mode RGB, expected palette indices \(mode P\)"):
        source[0]
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match=r"00005.png: cannot be read as an image"):
        source[0]
    path.unlink()
    with pytest.raises(DataError, match=r"'v': .*00005.png: cannot be read as an image: .*No such file"):
        source[0]


@FUZZ
@given(data=damaged(DOCUMENT))
def test_damaged_expressions_are_read_or_a_data_error(tmp_path: Path, data: bytes) -> None:
    source = source_of(tmp_path)
    (tmp_path / "meta_expressions" / "train" / "meta_expressions.json").write_bytes(data)
    read_all(source, tmp_path)


@settings(FUZZ, max_examples=100)
@given(data=damaged(META))
def test_damaged_categories_are_read_or_a_data_error(tmp_path: Path, data: bytes) -> None:
    source = source_of(tmp_path)
    (tmp_path / "train" / "meta.json").write_bytes(data)
    read_all(source, tmp_path)


@settings(FUZZ, max_examples=100)
@given(place=st.integers(0, 10**6), value=st.integers(0, 255), cut=st.booleans())
def test_damaged_masks_are_read_or_a_data_error(tmp_path: Path, place: int, value: int, cut: bool) -> None:
    source = source_of(tmp_path)
    path = tmp_path / "train" / "Annotations" / "v" / "00005.png"
    written = bytearray(path.read_bytes())
    place %= len(written)
    written[place] = value
    path.write_bytes(written[:place] if cut else written)
    read_all(source, tmp_path)
