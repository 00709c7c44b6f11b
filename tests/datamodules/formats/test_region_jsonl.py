"""region_jsonl: what a record means, what is refused, and the way there and back."""

import copy
import json
import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from datamodules.errors import DataError
from datamodules.formats.region_jsonl import RegionJsonl, dump_record, parse_record
from datamodules.types import Box, Frames, Mask, Pixels, Polygon, Region, RegionSample, Turn, Video

ROOT = Path("/data/root")
RING = [1, 2, 3.5, 2, 3.5, 8]
COUNTS = "114"  # runs 1, 1, 4 of a mask of 3 x 2

VIDEO: dict[str, Any] = {
    "id": "clip-0001",
    "video": "clips/0001.mp4",
    "span": [8, 96],
    "regions": [
        {"box": [10, 20, 30.5, 40]},
        {"mask": {"size": [3, 2], "counts": COUNTS}, "frame": 9},
        {"polygon": [RING], "category": "person", "track": {"12": {"box": [1, 2, 3, 4]}, "24": None}},
    ],
    "conversation": [
        {"question": "What is <region0> doing?", "answer": "It follows <region1>."},
        {"question": "Which one is left of <region1>?", "answer": "<region2>"},
    ],
    "references": [["walking", "it walks"], []],
    "options": ["<region0>", "<region2>"],
    "label": 1,
    "group": "relation",
    "cluster": "film-7",
    "meta": {"source": "made up", "score": [1, 2.5, None]},
}
IMAGE: dict[str, Any] = {
    "id": "1",
    "image": "a.jpg",
    "regions": [{"box": [0, 0, 1, 1]}],
    "conversation": [{"question": "What is <region>?", "answer": "a cat"}],
}
FRAMES: dict[str, Any] = {
    "id": "f",
    "frames": ["f/0.jpg", "f/1.jpg", "f/2.jpg"],
    "span": [1, 3],
    "regions": [],
    "conversation": [{"question": "How many?", "answer": "two"}],
    "options": ["one", "two"],
    "label": 1,
    "task": "answer",
}


POINTED: dict[str, Any] = VIDEO | {
    "regions": [
        {"box": [1, 2, 3, 4], "frame": 9, "track": {"9": {"mask": {"size": [3, 2], "counts": COUNTS}}, "12": None}},
        {"prompts": {"8": {"box": [1, 2, 3, 4]}, "12": {"box": [2, 2, 3, 4]}}, "track": {"8": {"box": [1, 2, 3, 4]}}},
        {"prompts": {"9": {"polygon": [[1, 2, 3.5, 2, 3.5, 8]]}}, "category": "cat"},
    ]
}
"""Pointed at with something else than what is known, on several frames, and where nothing is known."""


def _parse(record: Any) -> RegionSample:
    return parse_record(record, ROOT, "a.jsonl:7")


def _changed(record: dict[str, Any], *path: Any, value: Any = None, delete: bool = False) -> dict[str, Any]:
    changed = copy.deepcopy(record)
    place: Any = changed
    for key in path[:-1]:
        place = place[key]
    if delete:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return changed


def test_a_record_by_hand() -> None:
    assert _parse(VIDEO) == RegionSample(
        id="clip-0001",
        media=Video(ROOT / "clips/0001.mp4", (8, 96)),
        regions=(
            Region.at(Box((10.0, 20.0, 30.5, 40.0)), frame=8),
            Region.at(Mask((3, 2), COUNTS.encode()), frame=9),
            Region.at(
                Polygon(((1.0, 2.0, 3.5, 2.0, 3.5, 8.0),)),
                frame=8,
                category="person",
                track={12: Box((1.0, 2.0, 3.0, 4.0)), 24: None},
            ),
        ),
        conversation=(
            Turn("What is <region0> doing?", "It follows <region1>.", ("walking", "it walks")),
            Turn("Which one is left of <region1>?", "<region2>"),
        ),
        options=("<region0>", "<region2>"),
        label=1,
        task="refer",
        group="relation",
        cluster="film-7",
        meta={"source": "made up", "score": [1, 2.5, None]},
        origin="a.jsonl:7",
    )


