"""Writes the held-out scenes: jpg and mp4 files, region_jsonl beside them, and the tokenizer of their text."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.progress import Progress

from datamodules.errors import DataError
from datamodules.formats.region_jsonl import dump_record
from datamodules.shapes.encode import SceneKey, write_media
from datamodules.shapes.questions import ask, groups_of
from datamodules.shapes.render import render
from datamodules.shapes.scene import KINDS, Kind, Split, make_scene, scene_rng
from datamodules.shapes.source import make_sample
from datamodules.shapes.tokenizer import train_tokenizer
from datamodules.types import Frames, RegionSample, Video

VAL_SCENES, TEST_SCENES = 96, 256
MANIFEST = "manifest.json"
TITLE = "moving shapes"
FORMAT = 2
"""To be raised when what is written changes in a way that the first annotations do not show."""

Each = Callable[[Callable[[SceneKey], None], Sequence[SceneKey]], Iterator[None]]


def write_shapes(
    root: Path,
    seed: int = 0,
    val_scenes: int = VAL_SCENES,
    test_scenes: int = TEST_SCENES,
    workers: int | None = None,
    kinds: Sequence[Kind] = KINDS,
) -> bool:
    """Writes `root/KIND/{val,test}.jsonl` of every kind, the media beside them and `root/tokenizer`.

    The set appears in one step when it is complete. One that is there with the same parameters is left as it is; one
    with others, or of another version of the generator, is replaced.

    Args:
        root: Folder of the data set; its parents are made.
        seed: Other seeds, other scenes.
        val_scenes: Scenes of each kind in the validation split.
        test_scenes: Scenes of each kind in the test split.
        workers: Processes that write the media; as many as CPUs where there is enough to do if left out.
        kinds: Which kinds the data set has.

    Returns:
        Whether anything was written.

    Raises:
        DataError: A number makes no sense, `root` holds something else, or the disk refuses.
    """
    if seed < 0 or min(val_scenes, test_scenes) < 1 or (workers is not None and workers < 1):
        numbers = f"seed {seed}, {val_scenes} and {test_scenes} scenes, {workers} workers"
        raise DataError(f"{root}: {numbers}: a seed is at least 0, the others are at least 1")
    root = root.absolute()
    manifest = _manifest(seed, {"val": val_scenes, "test": test_scenes}, kinds)
    if _manifest_in(root) == manifest:
        return False
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{root.name}.", dir=root.parent) as folder:
            new = Path(folder, "new")
            _write_set(new, manifest, workers, kinds)
            _publish(new, root, manifest, Path(folder, "old"))
    except OSError as error:
        raise DataError(f"{root}: cannot be written: {error}") from error
    return True


def annotation_path(root: Path, kind: Kind, split: Split) -> Path:
    """The region_jsonl file of one split."""
    return root / kind / f"{split}.jsonl"


def scene_samples(root: Path, seed: int, key: SceneKey) -> list[RegionSample]:
    """One question of every sort about a held-out scene whose media file lies below `root`."""
    rng = scene_rng(seed, key.split, key.kind, key.index)
    scene = make_scene(rng, key.kind)
    _, masks = render(scene)
    path = root / key.path
    media = Frames((path,)) if key.kind == "image" else Video(path)
    return [
        make_sample(f"{key.name}-{group}", group, scene, ask(scene, key.kind, group, rng), masks, media)
        for group in groups_of(key.kind)
    ]


# --- is it there already? -----------------------------------------------------------------------------------------


def _manifest(seed: int, scenes: Mapping[str, int], kinds: Sequence[Kind]) -> dict[str, Any]:
    """What the files depend on."""
    return {
        "title": TITLE,
        "format": FORMAT,
        "seed": seed,
        "scenes": dict(scenes),
        "fingerprint": _fingerprint(seed, tuple(kinds)),
    }


@cache
def _fingerprint(seed: int, kinds: tuple[Kind, ...]) -> str:
    """Of some scenes, drawn once a process: every split of a data module asks for the same."""
    probe = hashlib.sha256()
    for kind in kinds:
        for index in range(8):
            key = SceneKey(kind, "test", index)
            frames, _ = render(make_scene(scene_rng(seed, key.split, kind, index), kind))
            probe.update(frames.tobytes())
            probe.update(_lines(Path(), seed, key).encode())
    return probe.hexdigest()[:16]


def _manifest_in(root: Path) -> object:
    """The manifest of the data set at `root`, None where there is nothing yet."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return None
    try:
        manifest = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        manifest = None
    if not isinstance(manifest, dict) or manifest.get("title") != TITLE:
        raise DataError(f"{root}: holds something else than {TITLE} and is not overwritten")
    return manifest


def _publish(new: Path, root: Path, manifest: object, old: Path) -> None:
    """Puts the complete set in place of what is there."""
    if root.exists():
        root.rename(old)
    try:
        new.rename(root)
    except OSError:
        # on a shared disk another process may have been first
        if _manifest_in(root) != manifest:
            raise


# --- the files ----------------------------------------------------------------------------------------------------


def _write_set(root: Path, manifest: Mapping[str, Any], workers: int | None, kinds: Sequence[Kind]) -> None:
    keys = [
        SceneKey(kind, split, index)
        for kind in kinds
        for split, number in manifest["scenes"].items()
        for index in range(number)
    ]
    for folder in {(root / key.path).parent for key in keys}:
        folder.mkdir(parents=True)
    with Progress(console=Console(stderr=True)) as progress, _mapper(workers or _useful_workers(len(keys))) as each:
        bar = progress.add_task(f"writing {TITLE}", total=len(keys))
        written = each(partial(write_media, root, manifest["seed"]), keys)
        # the text is made here while the other processes write the media
        _write_annotations(root, manifest["seed"], keys)
        train_tokenizer(root / "tokenizer")
        for _ in written:
            progress.advance(bar)
    (root / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def _useful_workers(scenes: int) -> int:
    """A process takes as long to start as a few hundred scenes to write."""
    return max(1, min(os.cpu_count() or 1, scenes // 256))


@contextmanager
def _mapper(workers: int) -> Iterator[Each]:
    """`map`, over several processes if there are several."""
    if workers == 1:
        yield map
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        yield partial(pool.map, chunksize=16)


def _write_annotations(root: Path, seed: int, keys: Sequence[SceneKey]) -> None:
    for (kind, split), group in groupby(keys, key=lambda key: (key.kind, key.split)):
        with annotation_path(root, kind, split).open("w", encoding="utf-8") as file:
            file.writelines(_lines(root, seed, key) for key in group)


def _lines(root: Path, seed: int, key: SceneKey) -> str:
    """The records of one scene, media relative to their annotation file."""
    folder = annotation_path(root, key.kind, key.split).parent
    records = (dump_record(sample, folder) for sample in scene_samples(root, seed, key))
    return "".join(f"{json.dumps(record)}\n" for record in records)
