"""Which samples are no evidence independent of each other: those about one scene, image or source video.

A model that misreads a picture is wrong in all questions about it, so whole clusters are resampled, not single samples.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import assert_never

from datamodules.types import Frames, Media, NoPicture, Pixels, RegionSample, Sampled, Video


def cluster_of(sample: RegionSample) -> str:
    """The name of all that a sample is about, which others may be about as well.

    It is what the sample says, else the name of its media, whatever span of them it asks about; frames in memory and
    conversations without a picture are a sample's own. The same name in two sources means the same thing.
    """
    return sample.cluster or _media_name(sample.media) or sample.id


def _media_name(media: Media) -> str:
    """An image or video file, or the folder of several frames; empty where there is no file."""
    match media:
        case Video(path):
            return str(path)
        case Frames((path,)):
            return str(path)
        case Frames(files) | Sampled(files):
            return "" if not files else str(PurePath(str(files[0])).parent)
        case Pixels() | NoPicture():
            return ""
    assert_never(media)
