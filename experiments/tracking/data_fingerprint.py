"""What a run's data are: each configured source with its options, and hashes of its annotation files.

The fingerprint of two runs is equal if their sources have the same classes, options and annotation files, wherever
those lie. It costs little: media files are not read, and of a large annotation file only samples are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from datamodules.installation import written

SPLITS = ("train", "val", "test", "predict")
ANNOTATIONS = frozenset({".json", ".jsonl", ".csv", ".tsv", ".txt", ".p", ".pkl", ".parquet", ".yaml"})
MOST_ENTRIES = 200
"""A folder of more is one of media, or of one small file a record: it is named, not read."""
WHOLE = 64 * 2**20
"""Up to this size, in bytes, a file is hashed as a whole."""
BLOCK = 2**20


@dataclass(slots=True)
class _Found:
    """Files of a source, name below its path -> size and hash; folders that were not read; options that are no path."""

    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)


def describe_data(data: Mapping[str, Any]) -> dict[str, Any]:
    """What the configuration's sources are, as JSON values.

    Args:
        data: Arguments of the data module: split -> name -> class path and arguments of a source, paths as `Path`.

    Returns:
        `fingerprint`, 16 hexadecimal digits, and `sources`, an entry for each `split/name`: a fingerprint of its own,
        its class, its options as configured, size in bytes and SHA-256 of each of its annotation files, and the folders
        that were left out.
    """
    sources = {f"{split}/{name}": source for split in SPLITS for name, source in (data.get(split) or {}).items()}
    entries, told = {}, {}
    for name, source in written(sources).items():
        options = source.get("init_args") or {}
        found = _find(options)
        told[name] = [source["class_path"], found.options, found.files]
        entries[name] = {
            "fingerprint": _hash_of(told[name]),
            "class": source["class_path"],
            "options": json.loads(json.dumps(options, default=str)),
            "files": found.files,
            "left_out": found.left_out,
        }
    return {"fingerprint": _hash_of(told), "sources": entries}


def _find(options: Mapping[str, Any]) -> _Found:
    found = _Found()
    for name, value in _leaves(options, ""):
        path = _as_path(value)
        if path is None:
            found.options[name] = value
        else:
            _look(path, name, found)
    return found


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        yield from _leaves(dict(enumerate(value)), name)
    else:
        yield name, value


def _as_path(value: Any) -> Path | None:
    """A path of this machine; text is one if it has a `/` and is there."""
    if isinstance(value, Path):
        return value
    return Path(value) if isinstance(value, str) and "/" in value and Path(value).exists() else None


def _look(path: Path, name: str, found: _Found, depth: int = 2) -> None:
    """Adds the annotation files at a path: itself, or those of a folder and of the folders in it."""
    if path.is_file():
        found.files[name] = _identity(path)
    elif path.is_dir() and depth:
        entries = _entries(path)
        if entries is None:
            found.left_out.append(name)
            return
        for entry in entries:
            if entry.is_dir() or entry.suffix in ANNOTATIONS:
                _look(entry, f"{name}/{entry.name}", found, depth - 1)


def _entries(folder: Path) -> list[Path] | None:
    """What a folder holds, in order; None if that is too much."""
    entries: list[Path] = []
    for entry in folder.iterdir():
        if len(entries) == MOST_ENTRIES:
            return None
        entries.append(entry)
    return sorted(entries)


def _identity(path: Path) -> dict[str, Any]:
    state = path.stat()
    return {"bytes": state.st_size, "sha256": _hash_of_file(path, state.st_size, state.st_mtime_ns)}


@cache
def _hash_of_file(path: Path, size: int, changed: int) -> str:
    """Of the whole file, or of 64 blocks spread over a large one; sources of one folder share it.

    Args:
        path: The file.
        size: In bytes.
        changed: When, in nanoseconds.
    """
    digest = hashlib.sha256()
    last = WHOLE // BLOCK - 1
    starts = range(0, size, BLOCK) if size <= WHOLE else [(size - BLOCK) * part // last for part in range(last + 1)]
    with path.open("rb") as file:
        for start in starts:
            file.seek(start)
            digest.update(file.read(BLOCK))
    return digest.hexdigest()


def _hash_of(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
