"""Files of records are arrays or lines, whichever people keep them as."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from test_elysium_track import write_elysium_track
from test_llava_instruct import write_llava_instruct
from test_osprey_conversations import write_osprey_conversations
from test_pope import write_pope
from test_vcr import write_vcr

from datamodules.errors import DataError
from datamodules.formats import ElysiumTrack, LlavaInstruct, OspreyConversations, Pope, RegionJsonl, Vcr
from datamodules.formats.region_jsonl import dump_record
from datamodules.reading.record_list import RecordList
from datamodules.source import RegionSource
from datamodules.types import Frames, RegionSample
from helpers import sample


def write_own(root: Path) -> None:
    lines = [json.dumps(dump_record(replace(sample(name), media=Frames((root / "a.png",))), root)) for name in "ab"]
    (root / "own.jsonl").write_text("\n".join(lines))


@pytest.mark.parametrize("around", [b"", b"\xef\xbb\xbf \n"])
@pytest.mark.parametrize("content", [b'[{"a": 1}, {"a": 2}]', b'{"a": 1}\n{"a": 2}', b'[\n{"a": 1},\n{"a": 2}\n]\n'])
def test_records_have_numbers_in_either(tmp_path: Path, content: bytes, around: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(around + content)
    records = RecordList.build(path)
    assert [records.read(index) for index in range(len(records))] == [(0, {"a": 1}), (1, {"a": 2})]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"[]", "no records"), (b"", "no records"), (b'[{"a": 1}', "not JSON"), (b" [1, 2", "not JSON")],
)
def test_a_file_without_records_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.json.*{message}"):
        RecordList.build(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("write", "file", "source"),
    [
        (write_own, "own.jsonl", lambda path, root: RegionJsonl(path)),
        (write_pope, "coco_pope_random.json", lambda path, root: Pope(path, root / "val2014")),
        (write_elysium_track, "ElysiumTrack-1M.json", ElysiumTrack),
        (write_vcr, "val.jsonl", lambda path, root: Vcr(root, "val")),
        (write_llava_instruct, "llava_v1_5_mix.json", LlavaInstruct),
        (write_osprey_conversations, "osprey_conversation.json", OspreyConversations),
    ],
)
def test_samples_are_the_same_from_either(
    tmp_path: Path, write: Callable[[Path], None], file: str, source: Callable[[Path, Path], RegionSource]
) -> None:
    """Regression: the text lines of an array were counted as records, 18,002 questions for 3,000."""
    write(tmp_path)
    path = tmp_path / file

    def samples() -> list[RegionSample]:
        read = source(path, tmp_path)
        return [replace(read[index], origin="") for index in range(len(read))]

    wanted, text = samples(), path.read_text()
    array = text.lstrip().startswith("[")
    records = json.loads(text) if array else [json.loads(line) for line in text.splitlines() if line.strip()]
    path.write_text("\n".join(map(json.dumps, records)) if array else json.dumps(records, indent=1))
    assert samples() == wanted