def test_what_is_pointed_with_and_where_the_region_is() -> None:
    """Beside a geometry the track may know better on its frame; beside `prompts` nothing but the track is known."""
    box, mask = Box((10.0, 20.0, 30.5, 40.0)), Mask((3, 2), COUNTS.encode())
    better = _changed(VIDEO, "regions", 0, "track", value={"8": {"mask": {"size": [3, 2], "counts": COUNTS}}})
    assert _parse(better).regions[0] == Region({8: box}, {8: mask})
    several = {"prompts": {"8": {"box": [10, 20, 30.5, 40]}, "12": {"box": [1, 2, 3, 4]}}, "track": {"9": None}}
    prompted = _changed(VIDEO, "regions", 0, value=several)
    assert _parse(prompted).regions[0] == Region({8: box, 12: Box((1.0, 2.0, 3.0, 4.0))}, {9: None})


def test_the_kinds_of_media() -> None:
    assert _parse(IMAGE).media == Frames((ROOT / "a.jpg",))
    assert _parse(FRAMES).media == Frames(tuple(ROOT / f"f/{i}.jpg" for i in range(3)), (1, 3))
    assert _parse(IMAGE | {"image": "/else/a.jpg"}).media == Frames((Path("/else/a.jpg"),))


@pytest.mark.parametrize(
    ("extra", "task"),
    [
        ({}, "answer"),
        ({"references": [["a cat", "cat"]]}, "caption"),
        ({"options": ["a cat", "<region0>"], "label": 0}, "choice"),
        ({"options": ["<region0>"], "label": 0, "references": [["<region>"]]}, "refer"),
        ({"options": ["<region0>"], "label": 0, "task": "choice"}, "choice"),
        ({"task": "classify"}, "classify"),
    ],
)
def test_the_task_follows_from_what_is_given(extra: dict[str, Any], task: str) -> None:
    chosen = {"conversation": [{"question": "What is <region>?"}]} if "options" in extra else {}
    assert _parse(IMAGE | extra | chosen).task == task


@pytest.mark.parametrize("record", [VIDEO, IMAGE, FRAMES, POINTED, IMAGE | {"image": "/else/a.jpg"}])
def test_there_and_back_is_exact(record: dict[str, Any]) -> None:
    sample = _parse(record)
    written = json.loads(json.dumps(dump_record(sample, ROOT)))
    assert _parse(written) == sample
    for key in ("image", "video", "frames", "span"):
        assert written.get(key) == record.get(key)


