"""The files that a base's weights come from, and what tells them from others: a sum of all their bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from datamodules.errors import DataError
from lightning_modules.bases.places import is_gguf

if TYPE_CHECKING:
    from lightning_modules.bases.loading import BaseModel


def places(base: BaseModel) -> list[str]:
    """The hub ids, folders or files that a base's weights come from; none of a base with random ones."""
    return [name for name in (base.checkpoint, base.vision_tower, base.language_model) if name]


def sums(base: BaseModel) -> dict[str, str]:
    """SHA-256 of each file of weights by its place, in hexadecimal digits: what the hub says of a file, too.

    Raises:
        DataError: A place has no weights.
    """
    return {f"{name}: {file.name}": _sum(file) for name in places(base) for file in _weight_files(name)}


def _sum(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _weight_files(name: str) -> list[Path]:
    """Those that transformers reads of a place, in its order of preference."""
    if is_gguf(name):
        return [Path(name)]
    from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, WEIGHTS_INDEX_NAME, WEIGHTS_NAME

    for whole, index in ((SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME), (WEIGHTS_NAME, WEIGHTS_INDEX_NAME)):
        for file in _at(name, whole):
            return [file]
        for file in _at(name, index):
            shards = json.loads(file.read_text(encoding="utf-8"))["weight_map"].values()
            return [file.with_name(shard) for shard in sorted(set(shards))]
    raise DataError(f"no weights at {name!r}")


def _at(name: str, file: str) -> Iterator[Path]:
    """The file of a folder, or of a repository of the hub in the cache, if it is there."""
    from huggingface_hub import try_to_load_from_cache

    found = str(Path(name) / file) if Path(name).is_dir() else try_to_load_from_cache(name, file)
    if isinstance(found, str) and Path(found).is_file():
        yield Path(found)
