"""A source of samples about every kind of media, as real files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools.mask import encode

from datamodules.clusters import cluster_of
from datamodules.media.clips import read_clip
from datamodules.shards.storage import open_storage
from datamodules.shards.stored_media import Storing
from datamodules.shards.writer import write_shards
from datamodules.source import RegionSource
from datamodules.types import (
    Box,
    Clip,
    Frames,
    Mask,
    Media,
    NoPicture,
    Pixels,
    Polygon,
    Region,
    RegionSample,
    Turn,
    Video,
)
from helpers import Listed

NUM_FRAMES = 3
SHAPE = np.pad(np.ones((5, 7), np.uint8), ((3, 16), (4, 21)))
MASK = Mask((24, 32), encode(np.asfortranarray(SHAPE))["counts"])


def mixed_source(folder: Path) -> Listed:
    """Two images, three questions about one video and one about another, a frame folder, pixels, text, in turns."""
    folder.mkdir(parents=True, exist_ok=True)
    first, second = write_video(folder / "first.mp4", 12, 0), write_video(folder / "second.mkv", 7, 1)
    still = _write_turned(folder / "turned.jpg")
    frames = tuple(_write_picture(folder / "frames" / f"{number}.png", number) for number in range(6))
    noise = np.random.default_rng(5).integers(0, 256, (5, 24, 32, 3), dtype=np.uint8)
    return Listed(
        question("video-0", Video(first), frame=0),
        question("still", Frames((still,))),
        question("video-5", Video(first), frame=5),
        question("text", NoPicture(), regions=()),
        question("grey", Frames((_write_deep(folder / "deep.png"),))),
        question("span", Video(first, (2, 9)), frame=8),
        question("folder", Frames(frames, (1, 5)), frame=3),
        question("pixels", Pixels(noise, (1, 4)), frame=2),
        everything("other", Video(second)),
    )


def question(name: str, media: Media, frame: int = 0, regions: tuple[Region, ...] | None = None) -> RegionSample:
    """A plain question about one box on a frame."""
    if regions is None:
        regions = (Region.at(Box((0.0, 0.5, 8.0, 16.0)), frame),)
    return RegionSample(name, media, regions, (Turn("what", "ä cat"),), origin=f"file.jsonl:{len(name)}")


def everything(name: str, media: Media) -> RegionSample:
    """A sample that uses every field."""
    track = {2: None, 4: MASK, 6: Polygon(((0.0, 0.0, 4.5, 0.0, 4.0, 4.0), (6.0, 6.0, 8.0, 6.0, 8.0, 8.0)))}
    box = Box((1.0, 2.0, 3.0, 4.0))
    twice = Region({1: box, 3: MASK}, {2: None, 3: MASK})
    return RegionSample(
        id=name,
        media=media,
        regions=(Region.at(MASK, 1, "dog", track), Region.at(box, 1), Region.at(box, 1, track={1: MASK}), twice),
        conversation=(Turn("why", "so"), Turn("which", "<region1>", ("this \U0001f600", "that"))),
        options=("<region0>", "<region1>"),
        label=1,
        task="refer",
        group="motion",
        answering="letter",
        protocol="set, split",
        meta={"image": 7, "nested": {"a": [1, None, 0.1]}},
        origin="file.json: [3]",
    )


def write_video(path: Path, count: int, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"g": "4", "bf": "2"})
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        for _ in range(count):
            frame = av.VideoFrame.from_ndarray(_noise(rng), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def _write_picture(path: Path, seed: int) -> Path:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(_noise(np.random.default_rng(seed))).save(path)
    return path


def _write_turned(path: Path) -> Path:
    """A JPEG that EXIF turns upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(_noise(np.random.default_rng(9))).save(path, exif=exif)
    return path


def _write_deep(path: Path) -> Path:
    """16 bits a pixel."""
    Image.fromarray(np.arange(24 * 32, dtype=np.uint16).reshape(24, 32) * 80).save(path)
    return path


def _noise(rng: np.random.Generator) -> NDArray[np.uint8]:
    return rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)


# --- written and read -------------------------------------------------------------------------------------------------


def shard(
    source: RegionSource, place: str, form: str = "compressed", chunk_bytes: int = 16_000, workers: int = 0
) -> str:
    """Shards of a source at a folder or URL; small ones, so that there are several."""
    storing = Storing("decoded" if form == "decoded" else "compressed", NUM_FRAMES)
    write_shards(source, open_storage(place), storing, chunk_bytes, workers)
    return place


def clip_of(sample: RegionSample) -> Clip:
    return read_clip(sample.media, NUM_FRAMES, sample.prompted_frames)


def assert_same(found: RegionSample, wanted: RegionSample) -> None:
    """All fields but the media equal, what is shared by name, and the media's pixels bit for bit."""
    assert replace(found, media=wanted.media, cluster=wanted.cluster) == wanted
    assert found.cluster == cluster_of(wanted)
    assert found.media.span == wanted.media.span
    read, original = clip_of(found), clip_of(wanted)
    assert read.frames == original.frames
    assert read.pixels.dtype == original.pixels.dtype
    np.testing.assert_array_equal(read.pixels, original.pixels)