def test_media_elsewhere_are_written_with_their_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sample = replace(_parse(IMAGE), media=Frames((Path("else/a.jpg"),)))
    assert dump_record(sample, Path("root"))["image"] == (tmp_path / "else/a.jpg").as_posix()
    in_memory = replace(sample, media=Pixels(np.zeros((2, 4, 4, 3), np.uint8)))
    with pytest.raises(DataError, match=r"a\.jsonl:7: sample '1': 2 frames in memory"):
        dump_record(in_memory, ROOT)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (_changed(VIDEO, "id", delete=True), "missing key 'id'"),
        (_changed(VIDEO, "regions", delete=True), "missing key 'regions'"),
        (_changed(VIDEO, "conversation", 0, "answer", delete=True), "conversation[0]: missing key 'answer'"),
        (_changed(IMAGE, "conversation", 0, "answer", delete=True), "conversation[0]: missing key 'answer'"),
        (IMAGE | {"optoins": []}, "unknown key 'optoins', known are cluster, conversation, frames, group, id, "),
        (_changed(IMAGE, "regions", 0, "bbox", value=[]), "regions[0]: unknown key 'bbox', known are "),
        (
            _changed(VIDEO, "regions", 2, "track", "12", "frame", value=3),
            "regions[2].track['12']: unknown key",
        ),
        (IMAGE | {"id": 7}, "id: expected a string, got 7"),
        (IMAGE | {"id": " "}, "id: expected text, got ' '"),
        (IMAGE | {"image": ["a.jpg"]}, "image: expected a string, got ['a.jpg']"),
        (IMAGE | {"video": "a.mp4"}, "expected 1 of image, video, frames, found 2 (image, video)"),
        (_changed(IMAGE, "image", delete=True), "expected 1 of image, video, frames, found 0"),
        (FRAMES | {"frames": []}, "frames: expected one file or more, got 0"),
        (FRAMES | {"span": [1, 4]}, "span: [1, 4) of 3 frames"),
        (VIDEO | {"span": [9, 9]}, "span: inverted or empty, [9, 9)"),
        (VIDEO | {"span": [-1, 9]}, "span: expected an integer of at least 0, got -1"),
        (VIDEO | {"span": [0, 2.0]}, "span: expected an integer of at least 0, got 2.0"),
        (
            _changed(VIDEO, "regions", 1, "frame", value=-3),
            "regions[1].frame: expected an integer of at least 0",
        ),
        (
            _changed(VIDEO, "regions", 1, "frame", value=7),
            "regions[1]: prompted on frame 7, outside the frames [8, 96)",
        ),
        (
            _changed(VIDEO, "regions", 1, "frame", value=96),
            "regions[1]: prompted on frame 96, outside the frames [8, 96)",
        ),
        (_changed(IMAGE, "regions", 0, "frame", value=1), "regions[0]: prompted on frame 1, outside the frames [0, 1)"),
        (_changed(IMAGE, "regions", 0, "category", value=3), "regions[0].category: expected a string, got 3"),
        (
            _changed(IMAGE, "regions", 0, "box", value=[3, 0, 1, 1]),
            "regions[0].box: inverted or empty, x 3 to 1",
        ),
        (_changed(VIDEO, "regions", 2, "track", "8", value=None), "regions[2].track: not visible on frame 8"),
        (_changed(POINTED, "regions", 1, "track", "12", value=None), "regions[1].track: not visible on frame 12"),
        (_changed(POINTED, "regions", 1, "prompts", value={}), "regions[1].prompts: expected one frame or more, got 0"),
        (
            _changed(POINTED, "regions", 1, "prompts", "12", value=None),
            "regions[1].prompts['12']: expected a geometry, got null",
        ),
        (_changed(POINTED, "regions", 1, "frame", value=8), "regions[1]: 'frame' beside 'prompts'"),
        (
            _changed(POINTED, "regions", 1, "box", value=[1, 2, 3, 4]),
            "regions[1]: expected 1 of prompts, box, mask, polygon, stroke, found 2 (prompts, box)",
        ),
        (
            _changed(POINTED, "regions", 1, "prompts", "96", value={"box": [1, 2, 3, 4]}),
            "regions[1]: prompted on frame 96, outside the frames [8, 96)",
        ),
        (
            _changed(POINTED, "regions", 1, "prompts", "0", value={"box": [1, 2, 3, 4]}),
            "regions[1]: prompted on frame 0, outside the frames [8, 96)",
        ),
        (
            _changed(VIDEO, "regions", 2, "track", "-1", value=None),
            "regions[2].track: '-1' is not a frame number",
        ),
        (_changed(VIDEO, "regions", 2, "track", "012", value=None), "regions[2].track: '012' is not a frame"),
        (
            _changed(VIDEO, "regions", 2, "track", "²", value=None),
            "regions[2].track: '²' is not a frame number",
        ),
        (IMAGE | {"conversation": []}, "conversation: expected one turn or more, got 0"),
        (VIDEO | {"references": [["a"]]}, "references: for 1 turns, the conversation has 2"),
        (VIDEO | {"references": [["a"], "b"]}, "references[1]: expected an array, got 'b'"),
        (
            IMAGE | {"references": [["a", "<region4>"]]},
            "references[0][1]: <region4> has no region, there are 1",
        ),
        (
            _changed(VIDEO, "conversation", 0, "question", value="<region>?"),
            "conversation[0].question: <region> nee",
        ),
        (
            _changed(VIDEO, "conversation", 1, "answer", value="<region3>"),
            "conversation[1].answer: <region3> has no",
        ),
        (VIDEO | {"options": ["<region0>", "<region9>"]}, "options[1]: <region9> has no region, there are 3"),
        (IMAGE | {"options": ["a", "b"]}, "2 options without a label"),
        (IMAGE | {"label": 0}, "0 options with a label"),
        (IMAGE | {"options": ["a", "b"], "label": 2}, "label: 2 of 2 options, counted from 0"),
        (IMAGE | {"options": ["a", "b"], "label": -1}, "label: expected an integer of at least 0, got -1"),
        (IMAGE | {"task": " "}, "task: expected text, got ' '"),
        (IMAGE | {"task": "choice"}, "task: 'choice' with 0 options"),
        (
            IMAGE | {"task": "refer", "options": ["a"], "label": 0},
            "task: 'refer' needs options that are one region",
        ),
        (IMAGE | {"meta": []}, "meta: expected an object, got []"),
        (
            _changed(IMAGE, "conversation", 0, "answer", value="\ud83d"),
            "conversation[0].answer: character 0 is half",
        ),
    ],
)
def test_what_cannot_be_used_is_named(record: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as error:
        _parse(record)
    name = record.get("id")
    sample = f"sample {name!r}: " if isinstance(name, str) else ""
    assert str(error.value).startswith(f"a.jsonl:7: {sample}{message}")


@pytest.mark.parametrize("record", [None, [], "text", 3.5])
def test_a_line_that_is_no_object(record: object) -> None:
    with pytest.raises(DataError, match=r"a\.jsonl:7: record: expected an object, got "):
        _parse(record)


# --- any damage is either harmless or named ---------------------------------------------------------------

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["<region>", "<region7>", "0", "12", COUNTS, 10**400, -1, "caption"]),
)
KEYS = st.sampled_from(
    [*VIDEO, "image", "frames", "task", "box", "mask", "polygon", "prompts", "size", "counts", "12", "x"]
)
JUNK = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    return [place for key in keys for place in [(*path, key), *_places(value[key], (*path, key))]]


