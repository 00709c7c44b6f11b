"""What is written into shards comes out again, to the last bit."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.errors import DataError
from datamodules.media.clips import count_frames, frame_size, most_frames, read_clip
from datamodules.shards import ShardedSource
from datamodules.shards.stored_media import Storing
from datamodules.source import RegionSource
from datamodules.types import Box, Frames, NoPicture, PackedFile, Region, RegionSample, Sampled, Video
from helpers import Listed
from shard_samples import NUM_FRAMES, assert_same, clip_of, mixed_source, question, shard, write_video


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Listed:
    return mixed_source(tmp_path_factory.mktemp("media"))


@pytest.mark.parametrize("form", ["compressed", "decoded"])
def test_samples_and_pixels_of_every_kind_of_media_come_back(source: Listed, tmp_path: Path, form: str) -> None:
    shards = ShardedSource(shard(source, str(tmp_path / form), form))
    assert len(shards) == len(source)
    for index in range(len(source)):
        assert_same(shards[index], source[index])
        assert_same(pickle.loads(pickle.dumps(shards[index])), source[index])
        if not isinstance(source[index].media, NoPicture):
            assert frame_size(shards[index].media) == frame_size(source[index].media)


def test_compressed_media_are_the_files_themselves(source: Listed, tmp_path: Path) -> None:
    shards = ShardedSource(shard(source, str(tmp_path)))
    for index in range(len(source)):
        read, original = shards[index].media, source[index].media
        if isinstance(original, Video):
            assert isinstance(read, Video)
            assert isinstance(read.path, PackedFile)
            assert read.path.read() == original.path.read_bytes()  # type: ignore[union-attr]  # a path
            assert count_frames(read) == count_frames(original)


def test_questions_about_one_video_share_its_bytes(source: Listed, tmp_path: Path) -> None:
    videos = [index for index in range(len(source)) if isinstance(source[index].media, Video)]
    shard(Listed(*(source[index] for index in videos)), str(tmp_path))
    content = b"".join(path.read_bytes() for path in tmp_path.glob("*.bin"))
    (first,) = {str(source[index].media.path) for index in videos[:3]}  # type: ignore[union-attr]  # videos
    assert content.count(Path(first).read_bytes()) == 1


def test_only_files_inside_a_span_are_stored(source: Listed, tmp_path: Path) -> None:
    folder = next(source[index] for index in range(len(source)) if source[index].id == "folder")
    media = ShardedSource(shard(Listed(folder), str(tmp_path)))[0].media
    assert isinstance(media, Frames)
    assert [isinstance(path, PackedFile) for path in media.paths] == [False, True, True, True, True, False]


def test_decoded_clips_hold_the_sampled_frames_and_no_others(source: Listed, tmp_path: Path) -> None:
    shards = ShardedSource(shard(source, str(tmp_path), "decoded"))
    media = shards[5].media
    assert isinstance(media, Sampled)
    assert media.numbers == clip_of(source[5]).frames == (2, 5, 8)
    assert all(isinstance(file, PackedFile) and file.read().startswith(b"\x89PNG") for file in media.files)
    assert most_frames(media, NUM_FRAMES) == 3
    with pytest.raises(DataError, match=r"second.mkv|first.mp4.*sampled for clips of 3 frames, 4 are wanted"):
        read_clip(media, 4)
    with pytest.raises(DataError, match=r"prompted frame 7 is not among the sampled \[2, 5, 8\]"):
        read_clip(media, 3, [7])
    with pytest.raises(DataError, match="3 sampled frames do not tell how many there were"):
        count_frames(media)


def test_all_frames_of_a_short_clip_serve_any_longer_request(tmp_path: Path) -> None:
    media = Video(write_video(tmp_path / "short.mp4", 2, 0))
    shards = ShardedSource(shard(Listed(question("short", media)), str(tmp_path / "shards"), "decoded"))
    for num_frames in (2, 3, 8):
        np.testing.assert_array_equal(
            read_clip(shards[0].media, num_frames).pixels, read_clip(media, num_frames).pixels
        )
    with pytest.raises(DataError, match="sampled for clips of 3 frames, 1 are wanted"):
        read_clip(shards[0].media, 1)


def test_litdata_reads_the_same_items(source: Listed, tmp_path: Path) -> None:
    """The chunks are litdata's own: its data set gives each item's bytes, in the order of our places."""
    from litdata import StreamingDataset

    shards = ShardedSource(shard(source, str(tmp_path)))
    items = StreamingDataset(str(tmp_path))
    assert len(items) == 7  # nine samples, three of them about one video
    for index, (item, part) in enumerate(shards._layout.places.tolist()):
        content = bytes(items[item])
        size = int.from_bytes(content[:4], "little")
        head = json.loads(content[8 : 8 + size])
        lengths = [length for length, _ in head["lines"]]
        start = 8 + size + sum(lengths[:part])
        line = json.loads(content[start : start + lengths[part]])
        assert line["id"] == source[index].id


def test_order_and_balance_of_the_source_are_kept(source: Listed, tmp_path: Path) -> None:
    class Curriculum(Listed):
        ordered = True

        def balance(self) -> np.ndarray:
            return np.arange(1.0, 1 + len(self))

    shards = ShardedSource(shard(Curriculum(*source.samples), str(tmp_path / "a")))
    assert shards.ordered
    assert shards.balance() is not None
    np.testing.assert_array_equal(shards.balance(), np.arange(1.0, 10))  # type: ignore[arg-type]  # not None
    plain = ShardedSource(shard(source, str(tmp_path / "b")))
    assert not plain.ordered
    assert plain.balance() is None


@pytest.mark.slow  # each process imports torch
def test_processes_write_what_one_writes(source: Listed, tmp_path: Path) -> None:
    shards = ShardedSource(shard(source, str(tmp_path), "decoded", workers=2))
    for index in range(len(source)):
        assert_same(shards[index], source[index])


# --- what cannot be written ------------------------------------------------------------------------------------------


class Broken(RegionSource):
    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> RegionSample:
        return question("gone", Frames((Path("nowhere.jpg"),)))


def test_a_missing_file_names_its_sample_and_leaves_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"sample 'gone': nowhere.jpg: No such file"):
        shard(Broken(), str(tmp_path))
    assert not (tmp_path / "source.json").exists()
    with pytest.raises(DataError, match=r"source.json: not there"):
        len(ShardedSource(str(tmp_path)))


def test_a_sample_that_json_would_change_is_refused(tmp_path: Path) -> None:
    for name, meta, message in (
        ("pair", {"size": (1, 2)}, "would not come back from JSON as it is: meta"),
        ("set", {"size": {1, 2}}, "cannot be written as JSON: Object of type set"),
    ):
        sample = replace(question(name, NoPicture(), regions=()), meta=meta)
        with pytest.raises(DataError, match=f"sample '{name}': {message}"):
            shard(Listed(sample), str(tmp_path))
    inverted = question("box", NoPicture(), regions=(Region.at(Box((4.0, 0.0, 2.0, 8.0))),))
    with pytest.raises(
        DataError, match=r"sample 'box': cannot be written as JSON: regions\[0\].track\[0\].box: inverted"
    ):
        shard(Listed(inverted), str(tmp_path))


def test_shards_are_never_written_over(source: Listed, tmp_path: Path) -> None:
    shard(source, str(tmp_path))
    with pytest.raises(DataError, match=r"source.json: there are shards already"):
        shard(source, str(tmp_path))


def test_sampled_frames_are_not_sharded_again_as_files(source: Listed, tmp_path: Path) -> None:
    shards = ShardedSource(shard(source, str(tmp_path / "a"), "decoded"))
    with pytest.raises(DataError, match="its frames were sampled already"):
        shard(shards, str(tmp_path / "b"))


def test_a_large_item_has_a_chunk_of_its_own(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    for name in ("a", "b"):
        Image.fromarray(noise).save(tmp_path / f"{name}.png")
    samples = Listed(*(question(name, Frames((tmp_path / f"{name}.png",))) for name in ("a", "b")))
    with pytest.warns(UserWarning, match="larger than the target chunk size"):
        shards = ShardedSource(shard(samples, str(tmp_path / "shards"), chunk_bytes=1000))
    assert [chunk.items for chunk in shards._layout.chunks] == [1, 1]
    for index in range(2):
        assert_same(shards[index], samples[index])


def test_without_litdata_the_extra_is_named(source: Listed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "litdata", None)
    with pytest.raises(DataError, match=r"region-understanding\[streaming\]"):
        shard(source, str(tmp_path))


def test_storing_decodes_with_the_backend_that_was_asked_for(source: Listed) -> None:
    with pytest.raises(DataError, match="video backend 'none'"):
        Storing("decoded", 3, "none")([source[0]])  # type: ignore[arg-type]  # wrong on purpose
