"""Causal-VidQA: six questions a video, tags in brackets, and the regions a user may have for them."""

from __future__ import annotations

import copy
import json
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from damage import FUZZ, JUNK, damaged, dump_json, read_all
from datamodules.errors import DataError
from datamodules.formats.causal_vidqa import CausalVidQa
from datamodules.types import Box, Mask, Video
from moving_squares import Squares, assert_on_pixels, save_video, squares

TAGS = ("person_1", "person_2", "sports_car_1")  # of the three squares, in their order
VIDEOS = {
    "valid": ("-3lGH_9Rieg_000001_000011", "I3lGH_9Rieg_000001_000011", "zzzzzz9Rieg_000090_000100"),
    "train": ("trainn9Rieg_000001_000011",),
    "test": ("testtt9Rieg_000001_000011",),
}
PARTS = ("d", "e", "p", "pr", "c", "cr")
FRAMES = [*range(9), *reversed(range(9))] * 2  # of the scene, for each frame of the video: more than there are maps
MENTIONED = {"d": (0,), "e": (1, 0), "p": (2, 1), "pr": (2, 0), "c": (0, 1, 2), "cr": (0,)}


def write_causal_vidqa(root: Path, maps: str = "ends") -> None:
    """All three splits with videos, and the same regions twice: `id_masks/<vid>.npz` and `regions.json`.

    Args:
        root: Empty folder.
        maps: Where in the video the 16 label maps are taken: its "ends" included, or "centres" of equal parts.
    """
    regions = {}
    for split, videos in VIDEOS.items():
        for number, video in enumerate(videos):
            scene = squares(number)
            save_video(root / "videos" / f"{video}.mp4", scene.frames[FRAMES])
            _write_questions(root / "data" / "QA" / video, scene.colours, number, split == "test")
            _write_maps(root / "id_masks" / f"{video}.npz", scene, maps)
            regions[video] = {tag: _boxes(scene, square) for square, tag in enumerate(TAGS)}
        (root / "data" / "split").mkdir(exist_ok=True)
        (root / "data" / "split" / f"{split}.pkl").write_bytes(pickle.dumps(list(videos)))
    (root / "regions.json").write_text(json.dumps(regions))


def _write_questions(folder: Path, colours: tuple[str, ...], number: int, hidden: bool) -> None:
    text: dict[str, Any] = {
        "descriptive": {
            "question": "What is [person_1]?",
            "answer": [f"a {colour} square" for colour in (*colours, "grey", "black")],
        },
        "explanatory": {
            "question": "Why does [person_2] stand where it is?",
            "answer": [f"because of reason {option}" for option in range(4)] + ["because [person_1] is there"],
        },
        "predictive": {
            "question": "Where will [sports_car_1] go?",
            "answer": ["away", "towards [person_2]", "left", "right", "nowhere"],
            "reason": ["it moves", "it stands", "[person_1] moves", "it is bright", "it is dark"],
        },
        "counterfactual": {
            "question": "What if [person_1] were gone?",
            "answer": ["nothing", "[person_2] would meet [sports_car_1]", "it would be dark", "left", "right"],
            "reason": ["it is alone", "it is not alone", "it is small", "it is big", "[person_1] moves"],
        },
    }
    answer = {
        kind: {key: -1 if hidden else (number + place) % 5 for place, key in enumerate(content) if key != "question"}
        for kind, content in text.items()
    }
    folder.mkdir(parents=True)
    (folder / "text.json").write_text(json.dumps(text))
    (folder / "answer.json").write_text(json.dumps(answer))


def _write_maps(path: Path, scene: Squares, places: str) -> None:
    path.parent.mkdir(exist_ok=True)
    frames = [round(35 * i / 15) if places == "ends" else int(36 * (2 * i + 1) / 32) for i in range(16)]
    arrays: dict[str, Any] = {
        f"f{place}": sum((square + 1) * scene.masks[square, FRAMES[frame]] for square in range(3)).astype(np.uint8)
        for place, frame in enumerate(frames)
    }
    labels = {str(square + 1): tag for square, tag in enumerate(TAGS)}
    np.savez_compressed(path, metadata_json=np.array(json.dumps({"id_to_label": labels})), **arrays)