@settings(max_examples=800 if os.environ.get("THOROUGH") else 200, deadline=None, derandomize=True)
@given(st.data(), st.sampled_from([VIDEO, IMAGE, FRAMES, POINTED]))
def test_a_damaged_record_is_a_sample_or_a_data_error(data: st.DataObject, record: dict[str, Any]) -> None:
    for _ in range(data.draw(st.integers(1, 2))):
        path = data.draw(st.sampled_from(_places(record) or [("id",)]))
        action = data.draw(st.sampled_from(["replace", "replace", "delete", "add"]))
        if action == "add":
            record = _changed(record, data.draw(KEYS), value=data.draw(JUNK))
        else:
            record = _changed(record, *path, value=data.draw(JUNK), delete=action == "delete")
    try:
        sample = _parse(record)
    except DataError as error:
        event("refused")
        named = str(error).startswith("a.jsonl:7: ")
    else:
        event("read")
        again = _parse(dump_record(sample, ROOT))
        # NaN may hide anywhere in meta and is not equal to itself
        named = replace(again, meta={}) == replace(sample, meta={})
    assert named


# --- the file ---------------------------------------------------------------------------------------------


def _write(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(json.dumps(record) for record in records), encoding="utf-8")
    return path


def test_a_source_reads_lines_and_finds_media_beside_them(tmp_path: Path) -> None:
    source = RegionJsonl(_write(tmp_path / "a.jsonl", [VIDEO, IMAGE]))
    assert [source[i].id for i in range(len(source))] == ["clip-0001", "1"]
    assert source[1].media == Frames((tmp_path / "a.jpg",))
    assert source[1].origin == f"{tmp_path / 'a.jsonl'}:2"
    assert RegionJsonl(source.path, ROOT)[1].media == Frames((ROOT / "a.jpg",))
    assert source.balance() is None
    assert not source.ordered


def test_the_error_line_names_file_line_sample_and_numbers(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.jsonl", [IMAGE, IMAGE | {"options": ["a", "b"], "label": 5}])
    with pytest.raises(DataError) as error:
        RegionJsonl(path)[1]
    assert str(error.value) == f"{path}:2: sample '1': label: 5 of 2 options, counted from 0"


def test_nothing_is_opened_before_use_and_the_pickle_is_small(tmp_path: Path) -> None:
    RegionJsonl(tmp_path / "not yet written.jsonl")
    source = RegionJsonl(_write(tmp_path / "a.jsonl", [IMAGE | {"meta": {"long": "x" * 2000}}] * 300))
    assert len(pickle.dumps(source)) < 500
    assert len(source) == 300
    pickled = pickle.dumps(source)
    assert len(pickled) < 300 * 16 + 2000
    source.path.rename(tmp_path / "moved.jsonl")
    assert len(pickle.loads(pickled)) == 300, "the index travels, the file is not scanned again"
