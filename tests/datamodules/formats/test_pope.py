"""POPE: yes or no, and which of the file's versions a number belongs to."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from damage import FUZZ, damaged, dump_jsonl, read_all
from datamodules.errors import DataError
from datamodules.formats.pope import Pope
from datamodules.media.clips import read_clip
from datamodules.types import Frames, RegionSample, Turn
from moving_squares import save_picture, squares

SHORT = "\nAnswer the question using a single word or phrase."


def write_pope(root: Path, scenes: int = 3) -> None:
    """Three question files `coco_pope_<kind>.json` and the pictures in `val2014`, six questions a picture."""
    for kind, colours in (("random", "red blue"), ("popular", "green red"), ("adversarial", "yellow white")):
        records: list[dict[str, Any]] = []
        for number in range(scenes):
            scene, name = squares(number), f"COCO_val2014_{number:012d}.jpg"
            save_picture(root / "val2014" / name, scene.frames[0])
            for colour in [*scene.colours, *colours.split(), "black"]:
                label = "yes" if colour in scene.colours else "no"
                text = f"Is there a {colour} square in the {'imange' if number == 1 else 'image'}?"
                records.append({"question_id": len(records) + 1, "image": name, "text": text, "label": label})
        (root / f"coco_pope_{kind}.json").write_bytes(dump_jsonl(records))


@pytest.mark.parametrize("kind", ["random", "popular", "adversarial"])
def test_questions_and_pictures_belong_together(tmp_path: Path, kind: str) -> None:
    write_pope(tmp_path)
    source = Pope(tmp_path / f"coco_pope_{kind}.json", tmp_path / "val2014")
    samples = read_all(source, tmp_path)
    assert len(samples) == 18
    assert [sample.id for sample in samples] == [str(number) for number in range(1, 19)]
    assert {(s.task, s.group, s.protocol, s.regions) for s in samples} == {
        ("yes_no", kind, f"POPE {kind}, 18 questions", ())
    }
    for number, sample in enumerate(samples):
        colour = sample.conversation[0].question.split()[3]
        shown = squares(number // 6)
        assert sample.conversation[0].answer == ("yes" if colour in shown.colours else "no")
        assert abs(read_clip(sample.media, 1, []).pixels[0].astype(int) - shown.frames[0]).max() < 40


def _one(folder: Path, file: str = "pope.json", *, record: Any = None, **options: Any) -> RegionSample:
    record = {"question_id": 0, "image": "a.jpg", "text": "Is there a dog in the imange?", "label": "no"} | (
        record or {}
    )
    (folder / file).write_text(json.dumps(record))
    return Pope(folder / file, Path("/images"), **options)[0]


def test_a_question_by_hand(tmp_path: Path) -> None:
    assert _one(tmp_path, "coco_pope_popular.json") == RegionSample(
        id="0",
        media=Frames((Path("/images/a.jpg"),)),
        regions=(),
        conversation=(Turn("Is there a dog in the imange?" + SHORT, "no"),),
        task="yes_no",
        group="popular",
        protocol="POPE popular, 1 questions",
        origin=f"{tmp_path / 'coco_pope_popular.json'}:1",
    )


def test_the_request_for_one_word_is_an_option_and_named(tmp_path: Path) -> None:
    bare, other = _one(tmp_path, suffix=""), _one(tmp_path, suffix=" Yes or no?")
    assert bare.conversation[0].question == "Is there a dog in the imange?"
    assert bare.protocol == "POPE pope, 1 questions, no suffix"
    assert other.conversation[0].question == "Is there a dog in the imange? Yes or no?"
    assert other.protocol == "POPE pope, 1 questions, suffix ' Yes or no?'"


def test_the_kind_comes_from_the_name_or_by_hand(tmp_path: Path) -> None:
    assert _one(tmp_path, "coco_pope_random_2910.json").group == "random"
    assert _one(tmp_path, "questions.json").group == "questions"
    assert _one(tmp_path, "coco_pope_random.json", name="A-OKVQA random").group == "A-OKVQA random"


def test_the_files_of_other_pictures(tmp_path: Path) -> None:
    """A-OKVQA and GQA are one array each; their numbers were called those of COCO."""
    assert _one(tmp_path, "aokvqa_pope_seem_random.json").protocol == "POPE A-OKVQA random, 1 questions"
    assert _one(tmp_path, "gqa_pope_seem_adversarial.json").group == "GQA adversarial"
    for folder, taken_out in (("coco/train2017", False), ("images", True)):
        save_picture(tmp_path / folder / "000000046207.jpg", squares(taken_out).frames[0])
    records = [
        {"image_id": 46207, "image_name": f"/{folder}/000000046207.jpg", "query": "Is there a dog?", "label": label}
        for folder, label in (("images", "No"), ("coco/train2017", "Yes"))
    ]
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(records, indent=4))
    samples = read_all(Pope(path, tmp_path, name="POPEv2"), tmp_path)
    assert [(sample.id, sample.conversation[0]) for sample in samples] == [
        ("1", Turn("Is there a dog?" + SHORT, "no")),
        ("2", Turn("Is there a dog?" + SHORT, "yes")),
    ]
    for sample, taken_out in zip(samples, (True, False), strict=True):
        shown = read_clip(sample.media, 1, []).pixels[0].astype(int)
        assert abs(shown - squares(taken_out).frames[0]).max() < 40


@pytest.mark.parametrize("label", ["Yes", "YES", " yes\n"])
def test_labels_of_any_case(tmp_path: Path, label: str) -> None:
    record = {"label": label, "image_id": 310196, "category": "random"}
    assert _one(tmp_path, record=record).conversation[0].answer == "yes"


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"label": "maybe"}, "label: expected yes or no, got 'maybe'"),
        ({"label": True}, "label: expected a string, got True"),
        ({"question_id": "0"}, "question_id: expected an integer, got '0'"),
        ({"image": ""}, "image: expected text, got ''"),
        ({"text": "Is <region> a dog?"}, "conversation[0].question: <region> has no region, there are 0, counted fr"),
    ],
)
def test_a_bad_record_is_named(tmp_path: Path, record: Any, message: str) -> None:
    with pytest.raises(DataError) as error:
        _one(tmp_path, record=record)
    assert str(error.value).startswith(f"{tmp_path / 'pope.json'}:1: {message}")


RECORDS = [
    {"question_id": number, "image": "a.jpg", "text": "Is there a dog in the image?", "label": label}
    for number, label in enumerate(("yes", "no", "Yes"))
]


@FUZZ
@given(data=damaged(RECORDS, dump_jsonl))
def test_damaged_files(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "coco_pope_random.json"
    path.write_bytes(data)
    assert len(read_all(Pope(path, tmp_path), tmp_path)) <= 4


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("file", "kind", "labels", "misspelt"),
    [
        ("coco_pope_random.json", "random", {"yes": 1500, "no": 1500}, 0),
        ("coco_pope_random_2910_e3e3926.json", "random", {"yes": 1500, "no": 1410}, 144),
        ("coco_pope_popular.json", "popular", {"yes": 1500, "no": 1500}, 0),
    ],
)
def test_the_published_versions(real_data: Path, file: str, kind: str, labels: dict[str, int], misspelt: int) -> None:
    path = real_data / "pope" / file
    source = Pope(path, Path("val2014"))
    samples = read_all(source, path.parent)
    assert len(samples) == len(source) == len({sample.id for sample in samples}) == sum(labels.values())
    assert Counter(sample.conversation[0].answer for sample in samples) == labels
    assert sum("imange" in sample.conversation[0].question for sample in samples) == misspelt
    assert len({sample.media for sample in samples}) == 500
    assert {sample.protocol for sample in samples} == {f"POPE {kind}, {len(samples)} questions"}
