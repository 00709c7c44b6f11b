from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from experiments.tracking import data_fingerprint
from experiments.tracking.data_fingerprint import MOST_ENTRIES, describe_data


def dataset(folder: Path) -> Path:
    """Annotations at the top and one folder below, a picture, and a folder of one small file a record."""
    (folder / "labels").mkdir(parents=True)
    (folder / "train.jsonl").write_text("first\n")
    (folder / "labels" / "names.csv").write_text("cat\n")
    (folder / "a.jpg").write_text("pixels")
    (folder / "records").mkdir()
    for number in range(MOST_ENTRIES + 1):
        (folder / "records" / f"{number}.json").write_text("{}")
    return folder


def data(root: Any, **options: Any) -> dict[str, Any]:
    arguments = {"root": root, "split": "train", **options}
    return {"train": {"set": {"class_path": "a.B", "init_args": arguments}}, "val": None, "batch_size": 2}


def test_an_entry_tells_class_options_and_annotation_files(tmp_path: Path) -> None:
    told = describe_data(data(dataset(tmp_path / "x")))
    assert len(fingerprint := told["sources"]["train/set"]["fingerprint"]) == 16
    assert told["sources"] == {
        "train/set": {
            "fingerprint": fingerprint,
            "class": "a.B",
            "options": {"root": str(tmp_path / "x"), "split": "train"},
            "files": {
                "root/labels/names.csv": {"bytes": 4, "sha256": hashlib.sha256(b"cat\n").hexdigest()},
                "root/train.jsonl": {"bytes": 6, "sha256": hashlib.sha256(b"first\n").hexdigest()},
            },
            "left_out": ["root/records"],
        }
    }


def test_the_same_data_elsewhere_have_the_same_fingerprint(tmp_path: Path) -> None:
    """Also where text names the folder, as long as it is there."""
    roots = [dataset(tmp_path / name) for name in "ab"]
    (roots[1] / "a.jpg").write_text("other pixels")
    prints = {describe_data(data(root))["fingerprint"] for root in (*roots, str(roots[0]))}
    assert len(prints) == 1
    assert len(prints.pop()) == 16


def test_other_data_have_another_fingerprint(tmp_path: Path) -> None:
    root = dataset(tmp_path)
    prints = [describe_data(data(root, split=split))["fingerprint"] for split in ("train", "val")]
    prints.append(describe_data(data("s3://bucket/a"))["fingerprint"])
    prints.append(describe_data(data("s3://bucket/b"))["fingerprint"])
    prints.append(describe_data(data(root, inner={"file": root / "a.jpg"}))["fingerprint"])
    prints.append(describe_data(data(root, kinds=["a", "b"]))["fingerprint"])
    prints.append(describe_data(data(root, kinds=["b", "a"]))["fingerprint"])
    (root / "train.jsonl").write_text("other\n")
    prints.append(describe_data(data(root))["fingerprint"])
    assert len(set(prints)) == len(prints)


def test_of_a_large_file_blocks_from_its_start_to_its_end_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four blocks of two bytes of a file of 20: those at 0, 6, 12 and 18."""
    monkeypatch.setattr(data_fingerprint, "WHOLE", 8)
    monkeypatch.setattr(data_fingerprint, "BLOCK", 2)
    path = tmp_path / "large.json"
    path.write_bytes(bytes(range(20)))
    read = bytes([0, 1, 6, 7, 12, 13, 18, 19])
    files = describe_data(data(path))["sources"]["train/set"]["files"]
    assert files == {"root": {"bytes": 20, "sha256": hashlib.sha256(read).hexdigest()}}


def test_without_sources_there_is_a_fingerprint_too() -> None:
    assert describe_data({}) == {"fingerprint": describe_data({"train": None})["fingerprint"], "sources": {}}
