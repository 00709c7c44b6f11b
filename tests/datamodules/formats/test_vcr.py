"""VCR: token lists that point at objects, pair polygons, and two choices a question."""

import copy
import json
import pickle
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given

from damage import FUZZ, damaged, dump_jsonl, read_all
from datamodules.errors import DataError
from datamodules.formats.vcr import Vcr
from datamodules.reading.json_index import Named
from datamodules.types import Box, Frames, Polygon, RegionSample
from moving_squares import HEIGHT, WIDTH, Squares, assert_on_pixels, save_picture, squares

# --- the data set, written ----------------------------------------------------------------------------------------


def write_vcr(root: Path, scenes: int = 3) -> None:
    """VCR's three splits below `root`, two questions about each scene; the test split has no labels."""
    for first, split in enumerate(("train", "val", "test")):
        records = []
        for number in range(scenes):
            scene = squares(first + number)
            folder, clip = f"lsmdc_{split}_FILM", f"FILM_00.0{number}.01.000-00.0{number}.02.500@{number}"
            save_picture(root / "vcr1images" / folder / f"{clip}.jpg", scene.frames[0])
            _write_metadata(root / "vcr1images" / folder / f"{clip}.json", scene, number)
            for question in range(2):
                record = _record(scene, question, f"{split}-{2 * number + question}", f"{folder}/{clip}")
                if split == "test":
                    del record["answer_label"], record["rationale_label"]
                records.append(record)
        (root / f"{split}.jsonl").write_bytes(dump_jsonl(records))


def _write_metadata(path: Path, scene: Squares, number: int) -> None:
    boxes = [[*map(float, scene.box(square) or ()), 0.9 + square / 100] for square in range(3)]
    segms: list[Any] = [[[list(point) for point in scene.ring(square)]] for square in range(3)]
    segms[number % 3] = [[[0, 0], [3, 0], [0, 3]]] if number % 2 else []  # nothing that is a shape: the box counts
    metadata = {"boxes": boxes, "segms": segms, "names": ["person", "person", "car"], "width": WIDTH, "height": HEIGHT}
    path.write_text(json.dumps(metadata))


def _record(scene: Squares, question: int, name: str, clip: str) -> dict[str, Any]:
    questions: list[Any] = [["Is", [2], "red", "?"], ["Is", "it", "everyone", "'", "s", "car", "?"]]
    answers: list[Any] = [[[square], "is", "a", scene.colours[square], "square", "."] for square in (1, 0, 2)]
    answers.append(["No", "."])
    rationales = [[[0, 1], "are", "squares", "."], ["It", "is", "."], ["Maybe", "."], [[1], "is", "left", "."]]
    return {
        "movie": "FILM",
        "objects": ["person", "person", "car"],
        "interesting_scores": [0],
        "answer_likelihood": "likely",
        "img_fn": f"{clip}.jpg",
        "metadata_fn": f"{clip}.json",
        "answer_orig": "1 is a square.",
        "question_orig": "Is 3 red?",
        "rationale_orig": "2 is left.",
        "question": questions[question],
        "answer_match_iter": [1, 0, 2, 3],
        "answer_sources": [4, 3, 2, 1],
        "answer_choices": answers,
        "answer_label": 1,
        "rationale_choices": rationales,
        "rationale_sources": [4, 3, 2, 1],
        "rationale_match_iter": [1, 0, 2, 3],
        "rationale_label": 3,
        "img_id": name,
        "question_number": question,
        "annot_id": name,
        "match_fold": "val-0",
        "match_index": question,
    }


# --- read back ----------------------------------------------------------------------------------------------------


def test_questions_and_stills_of_one_clip_share_it(tmp_path: Path) -> None:
    write_vcr(tmp_path)
    source = Vcr(tmp_path, "val")
    clips = ["VCR lsmdc_val_FILM/FILM_00.00.01.000-00.00.02.500", "VCR lsmdc_val_FILM/FILM_00.01.01.000-00.01.02.500"]
    assert [source[index].cluster for index in range(8)] == [clips[0]] * 4 + [clips[1]] * 4
    still = "lsmdc_val_FILM/FILM_00.00.01.000-00.00.02.500@7.jpg"
    record = json.loads((tmp_path / "val.jsonl").read_text().splitlines()[0]) | {"img_fn": still}
    assert source.sample(Named(0, record), 0).cluster == clips[0]


