"""Shards as a source: order, resume, cache, and damage told in one line."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from datamodules.batching.sampling import Draw, EvaluationSampler, SampleStream, TrainSampler
from datamodules.errors import DataError
from datamodules.shards import ShardedSource
from datamodules.shards.layout import Manifest
from datamodules.shards.sizes import parse_bytes
from datamodules.source import RegionSource
from helpers import Listed, sample
from shard_samples import assert_same, mixed_source, shard


@pytest.fixture(scope="module")
def noise() -> Listed:
    """Forty samples of about two kilobytes."""
    return Listed(*(sample(f"{number:03}") for number in range(40)))


@pytest.fixture(scope="module")
def place(noise: Listed, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Eight chunks or more of the forty samples."""
    return shard(noise, str(tmp_path_factory.mktemp("shards")), chunk_bytes=6_000)


def order(source: RegionSource, start: int, stop: int) -> list[int]:
    return [draw.record for draw in SampleStream([source], [1.0], seed=3).draws(start, stop)]


# --- order ------------------------------------------------------------------------------------------------------------


def test_training_reads_few_chunks_at_a_time_and_every_record_once(place: str) -> None:
    source = ShardedSource(place, shuffle_chunks=2)
    of_record = source.blocks().of_record
    chunks = int(of_record.max()) + 1
    assert chunks >= 8
    first, second = order(source, 0, 40), order(source, 40, 80)
    for records in (first, second):
        assert sorted(records) == list(range(40))
        pairs = stretches([int(of_record[record]) for record in records], 2)
        assert len(pairs) == (chunks + 1) // 2
    assert first != second
    assert stretches([int(of_record[r]) for r in first], 2) != stretches([int(of_record[r]) for r in second], 2)


def stretches(chunks: Sequence[int], together: int) -> list[set[int]]:
    """The sets of chunks that are read together, checked never to come back."""
    found: list[set[int]] = [set()]
    for chunk in chunks:
        if chunk not in found[-1] and len(found[-1]) == together:
            found.append(set())
        found[-1].add(chunk)
    assert sum(map(len, found)) == len(set(chunks))
    return found


def test_one_stretch_of_all_chunks_is_a_plain_shuffle(place: str, noise: Listed) -> None:
    assert order(ShardedSource(place, shuffle_chunks=1000), 0, 80) == order(noise, 0, 80)


def test_balanced_records_are_drawn_as_often_from_shards(place: str, tmp_path: Path, noise: Listed) -> None:
    class Balanced(Listed):
        def balance(self) -> np.ndarray:
            return np.arange(1.0, 1 + len(self))

    balanced = Balanced(*noise.samples)
    shards = ShardedSource(shard(balanced, str(tmp_path), chunk_bytes=6_000), shuffle_chunks=2)
    assert sorted(order(shards, 0, 40)) == sorted(order(balanced, 0, 40))


@pytest.mark.parametrize("cache", [False, True])
def test_a_resumed_run_with_another_cache_folder_reads_the_same(
    place: str, tmp_path: Path, noise: Listed, cache: bool
) -> None:
    """Two ranks; killed after 12 of 40 samples, the rest comes as it would have come."""

    def part(folder: str, rank: int, consumed: int) -> list[tuple[Draw, str]]:
        source = ShardedSource(place, tmp_path / folder if cache else None, "20KB", shuffle_chunks=3)
        sampler = TrainSampler(SampleStream([source, noise], [0.7, 0.3], 5), 40, 2, rank, consumed)
        return [(draw, (source, noise)[draw.source][draw.record].id) for draw in sampler]

    for rank in range(2):
        assert part("second", rank, 12) == part("first", rank, 0)[6:]


def test_evaluation_walks_through_the_records_in_order(place: str, noise: Listed) -> None:
    draws = list(EvaluationSampler([ShardedSource(place)]))
    assert [draw.record for draw in draws] == list(range(len(noise)))


# --- cache ------------------------------------------------------------------------------------------------------------


def test_a_bounded_cache_reads_everything(place: str, tmp_path: Path, noise: Listed) -> None:
    source = ShardedSource(place, tmp_path, max_cache_bytes="20KB", shuffle_chunks=2)
    for record in order(source, 0, 80):
        assert_same(source[record], noise[record])
        assert 0 < sum(path.stat().st_size for path in tmp_path.rglob("*.bin")) <= 20_000
    assert len(list(tmp_path.rglob("*.bin"))) >= 2


