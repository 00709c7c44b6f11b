"""What samples share by their media, if they do not say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from datamodules.clusters import cluster_of
from datamodules.types import Frames, Media, NoPicture, PackedFile, Pixels, RegionSample, Sampled, Turn, Video


@dataclass(frozen=True)
class Packed(PackedFile):
    name: str

    def read(self) -> bytes:
        return b""

    def __str__(self) -> str:
        return f"all.zip: {self.name}"


def sample(name: str, media: Media, cluster: str = "") -> RegionSample:
    return RegionSample(name, media, (), (Turn("?"),), cluster=cluster)


A, B = Path("a/1.jpg"), Path("a/2.jpg")


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        (Frames((A,)), Frames((A,)), True),
        (Frames((A,)), Frames((B,)), False),  # two images of one folder
        (Frames((A, B)), Frames((B, Path("a/3.jpg"))), True),  # two clips of one folder of frames
        (Frames((A, B), (0, 1)), Frames((A, B), (1, 2)), True),
        (Frames((A, B)), Frames((Path("b/1.jpg"), Path("b/2.jpg"))), False),
        (Video(Path("v.mp4"), (0, 9)), Video(Path("v.mp4"), (9, 20)), True),
        (Video(Path("v.mp4")), Video(Path("w.mp4")), False),
        (Video(Packed("v.mp4")), Video(Packed("v.mp4"), (1, 2)), True),
        (Frames((Packed("f/1.jpg"), Packed("f/2.jpg"))), Frames((Packed("f/2.jpg"), Packed("f/3.jpg"))), True),
        (Sampled((A, B), (0, 4), 2), Sampled((B, A), (4, 9), 2), True),
        (Pixels(np.zeros((1, 2, 2, 3), np.uint8)), Pixels(np.zeros((1, 2, 2, 3), np.uint8)), False),
        (NoPicture(), NoPicture(), False),
    ],
)
def test_questions_about_one_file_or_folder_share_it(one: Media, other: Media, shared: bool) -> None:
    assert (cluster_of(sample("s", one)) == cluster_of(sample("t", other))) is shared


def test_what_a_sample_says_counts_and_no_source_changes_it() -> None:
    said = [sample("s", Video(Path(f"{clip}.mp4")), "film").with_id_prefix(f"source {clip}") for clip in "ab"]
    assert [cluster_of(one) for one in said] == ["film", "film"]
    assert cluster_of(sample("s", NoPicture()).with_id_prefix("talk")) == "talk/s"