@pytest.mark.parametrize("prompt", ["mask", "box"])
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_regions_land_on_their_squares(
    tmp_path: Path, split: Literal["train", "val", "test"], prompt: Literal["mask", "box"]
) -> None:
    write_vcr(tmp_path)
    source = Vcr(tmp_path, split, prompt=prompt)
    # objects in the order of their first mention: question, (true answer,) options
    orders = {
        ("answer", 0): (2, 1, 0),
        ("answer", 1): (0, 1, 2),
        ("rationale", 0): (2, 0, 1),
        ("rationale", 1): (0, 1),
    }
    compared = 0
    for sample in read_all(source, tmp_path):
        number = int(str(sample.meta["annot_id"]).split("-")[1])
        scene = squares(["train", "val", "test"].index(split) + number // 2)
        order = orders[str(sample.meta["part"]), number % 2]
        compared += assert_on_pixels(sample, [scene.colours[square] for square in order])
        if prompt == "mask":
            boxes = [isinstance(region.prompts[0], Box) for region in sample.regions]
            assert boxes == [square == number // 2 % 3 for square in order]
        known = [isinstance(region.track[0], Polygon) for region in sample.regions]
        assert known == [square != number // 2 % 3 for square in order], "whatever is pointed with"
    assert compared == (18 if split == "test" else 18 + 15)


def test_a_question_by_hand(tmp_path: Path) -> None:
    write_vcr(tmp_path)
    scene, sample = squares(1), Vcr(tmp_path, "val")[0]
    assert sample.id == "val-0-answer"
    assert sample.meta == {"annot_id": "val-0", "part": "answer"}
    assert (sample.task, sample.label, sample.group) == ("choice", 1, "")
    assert sample.protocol == "VCR val, box in place of a mask, category names"
    assert sample.origin == f"{tmp_path / 'val.jsonl'}:1"
    assert sample.conversation[0].question == "Is car <region0> red?"
    assert sample.options == (
        f"person <region1> is a {scene.colours[1]} square.",
        f"person <region2> is a {scene.colours[0]} square.",
        f"car <region0> is a {scene.colours[2]} square.",
        "No.",
    )
    assert sample.conversation[0].answer == sample.options[1]
    assert [region.category for region in sample.regions] == ["car", "person", "person"]
    assert isinstance(sample.media, Frames)
    assert sample.media.paths[0].is_file()


def test_the_rationale_follows_from_the_true_answer(tmp_path: Path) -> None:
    write_vcr(tmp_path)
    sample = Vcr(tmp_path, "val", category_names=False)[1]
    assert sample.id == "val-0-rationale"
    assert sample.conversation[0].question == (
        "I give you a question and its answer, I need you to provide a rationale explaining why the answer is right. "
        f'"Is <region0> red?" The answer is "<region1> is a {squares(1).colours[0]} square.".'
        "What is the rationale for this decision?"
    )
    assert sample.options[0] == "<region1> and <region2> are squares."
    assert (sample.label, sample.conversation[0].answer) == (3, "<region2> is left.")
    assert sample.protocol == "VCR val, box in place of a mask, no category names"


def test_parts_and_their_order(tmp_path: Path) -> None:
    write_vcr(tmp_path, scenes=1)
    ids = {
        part: [sample.id for sample in read_all(Vcr(tmp_path, "val", part=part), tmp_path)]
        for part in ("both", "answer", "rationale")
    }
    assert ids["both"] == ["val-0-answer", "val-0-rationale", "val-1-answer", "val-1-rationale"]
    assert ids["answer"] == ids["both"][::2]
    assert ids["rationale"] == ids["both"][1::2]


def test_the_test_split_has_answers_without_label_only(tmp_path: Path) -> None:
    write_vcr(tmp_path, scenes=2)
    samples = read_all(Vcr(tmp_path, "test", answering="letter"), tmp_path)
    assert [sample.id for sample in samples] == [f"test-{number}-answer" for number in range(4)]
    assert {(sample.label, sample.conversation[0].answer) for sample in samples} == {(None, "")}
    with pytest.raises(DataError, match="split 'test' tells no true answer, so part 'rationale' cannot be asked"):
        Vcr(tmp_path, "test", part="rationale")


def test_letters_are_asked_for_as_peers_do(tmp_path: Path) -> None:
    write_vcr(tmp_path)
    colours = squares(1).colours
    answer, rationale = (Vcr(tmp_path, "val", answering="letter")[index].conversation[0] for index in (0, 1))
    assert answer.question == (
        "Is car <region0> red?\n"
        f"A. person <region1> is a {colours[1]} square.\nB. person <region2> is a {colours[0]} square.\n"
        f"C. car <region0> is a {colours[2]} square.\nD. No.\n"
        "Answer with the option's letter from the given choices directly."
    )
    assert answer.answer == "B"
    assert "What is the rationale for this decision?\nA. person <region1> and person <region2>" in rationale.question
    assert rationale.answer == "D"


# --- quirks -------------------------------------------------------------------------------------------------------


def _one(folder: Path, **changes: Any) -> RegionSample:
    write_vcr(folder, scenes=1)
    path = folder / "val.jsonl"
    record = json.loads(path.read_text().splitlines()[0]) | changes
    path.write_text("\ufeff" + json.dumps(record) + "\r\n", encoding="utf-8")
    return Vcr(folder, "val", part="answer")[0]


NOBODY = [["Yes", "."], ["No", "."], ["Maybe", "."], ["So", "."]]


def test_all_persons_where_nothing_is_mentioned(tmp_path: Path) -> None:
    sample = _one(tmp_path, question=["Why", "?"], answer_choices=NOBODY)
    assert [region.category for region in sample.regions] == ["person", "person"]
    assert _one(tmp_path, question=["Why", "?"], answer_choices=NOBODY, objects=["car"] * 3).regions == ()


@pytest.mark.parametrize("word", ["everyone", "Everyone", "everyones"])
def test_everyone_is_every_person_and_stays_a_word(tmp_path: Path, word: str) -> None:
    objects = ["person", "car", "person"]
    sample = _one(tmp_path, question=[[2], "and", word, "?"], answer_choices=NOBODY, objects=objects)
    assert sample.conversation[0].question == f"person <region0> and {word}?"
    assert_on_pixels(sample, [squares(1).colours[square] for square in (2, 0)])


def test_one_region_has_its_number(tmp_path: Path) -> None:
    sample = _one(tmp_path, question=["Is", [1], "left", "?"], answer_choices=NOBODY)
    assert sample.conversation[0].question == "Is person <region0> left?"
    assert len(sample.regions) == 1


def test_boxes_are_clipped_and_polygons_below_four_points_are_passed_over(tmp_path: Path) -> None:
    write_vcr(tmp_path, scenes=1)
    [path] = (tmp_path / "vcr1images" / "lsmdc_val_FILM").glob("*.json")
    metadata = json.loads(path.read_text())
    metadata["boxes"][2] = [-0.5, 3, 60.25, 40.5, 0.99]
    metadata["segms"][1] = [[[1, 2], [3, 2], [3, 4]], [[5, 6], [9, 6], [9, 8], [5, 8]], []]
    path.write_text(json.dumps(metadata))
    boxed, masked = (Vcr(tmp_path, "val", prompt=prompt)[0] for prompt in ("box", "mask"))
    assert boxed.regions[0].prompts[0] == Box((0.0, 3.0, WIDTH, HEIGHT))
    assert masked.regions[1].prompts[0] == Polygon(((5.0, 6.0, 9.0, 6.0, 9.0, 8.0, 5.0, 8.0),))


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        (["No", ",", "it", "is", "n't", "."], "No, it isn't."),
        ([[0], "'", "s", "hat", "is", [1], "'s", "."], "person <region0>'s hat is person <region1>'s."),
        (["they", "'", "re", "hats", "of", "the", "girls", "'", "."], "they're hats of the girls'."),
        (["He", "said", '"', "Stop", "!", '"', "(", "twice", ")", "."], 'He said "Stop!" (twice).'),
        (["a", "t", "-", "shirt", "for", "$", "5", ";", "ok"], "a t-shirt for $5; ok"),
        (["100", "%", "sure", ".", ".", "."], "100% sure..."),
        ([[0, 1, 2], "sit"], "person <region0>, person <region1> and car <region2> sit"),
        (["", " ", "two", "words ", " here"], "two words here"),
        (["3", "men", "and", "1"], "3 men and 1"),
    ],
)
def test_tokens_read_as_a_sentence(tmp_path: Path, tokens: list[Any], text: str) -> None:
    assert _one(tmp_path, question=tokens).conversation[0].question == text


def test_folders_may_be_elsewhere(tmp_path: Path) -> None:
    write_vcr(tmp_path / "a")
    (tmp_path / "a" / "vcr1images").rename(tmp_path / "pictures")
    source = Vcr(tmp_path / "nowhere", "val", images=tmp_path / "pictures", annotations=tmp_path / "a")
    assert len(read_all(source, tmp_path)) == len(source) == 12
    assert len(pickle.dumps(source)) < 2000


# --- what cannot be used ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"question": ["Is", [3], "?"]}, "question[1]: object 3 of 3, counted from 0"),
        ({"question": [[]]}, "question[0]: expected an object's number or more, got 0"),
        ({"question": ["<region0>"]}, "question[0]: a word that reads as a region, '<region0>'"),
        ({"question": [" "]}, "question: expected text, got ''"),
        ({"question": [7]}, "question[0]: expected a string, got 7"),
        ({"answer_choices": [["No"]]}, "answer_choices: expected 4 elements, got [['No']]"),
        ({"answer_label": 4}, "answer_label: 4 of 4 options, counted from 0"),
        ({"answer_label": "1"}, "answer_label: expected an integer of at least 0, got '1'"),
        ({"metadata_fn": "none.json"}, "{root}/vcr1images/none.json: No such file or directory"),
    ],
)
def test_a_bad_record_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as error:
        _one(tmp_path, **changes)
    assert str(error.value) == f"{tmp_path / 'val.jsonl'}:1: {message.replace('{root}', str(tmp_path))}"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("boxes", [[0, 0, 1, 1, 1]], "boxes: 1, the question has 3 objects"),
        ("boxes", [[0, 0, 1, 1]] * 3, "boxes[2]: expected 5 elements, got [0, 0, 1, 1]"),
        ("boxes", [[90, 0, 99, 9, 1]] * 3, "boxes[2]: box [90.0, 0.0, 99.0, 9.0] is not on the frame of width 56"),
        ("segms", [], "segms: 0, the question has 3 objects"),
        ("segms", [[[1, 2, 3, 4, 5, 6, 7, 8]]] * 3, "segms[2][0][0]: expected 2 elements, got 1"),
        ("width", 0, "width: expected an integer of at least 1, got 0"),
    ],
)
def test_bad_metadata_is_named(tmp_path: Path, key: str, value: Any, message: str) -> None:
    write_vcr(tmp_path)
    path = sorted((tmp_path / "vcr1images" / "lsmdc_val_FILM").glob("*.json"))[1]
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    source = Vcr(tmp_path, "val", prompt="mask" if key == "segms" else "box", part="answer")
    with pytest.raises(DataError) as error:
        source[2]
    assert str(error.value).startswith(f"{tmp_path / 'val.jsonl'}:3: {path}: {message}")


RECORD = _record(squares(0), 0, "val-0", "a")
METADATA = {
    "boxes": [[1.5, 2, 9, 9, 0.9]] * 3,
    "segms": [[[[1, 1], [5, 1], [5, 5], [1, 5]]], [], [[[1, 1], [5, 1]]]],
    "names": ["person", "person", "car"],
    "width": 20,
    "height": 10,
}


def _folder(path: Path) -> Vcr:
    (path / "a.json").write_text(json.dumps(METADATA))
    (path / "val.jsonl").write_bytes(dump_jsonl([RECORD]))
    return Vcr(path, "val", images=path)


@FUZZ
@given(data=damaged([RECORD, copy.deepcopy(RECORD)], dump_jsonl))
def test_damaged_records(tmp_path: Path, data: bytes) -> None:
    source = _folder(tmp_path)
    (tmp_path / "val.jsonl").write_bytes(data)
    assert len(read_all(source, tmp_path)) <= 6


@FUZZ
@given(data=damaged(METADATA))
def test_damaged_metadata(tmp_path: Path, data: bytes) -> None:
    source = _folder(tmp_path)
    (tmp_path / "a.json").write_bytes(data)
    assert len(read_all(source, tmp_path)) <= 2