def test_a_chunk_is_fetched_once_a_pass(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for two stretches of chunks, as the class asks for."""
    from datamodules.shards.storage import Folder

    fetched: list[str] = []
    fetch = Folder.fetch
    monkeypatch.setattr(Folder, "fetch", lambda self, name, to: (fetched.append(name), fetch(self, name, to)))
    source = ShardedSource(place, tmp_path, max_cache_bytes="24KB", shuffle_chunks=2)
    for record in order(source, 0, 40):
        source[record]
    chunks = [name for name in fetched if name.endswith(".bin")]
    assert len(chunks) == len(set(chunks)) == len(source._layout.chunks)


def test_other_shards_at_the_same_place_are_not_taken_for_the_cached_ones(tmp_path: Path, noise: Listed) -> None:
    folder, cache = tmp_path / "shards", tmp_path / "cache"
    for samples in (noise.samples[:3], noise.samples[3:6]):
        source = ShardedSource(shard(Listed(*samples), str(folder)), cache)
        for index, wanted in enumerate(samples):
            assert_same(source[index], wanted)
        for path in folder.iterdir():
            path.unlink()


def test_a_source_travels_light(place: str) -> None:
    source = ShardedSource(place)
    assert len(pickle.dumps(source)) < 1000
    assert len(pickle.dumps(source[0])) < 2000
    assert len(pickle.dumps(source)) < 4000  # with its index


# --- damage -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    return Path(shard(mixed_source(tmp_path / "media"), str(tmp_path / "shards")))


def read_all(folder: Path, cache: Path | None = None) -> None:
    source = ShardedSource(str(folder), cache)
    for index in range(len(source)):
        source[index]


@pytest.mark.parametrize("cached", [False, True])
def test_a_missing_or_truncated_chunk_is_named(shards: Path, tmp_path: Path, cached: bool) -> None:
    cache = tmp_path / "cache" if cached else None
    chunk = shards / "chunk-0-0.bin"
    content = chunk.read_bytes()
    chunk.write_bytes(content[:-1])
    with pytest.raises(DataError, match=f"^{chunk}: {len(content) - 1} bytes, the index says {len(content)}$"):
        read_all(shards, cache)
    chunk.unlink()
    with pytest.raises(DataError, match=f"^{chunk}: No such file or directory$"):
        read_all(shards, cache)


def test_a_damaged_chunk_is_named(shards: Path) -> None:
    chunk = shards / "chunk-0-0.bin"
    chunk.write_bytes(b"\xff" * chunk.stat().st_size)
    with pytest.raises(DataError, match=f"^{chunk}: item 0 is damaged: "):
        read_all(shards)


def read_with_pixels(folder: Path, wanted: Listed) -> None:
    source = ShardedSource(str(folder))
    assert len(source) == len(wanted)
    for index in range(len(source)):
        assert_same(source[index], wanted[index])


@pytest.mark.parametrize("name", ["chunk-0-0.bin", "index.json", "source.npz", "source.json"])
def test_flipped_bytes_never_give_another_sample(shards: Path, tmp_path: Path, name: str) -> None:
    """Regression: eight flipped bytes gave nine other samples, in silence."""
    wanted, path = mixed_source(tmp_path / "media"), shards / name
    written, rng = path.read_bytes(), np.random.default_rng(0)
    refused: list[str] = []
    for place in rng.permutation(len(written))[:60].tolist():
        damaged = bytearray(written)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            read_with_pixels(shards, wanted)
        except DataError as error:
            refused.append(str(error))
    assert len(refused) > 50
    assert all(str(path) in line for line in refused)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("index.json", b"{", "index.json: damaged: "),
        ("index.json", b'{"chunks": [{}]}', "index.json: damaged: checksum "),
        ("source.npz", b"PK", "source.npz: damaged: "),
        ("source.json", b"[]", "source.json: damaged: "),
        ("source.json", b'{"format": 2}', "source.json: format 2, this version reads 3: shard the source again"),
    ],
)
def test_what_stands_beside_the_chunks_is_named(shards: Path, name: str, content: bytes, message: str) -> None:
    (shards / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_all(shards)


def test_shards_keep_to_their_folder(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk's name is read from a file that anybody may have written, with the checksum that fits."""
    monkeypatch.setattr(Manifest, "check", lambda *_: None)
    index = json.loads((shards / "index.json").read_text())
    index["chunks"][0]["filename"] = "../outside.bin"
    (shards / "index.json").write_text(json.dumps(index))
    with pytest.raises(DataError, match=r"index.json: damaged: '\.\./outside.bin' is no file name"):
        read_all(shards, tmp_path / "cache")


def test_requests_that_cannot_be_met(place: str) -> None:
    with pytest.raises(IndexError, match="record 40 of 40"):
        ShardedSource(place)[40]
    with pytest.raises(DataError, match="shuffle_chunks 0 must be at least 1"):
        ShardedSource(place, shuffle_chunks=0)
    with pytest.raises(DataError, match="gs://bucket: shards are in a folder or at s3://bucket/prefix"):
        ShardedSource("gs://bucket")


def test_sizes_as_people_write_them() -> None:
    assert [parse_bytes(size) for size in (7, "7", "64MB", "1.5 GB", "2KiB", "1gib")] == [
        7,
        7,
        64_000_000,
        1_500_000_000,
        2048,
        2**30,
    ]
    for wrong in ("", "MB", "-1", "0", "7 bytes", "0.1"):
        with pytest.raises(DataError, match=f"{wrong!r} is"):
            parse_bytes(wrong)
