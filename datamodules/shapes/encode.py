"""Scenes -> image and video files; what the writing processes run, so it imports little."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datamodules.shapes.render import render
from datamodules.shapes.scene import Kind, Split, make_scene, scene_rng

SUFFIXES: dict[Kind, str] = {"image": ".jpg", "video": ".mp4", "hard": ".mp4"}
FRAMES_PER_SECOND = 4


@dataclass(frozen=True, slots=True)
class SceneKey:
    """One scene of one split, and where its media file lies below the data set's root."""

    kind: Kind
    split: Split
    index: int

    @property
    def name(self) -> str:
        """Unique in the data set."""
        return f"{self.kind}-{self.split}-{self.index:05d}"

    @property
    def path(self) -> Path:
        """Relative to the root."""
        return Path(self.kind, self.split, f"{self.index:05d}{SUFFIXES[self.kind]}")


def write_media(root: Path, seed: int, key: SceneKey) -> None:
    """Renders one scene to its file; the folder is there."""
    frames, _ = render(make_scene(scene_rng(seed, key.split, key.kind, key.index), key.kind))
    if key.kind == "image":
        write_image(root / key.path, frames[0])
    else:
        write_video(root / key.path, frames)


def write_image(path: Path, frame: NDArray[np.uint8]) -> None:
    """Writes (H, W, 3) uint8 RGB as a JPEG with full colour resolution: small coloured things keep their edges."""
    from PIL import Image

    Image.fromarray(frame).save(path, quality=95, subsampling=0)


def write_video(path: Path, frames: NDArray[np.uint8]) -> None:
    """Writes (T, H, W, 3) uint8 RGB as an mp4 (H.264) without loss but for the change of colour space."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(FRAMES_PER_SECOND))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv444p"
        # lossless: with a lossy setting one file in some hundreds decoded to other pixels than the same frames before
        stream.options = {"qp": "0", "preset": "veryfast", "bf": "0"}
        # the writing processes are the parallel part
        stream.codec_context.thread_count = 1
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
