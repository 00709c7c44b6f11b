"""What of an image or a video goes into a shard."""

from __future__ import annotations

import io
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, assert_never

from datamodules.clusters import cluster_of
from datamodules.errors import DataError
from datamodules.media.clips import Backend, clip_of
from datamodules.media.video_backends import Picture
from datamodules.shards.item import StoredMedia
from datamodules.shards.layout import Form
from datamodules.shards.sample_text import dump_sample
from datamodules.types import File, Frames, NoPicture, Pixels, RegionSample, Sampled, Video


def media_key(sample: RegionSample) -> Hashable | None:
    """The same for samples about the same files, whatever part of them they ask about; None for no file."""
    match sample.media:
        case Video(path):
            return "video", path
        case Frames(paths):
            return "frames", paths
        case Sampled(files, numbers, asked):
            return "sampled", files, numbers, asked
        case Pixels() | NoPicture():
            return None
    assert_never(sample.media)


@dataclass(frozen=True, slots=True)
class Storing:
    """Stores the media of samples about the same files.

    Attributes:
        form: `compressed` keeps files as they are. `decoded` keeps of a clip only the frames that sampling picks, each
            as a picture without loss, so that reading needs no video decoder. A still image is its file either way.
        num_frames: Frames of a clip, for `decoded`.
        backend: Video decoder.
    """

    form: Form
    num_frames: int
    backend: Backend | None = None

    def __call__(self, samples: Sequence[RegionSample]) -> tuple[StoredMedia, list[dict[str, Any]]]:
        """What is stored, and every sample as JSON.

        Raises:
            DataError: A file cannot be read; the sample is named.
        """
        if self.form == "compressed" or _is_kept(samples[0]):
            lines = [_line(sample) for sample in samples]
            return _compressed(samples), lines
        return self._decoded(samples)

    def _decoded(self, samples: Sequence[RegionSample]) -> tuple[StoredMedia, list[dict[str, Any]]]:
        files: dict[int, bytes] = {}
        lines = []
        for sample in samples:
            clip = _read_clip(sample, self.num_frames, self.backend)
            for number, picture in zip(clip.frames, clip.pixels, strict=True):
                if number not in files:
                    files[number] = _frame_file(sample, number, picture)
            lines.append(_line(sample) | {"frames": clip.frames})
        return StoredMedia("sampled", (_name(samples[0]),), files, self.num_frames), lines


def _line(sample: RegionSample) -> dict[str, Any]:
    """A sample as JSON; its media will have other names, so what it shares is told by those they have now."""
    return dump_sample(replace(sample, cluster=cluster_of(sample))) | {"span": sample.media.span}


def _is_kept(sample: RegionSample) -> bool:
    """Whether there is nothing to choose: no picture, or one that is a file."""
    media = sample.media
    return isinstance(media, NoPicture) or (isinstance(media, Frames) and len(media.paths) == 1)


def _compressed(samples: Sequence[RegionSample]) -> StoredMedia:
    sample = samples[0]
    match sample.media:
        case Video(path):
            return StoredMedia("video", (str(path),), {0: _content(path, sample)})
        case Frames(paths):
            spans = [one.media.span or (0, len(paths)) for one in samples]
            needed = sorted({number for span in spans for number in range(*span)})
            return StoredMedia("frames", tuple(map(str, paths)), {n: _content(paths[n], sample) for n in needed})
        case Pixels(array):
            names = tuple(f"{sample.id}, frame {number}" for number in range(len(array)))
            return StoredMedia("frames", names, {number: _png(picture) for number, picture in enumerate(array)})
        case NoPicture():
            return StoredMedia("none")
        case Sampled():
            raise sample.error("its frames were sampled already: shard the source that they came from")
    assert_never(sample.media)


def _read_clip(sample: RegionSample, num_frames: int, backend: Backend | None) -> Any:
    try:
        return clip_of(sample, num_frames, backend)
    except DataError as error:
        raise sample.error(str(error)) from None


def _name(sample: RegionSample) -> str:
    match sample.media:
        case Video(path):
            return str(path)
        case Frames(paths):
            return str(paths[0])
        case Pixels() | NoPicture():
            return sample.id
        case Sampled(files):
            return str(files[0])
    assert_never(sample.media)


def _frame_file(sample: RegionSample, number: int, picture: Picture) -> bytes:
    media = sample.media
    return _content(media.paths[number], sample) if isinstance(media, Frames) else _png(picture)


def _content(file: File, sample: RegionSample) -> bytes:
    try:
        return file.read_bytes() if isinstance(file, Path) else file.read()
    except OSError as error:
        raise sample.error(f"{file}: {error.strerror}") from error


def _png(picture: Picture) -> bytes:
    from PIL import Image

    content = io.BytesIO()
    # level 1: larger files by a few per cent, written several times faster
    Image.fromarray(picture).save(content, "png", compress_level=1)
    return content.getvalue()
