"""LLaVA-Instruct: conversations about pictures, and some without one."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from damage import FUZZ, damaged, read_all
from datamodules.errors import DataError
from datamodules.formats.llava_instruct import LlavaInstruct
from datamodules.media.clips import read_clip
from datamodules.types import Frames, NoPicture, RegionSample, Turn
from moving_squares import save_picture, squares


def write_llava_instruct(root: Path, scenes: int = 3) -> None:
    """`llava_v1_5_mix.json` with pictures in `coco/train2017`, and one conversation without a picture."""
    records: list[dict[str, Any]] = []
    for number in range(scenes):
        scene, name = squares(number), f"coco/train2017/{number:012d}.jpg"
        save_picture(root / name, scene.frames[0])
        asked = "Which colours do the squares have?"
        first = f"<image>\n{asked}" if number % 2 else f"{asked}\n<image>"
        turns = [first, ", ".join(scene.colours), "How many squares are there?", "Three."]
        # two records about one picture have one id
        records += [{"id": f"{number:012d}", "image": name, "conversations": _said(turns[:k])} for k in (2, 4)]
    records.append({"id": "wgByO4Y_0", "model": "", "conversations": _said(["What is 1 + 1?", "2"])})
    (root / "llava_v1_5_mix.json").write_text(json.dumps(records))


def _said(texts: list[str]) -> list[dict[str, str]]:
    return [{"from": ("human", "gpt")[number % 2], "value": text} for number, text in enumerate(texts)]


def test_conversations_and_pictures_belong_together(tmp_path: Path) -> None:
    write_llava_instruct(tmp_path)
    samples = read_all(LlavaInstruct(tmp_path / "llava_v1_5_mix.json", tmp_path), tmp_path)
    assert len(samples) == len({sample.id for sample in samples}) == 7
    for number, sample in enumerate(samples[:6]):
        scene = squares(number // 2)
        assert sample.conversation[0] == Turn("Which colours do the squares have?", ", ".join(scene.colours))
        assert sample.conversation[1:] == ((Turn("How many squares are there?", "Three."),) if number % 2 else ())
        assert abs(read_clip(sample.media, 1, []).pixels[0].astype(int) - scene.frames[0]).max() < 40
    assert samples[6].media == NoPicture()
    assert samples[6].conversation == (Turn("What is 1 + 1?", "2"),)


def _one(folder: Path, **changes: Any) -> RegionSample:
    record = {"id": "000000033471", "image": "000000033471.jpg", "conversations": _said(["What?\n<image>", "A bus."])}
    path = folder / "llava_instruct_150k.json"
    path.write_text(json.dumps([record | changes]))
    return LlavaInstruct(path, Path("/train2017"))[0]


def test_a_conversation_by_hand(tmp_path: Path) -> None:
    assert _one(tmp_path) == RegionSample(
        id="000000033471-0",
        media=Frames((Path("/train2017/000000033471.jpg"),)),
        regions=(),
        conversation=(Turn("What?", "A bus."),),
        protocol="LLaVA-Instruct, llava_instruct_150k.json",
        origin=f"{tmp_path / 'llava_instruct_150k.json'}: [0]",
    )
    assert _one(tmp_path, id=2331).id == "2331-0"


def test_the_image_tag_is_taken_out_wherever_it_stands(tmp_path: Path) -> None:
    said = _said([" <image>\nWhat?", " A\n", "And <image> here?", "<image>\nYes"])
    assert _one(tmp_path, conversations=said).conversation == (Turn("What?", " A\n"), Turn("And  here?", "Yes"))


def test_without_a_picture_the_tag_is_text_like_any_other(tmp_path: Path) -> None:
    said = _said(["What does <image> do in SVG?", "It shows one."])
    path = tmp_path / "mix.json"
    path.write_text(json.dumps([{"id": "a", "conversations": said}]))
    sample = LlavaInstruct(path, tmp_path)[0]
    assert sample.conversation[0].question == "What does <image> do in SVG?"
    assert sample.media == NoPicture()


@pytest.mark.parametrize("kept", [slice(0, 3), slice(1, 4), slice(1, 5)])
def test_messages_without_a_counterpart_are_left_out(tmp_path: Path, kept: slice) -> None:
    """As in LLaVA's own training: a first one of gpt, a last one of human."""
    said = _said(["first", "reply", "second", "another", "third"])[kept]
    [turn] = _one(tmp_path, conversations=said).conversation
    assert turn == (Turn("first", "reply") if kept.start == 0 else Turn("second", "another"))


def test_what_looks_like_a_placeholder_is_text(tmp_path: Path) -> None:
    sample = _one(tmp_path, conversations=_said(["https://<region>.example", "as <region2>"]))
    assert sample.conversation == (Turn("https://< region>.example", "as < region2>"),)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"conversations": []}, "conversation: expected one turn or more, got 0"),
        ({"conversations": _said(["a"])}, "conversation: expected one turn or more, got 0"),
        (
            {"conversations": [*_said(["a", "b"]), *_said(["c", "d"])[1:]]},
            "conversations[2].from: expected 'human', got 'gpt'",
        ),
        ({"conversations": [{"from": "human"}, {}]}, "conversations[0]: missing key 'value'"),
        ({"conversations": _said(["<image>", "b"])}, "conversation[0].question: expected text, got ''"),
        ({"image": ["a.jpg"]}, "image: expected a string, got ['a.jpg']"),
        ({"id": None}, "id: expected a string, got None"),
    ],
)
def test_a_bad_record_is_named(tmp_path: Path, changes: Any, message: str) -> None:
    with pytest.raises(DataError) as error:
        _one(tmp_path, **changes)
    assert str(error.value).startswith(f"{tmp_path / 'llava_instruct_150k.json'}: [0]: {message}")


def test_the_pickle_is_an_index(tmp_path: Path) -> None:
    record = {"id": "1", "image": "1.jpg", "conversations": _said(["word " * 200, "word " * 200])}
    path = tmp_path / "mix.json"
    path.write_text(json.dumps([record] * 400))
    source = LlavaInstruct(path, tmp_path)
    assert len(source) == 400
    assert len(pickle.dumps(source)) < 400 * 40 + 2000


RECORDS = [
    {"id": "1", "image": "1.jpg", "conversations": _said(["What?\n<image>", "A bus.", "Where?", "There."])},
    {"id": 2, "model": "", "conversations": _said(["What?", "This."])},
]


@FUZZ
@given(data=damaged(RECORDS))
def test_damaged_files(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "mix.json"
    path.write_bytes(data)
    assert len(read_all(LlavaInstruct(path, tmp_path), tmp_path)) <= 3