def _boxes(scene: Squares, square: int) -> dict[str, Any]:
    boxes = {}
    for frame in range(0, 36, 3):
        box = scene.box(square, FRAMES[frame])
        # the first square by its mask: both ways are ours
        there = scene.rle(square, FRAMES[frame]) if square == 0 and box else {"box": list(box or ())}
        boxes[str(frame)] = there if box else None
    return boxes


def _source(root: Path, split: Any = "valid", **options: Any) -> CausalVidQa:
    if options.get("geometry") == "label_maps":
        options = {"regions": root / "id_masks", **options}
    if options.get("geometry") == "json":
        options = {"regions": root / "regions.json", **options}
    return CausalVidQa(root, split, **options)


def _change(path: Path, *keys: str, value: Any) -> None:
    document = json.loads(path.read_text())
    place = document
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    path.write_text(json.dumps(document))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("causal_vidqa")
    write_causal_vidqa(root)
    return root


@pytest.mark.parametrize(("geometry", "compared"), [("label_maps", 16), ("json", 12)])
def test_regions_lie_on_their_squares(written: Path, geometry: str, compared: int) -> None:
    source = _source(written, geometry=geometry)
    assert len(source) == 18
    for index in range(18):
        sample = source[index]
        squares_of = MENTIONED[sample.meta["part"]]
        colours = [squares(index // 6).colours[square] for square in squares_of]
        assert assert_on_pixels(sample, colours) == compared * len(colours)
        assert [region.category for region in sample.regions] == [
            ("person", "person", "sports car")[square] for square in squares_of
        ]


def test_maps_of_the_centres_of_equal_parts(tmp_path: Path) -> None:
    write_causal_vidqa(tmp_path, "centres")
    source = _source(tmp_path, geometry="label_maps", map_frames="centres")
    for number in range(3):
        assert assert_on_pixels(source[6 * number + 4], squares(number).colours) == 16 * 3
    mistaken = _source(tmp_path, geometry="label_maps")[0]
    with pytest.raises(AssertionError, match="red on frame"):
        assert_on_pixels(mistaken, ["red"])


def test_six_questions_a_video_in_order(written: Path) -> None:
    source = _source(written)
    samples = [source[index] for index in range(len(source))]
    assert [sample.id for sample in samples] == [f"{video}_{part}" for video in VIDEOS["valid"] for part in PARTS]
    assert [sample.meta for sample in samples[:2]] == [
        {"video": VIDEOS["valid"][0], "part": part} for part in ("d", "e")
    ]
    assert [sample.label for sample in samples] == [(number + p) % 5 for number in range(3) for p in (1, 1, 1, 2, 1, 2)]
    assert {sample.task for sample in samples} == {"choice"}
    assert samples[0].media == Video(written / "videos" / f"{VIDEOS['valid'][0]}.mp4")
    assert samples[0].protocol == "Causal-VidQA valid, no regions"


def test_the_reason_question_repeats_the_question_and_hides_the_answer(written: Path) -> None:
    answer, reason = _source(written)[2], _source(written)[3]
    assert answer.conversation[0].question == reason.conversation[0].question == "Where will sports_car_1 go?"
    assert answer.conversation[0].answer == "towards person_2"
    assert reason.conversation[0].answer == "person_1 moves"


def test_tags_without_geometry_are_their_label(written: Path) -> None:
    sample = _source(written)[1]
    assert sample.regions == ()
    assert sample.conversation[0].question == "Why does person_2 stand where it is?"
    assert sample.options[4] == "because person_1 is there"


def test_tags_with_geometry_are_category_and_region(written: Path) -> None:
    sample = _source(written, geometry="json")[4]
    assert sample.conversation[0].question == "What if person <region0> were gone?"
    assert sample.options[1] == "person <region1> would meet sports car <region2>"
    assert sample.protocol == "Causal-VidQA valid, regions from json, mask and box"


def test_the_first_frame_that_shows_it_is_prompted(written: Path, tmp_path: Path) -> None:
    tracks = {"person_1": {"12": {"box": [1, 2, 3, 4]}, "4": {"box": [0, 0, 2, 2]}, "0": None}}
    (tmp_path / "regions.json").write_text(json.dumps({VIDEOS["valid"][0]: tracks}))
    [region] = _source(written, geometry="json", regions=tmp_path / "regions.json")[0].regions
    assert region.prompts == {4: Box((0, 0, 2, 2))}
    assert region.track == {0: None, **region.prompts, 12: Box((1, 2, 3, 4))}


def test_a_folder_of_json_files_says_the_same(written: Path, tmp_path: Path) -> None:
    for video, tracks in json.loads((written / "regions.json").read_text()).items():
        (tmp_path / f"{video}.json").write_text(json.dumps(tracks))
    one, many = _source(written, geometry="json"), _source(written, geometry="json", regions=tmp_path)
    assert [one[index] for index in range(18)] == [many[index] for index in range(18)]


def test_answers_of_the_test_split_are_not_known(written: Path) -> None:
    sample = _source(written, "test")[0]
    assert (sample.label, sample.conversation[0].answer, len(sample.options)) == (None, "", 5)


def test_by_letter(written: Path) -> None:
    sample = _source(written, answering="letter")[0]
    assert sample.conversation[0].question.startswith("What is person_1?\nA. a red square\nB. a green square\n")
    assert (sample.conversation[0].answer, sample.answering) == ("B", "letter")


def test_a_tag_that_has_no_region(written: Path, tmp_path: Path) -> None:
    tracks = {"person_1": {"0": {"box": [0, 0, 2, 2]}}, "person_2": {"0": None}}
    (tmp_path / f"{VIDEOS['valid'][0]}.json").write_text(json.dumps(tracks))
    strict = _source(written, geometry="json", regions=tmp_path)
    with pytest.raises(DataError, match=r"\[0\]: \[person_2\] is shown on no frame in .*0011\.json"):
        strict[1]
    with pytest.raises(DataError, match="No such file"):
        strict[6]
    lenient = _source(written, geometry="json", regions=tmp_path, missing="text")
    assert lenient[1].conversation[0].question == "Why does person_2 stand where it is?"
    assert lenient[1].options[4] == "because person <region0> is there"
    assert lenient[1].meta["without_region"] == ["person_2"]
    assert lenient[6].meta["without_region"] == ["person_1"]
    assert lenient[0].meta["without_region"] == []
    assert lenient[0].protocol == "Causal-VidQA valid, regions from json, box, tags without one as text"


@pytest.mark.parametrize("geometry", ["label_maps", "json"])
def test_regions_that_are_nowhere_are_not_taken_for_missing_ones(written: Path, geometry: str) -> None:
    source = _source(written, geometry=geometry, regions=written / "mistyped", missing="text")
    with pytest.raises(DataError, match="mistyped"):
        source[0]


def test_regions_need_a_place_and_none_has_none(written: Path) -> None:
    with pytest.raises(DataError, match="regions: not given, but geometry is 'json'"):
        CausalVidQa(written, "valid", geometry="json")
    with pytest.raises(DataError, match="regions: given, but geometry is 'none'"):
        CausalVidQa(written, "valid", regions=written)


def test_a_pickle_that_calls_is_refused_by_name(written: Path, tmp_path: Path) -> None:
    (tmp_path / "data" / "split").mkdir(parents=True)
    (tmp_path / "data" / "split" / "valid.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(DataError, match=r"valid\.pkl: the pickle would call os\.system"):
        len(_source(tmp_path))


@pytest.mark.parametrize(
    ("file", "keys", "value", "message"),
    [
        ("text.json", ("predictive", "reason"), ["a"], "predictive.reason: expected 5 elements, got ['a']"),
        ("text.json", ("predictive", "question"), " ", "predictive.question: expected text, got ' '"),
        ("text.json", ("predictive",), {}, "predictive: missing key 'question'"),
        ("answer.json", ("predictive", "reason"), 5, "predictive.reason: 5 of 5 options, counted from 0"),
        ("answer.json", ("predictive", "reason"), -1, "predictive.reason: -1, but only the test split hides answers"),
        ("answer.json", ("predictive",), {}, "predictive: missing key 'reason'"),
    ],
)
def test_what_is_wrong_with_a_record_is_said(
    tmp_path: Path, file: str, keys: tuple[str, ...], value: Any, message: str
) -> None:
    write_causal_vidqa(tmp_path)
    folder = tmp_path / "data" / "QA" / VIDEOS["valid"][0]
    _change(folder / file, *keys, value=value)
    source = _source(tmp_path)
    with pytest.raises(DataError) as error:
        source[3]
    assert str(error.value) == f"{tmp_path}/data/split/valid.pkl: [0]: {folder / file}: {message}"
    assert source[0].id == f"{VIDEOS['valid'][0]}_d"


def test_questions_about_one_source_video_share_it(written: Path) -> None:
    source = _source(written)
    assert [source[index].cluster for index in (0, 5, 6)] == ["YouTube -3lGH_9Rieg"] * 2 + ["YouTube I3lGH_9Rieg"]


def test_a_video_without_questions_is_its_own_error(tmp_path: Path) -> None:
    write_causal_vidqa(tmp_path)
    (tmp_path / "data" / "split" / "valid.pkl").write_bytes(pickle.dumps(["gone", 7, VIDEOS["valid"][0]]))
    source = _source(tmp_path)
    assert len(source) == 18
    assert source[12].id == f"{VIDEOS['valid'][0]}_d"
    with pytest.raises(DataError, match=r"valid\.pkl: \[0\]: .*gone/text\.json: No such file"):
        source[0]
    with pytest.raises(DataError, match=r"valid\.pkl: \[1\]: video: expected a string, got 7"):
        source[6]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"f7": None}, "missing key 'f7'"),
        ({"f7": np.zeros((3, 4, 5), np.uint8)}, "f7: uint8 (3, 4, 5), expected whole numbers (height, width)"),
        ({"f7": np.zeros((3, 4))}, "f7: float64 (3, 4), expected whole numbers (height, width)"),
        ({"metadata_json": None}, "missing key 'metadata_json'"),
        ({"metadata_json": np.zeros(3)}, "metadata_json: float64 (3,), expected one text"),
        ({"metadata_json": np.array("{")}, "metadata_json: not JSON: Expecting property name"),
        ({"metadata_json": np.array("{}")}, "metadata_json: missing key 'id_to_label'"),
        ({"metadata_json": np.array('{"id_to_label": {"x": "a"}}')}, "metadata_json: id_to_label: 'x' is not a number"),
        (
            {"metadata_json": np.array('{"id_to_label": {"1": "a", "2": "a"}}')},
            "metadata_json: id_to_label: 'a' stands twice",
        ),
    ],
)
def test_what_is_wrong_with_label_maps_is_said(
    written: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    name = f"{VIDEOS['valid'][0]}.npz"
    with np.load(written / "id_masks" / name) as archive:
        arrays = {**archive, **change}
    np.savez(tmp_path / name, **{key: value for key, value in arrays.items() if value is not None})
    with pytest.raises(DataError, match=re.escape(f"{tmp_path / name}: {message}")):
        _source(written, geometry="label_maps", regions=tmp_path)[0]


def test_a_video_shorter_than_its_maps(tmp_path: Path) -> None:
    write_causal_vidqa(tmp_path)
    save_video(tmp_path / "videos" / f"{VIDEOS['valid'][0]}.mp4", squares(0).frames)
    with pytest.raises(DataError, match="16 label maps of a video of 9 frames"):
        _source(tmp_path, geometry="label_maps")[0]


def test_labels_as_bytes(written: Path, tmp_path: Path) -> None:
    name = f"{VIDEOS['valid'][0]}.npz"
    with np.load(written / "id_masks" / name) as archive:
        arrays = dict(archive)
    arrays["metadata_json"] = np.array(str(arrays["metadata_json"]).encode())
    np.savez(tmp_path / name, **arrays)
    expected = _source(written, geometry="label_maps")[0].regions
    assert _source(written, geometry="label_maps", regions=tmp_path)[0].regions == expected
    assert isinstance(expected[0].prompts[0], Mask)


def test_nothing_is_opened_before_use_and_the_pickle_is_small(written: Path) -> None:
    CausalVidQa(Path("not there"), "train")
    source = _source(written, geometry="json")
    sample = source[0]
    pickled = pickle.dumps(source)
    assert len(pickled) < 3000
    assert pickle.loads(pickled)[0] == sample


# --- damage ---------------------------------------------------------------------------------------------------------


def _small(root: Path, file: str | None = None, data: bytes = b"") -> None:
    """One video's annotations, one file of it damaged."""
    video = VIDEOS["valid"][0]
    for name, document in DOCUMENTS.items():
        path = root / name.format(video)
        path.parent.mkdir(parents=True, exist_ok=True)
        dump = pickle.dumps if path.suffix == ".pkl" else dump_json
        path.write_bytes(data if name == file else dump(document))


def _documents() -> dict[str, Any]:
    tagged = {"question": "Why [person_1]?", "answer": ["[person_2]", "b", "c", "d", "e"], "reason": list("abcde")}
    text = {kind: copy.deepcopy(tagged) for kind in ("descriptive", "explanatory", "predictive", "counterfactual")}
    answer = {kind: {"answer": 1, "reason": 2} for kind in text}
    track = {"0": {"box": [0, 0, 2, 2]}, "3": None, "6": {"size": [4, 6], "counts": [3, 2, 19]}}
    return {
        "data/split/valid.pkl": [VIDEOS["valid"][0]],
        "data/QA/{}/text.json": text,
        "data/QA/{}/answer.json": answer,
        "regions.json": {VIDEOS["valid"][0]: {"person_1": track, "person_2": track}},
    }


DOCUMENTS = _documents()


def test_the_undamaged_documents_are_read(tmp_path: Path) -> None:
    _small(tmp_path)
    assert len(read_all(_source(tmp_path, geometry="json"), tmp_path)) == 6


@FUZZ
@given(data=st.data())
def test_damaged_documents_are_read_or_one_error_each(tmp_path: Path, data: st.DataObject) -> None:
    file = data.draw(st.sampled_from(sorted(DOCUMENTS)))
    dump = pickle.dumps if file.endswith(".pkl") else dump_json
    _small(tmp_path, file, data.draw(damaged(DOCUMENTS[file], dump)))
    read_all(_source(tmp_path, geometry="json"), tmp_path)


@FUZZ
@given(data=st.data())
def test_damaged_label_maps_are_read_or_one_error_each(written: Path, tmp_path: Path, data: st.DataObject) -> None:
    name = f"{VIDEOS['valid'][0]}.npz"
    content = bytearray((written / "id_masks" / name).read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[place] = data.draw(st.integers(0, 255))
    else:
        del content[place:]
    (tmp_path / name).write_bytes(content)
    source = _source(written, geometry="label_maps", regions=tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(source), "__len__", lambda _: 2)
        read_all(source, tmp_path)


@FUZZ
@given(labels=st.sampled_from(JUNK), whole=st.booleans())
def test_junk_for_labels_is_read_or_one_error(
    written: Path, tmp_path: Path, labels: Any, whole: bool, maps: dict[str, Any]
) -> None:
    path = tmp_path / f"{VIDEOS['valid'][0]}.npz"
    document = labels if whole else {"id_to_label": labels}
    np.savez(path, **{**maps, "metadata_json": np.array(json.dumps(document))})
    with pytest.raises(DataError, match=str(path)):
        _source(written, geometry="label_maps", regions=tmp_path)[0]


@pytest.fixture
def maps(written: Path) -> dict[str, Any]:
    with np.load(written / "id_masks" / f"{VIDEOS['valid'][0]}.npz") as archive:
        return dict(archive)
