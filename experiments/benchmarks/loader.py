"""What the data path costs on top of decoding: `python -m experiments.benchmarks.loader [--video FILE]`.

Samples a second from a clip on disk to a batch (source, processor, collate) over bare decoding of the same frames of
the same clip with the same decoder; both give the same pixels. Without regions, with four boxes on the prompted frame,
and with four masks that are tracked over all frames; then with loader processes, over the same decoding in one.

The clip is 10 s of 720p with a key frame every 30, written here, unless a file is given.

What the profile says, on one thread: without regions 88 % is decoding and 3 % opening the file, which bare decoding has
too; 2.5 % was normalisation, before the model's device did it, 2 % resizing, 2 % collating, 1 % the index of frames.
Four boxes add 3 %. Four tracked masks are 16 masks a sample; `region_cost --masks` has what each costs.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from datamodules.batching.batch import RegionBatch
from datamodules.batching.collate import Collate
from datamodules.batching.dataset import RegionDataset
from datamodules.batching.processor import RegionProcessor
from datamodules.batching.sampling import EvaluationSampler
from datamodules.errors import DataError
from datamodules.media.clips import Backend, count_frames, frame_size, read_clip, sample_frames
from datamodules.prompting.conversation import ConversationRenderer
from datamodules.prompting.prompt_styles import prompt_style
from datamodules.source import RegionSource
from datamodules.types import Box, Geometry, Mask, Region, RegionSample, Turn, Video
from experiments.benchmarks.markdown import table
from experiments.benchmarks.timing import in_turn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FRAMES, BATCH = 4, 4
RATE, KEY_FRAME_EVERY = 30, 30
KINDS = ("no region", "four boxes", "four tracked masks")
HEADER = ("", "workers", "data path / bare decoding", "95 %", "samples/s")


# --- the clip -------------------------------------------------------------------------------------------------------


def write_clip(path: Path, width: int = 1280, height: int = 720, frames: int = 300) -> None:
    """Waves that travel over a coarse mosaic, as H.264 of the rate that such clips have on the web."""
    import av

    mosaic = np.random.default_rng(0).integers(0, 96, (height // 16 + 1, width // 16 + 1, 3), dtype=np.uint8)
    ground = mosaic.repeat(16, 0).repeat(16, 1)[:height, :width]
    rows, columns = np.ogrid[:height, :width]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("h264", rate=RATE, options={"g": str(KEY_FRAME_EVERY), "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(frames):
            waves = np.sin((columns + 5 * number) / 40) + np.cos((rows - 3 * number) / 30)
            picture = ground + (36 * waves + 80)[:, :, None].astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def decode(path: Path, numbers: Sequence[int], backend: Backend) -> NDArray[np.uint8]:
    """(T, H, W, 3): the frames as one would decode them in a few lines, from the key frame before each of them."""
    if backend == "decord":
        import decord

        decoded: NDArray[np.uint8] = decord.VideoReader(str(path), num_threads=1).get_batch(list(numbers)).asnumpy()
        return decoded
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.average_rate is not None and stream.time_base is not None
        unit = float(1 / stream.average_rate / stream.time_base)
        stream.codec_context.thread_count = 1
        pictures = []
        for number in numbers:
            time = round(number * unit) + (stream.start_time or 0)
            container.seek(time, stream=stream)
            frame = next(frame for frame in container.decode(stream) if frame.pts is not None and frame.pts >= time)
            pictures.append(frame.to_ndarray(format="rgb24"))
        return np.stack(pictures)


# --- the data path --------------------------------------------------------------------------------------------------


class OneClip(RegionSource):
    """The same question about the same clip, again and again.

    Args:
        path: The video.
        count: How often.
        regions: What is asked about.
    """

    def __init__(self, path: Path, count: int, regions: tuple[Region, ...]) -> None:
        self.path = path
        self.count = count
        self.regions = regions

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> RegionSample:
        mentions = " and ".join(f"<region{number}>" for number in range(len(self.regions)))
        turn = Turn(f"What is going on with {mentions or 'them'}?", "They are walking towards the camera.")
        return RegionSample(str(index), Video(self.path), self.regions, (turn,))


def make_regions(kind: str, size: tuple[int, int], numbers: Sequence[int]) -> tuple[Region, ...]:
    """Four regions in a row, or none; size: (height, width) of a frame."""
    if kind == KINDS[0]:
        return ()
    height, width = size
    boxes = [(width * k / 5, height / 4, width * (k + 1.5) / 5, height * 0.8) for k in range(4)]
    geometries: list[Geometry] = [Box(box) if kind == KINDS[1] else _ellipse(box, size) for box in boxes]
    tracked = numbers[1:] if kind == KINDS[2] else ()
    return tuple(Region.at(geometry, numbers[0], track=dict.fromkeys(tracked, geometry)) for geometry in geometries)


def _ellipse(box: tuple[float, float, float, float], size: tuple[int, int]) -> Mask:
    from pycocotools import mask as coco_mask

    x0, y0, x1, y1 = box
    rows, columns = np.ogrid[: size[0], : size[1]]
    inside = ((2 * columns - x0 - x1) / (x1 - x0)) ** 2 + ((2 * rows - y0 - y1) / (y1 - y0)) ** 2 <= 1
    return Mask(size, coco_mask.encode(np.asfortranarray(inside.astype(np.uint8)))["counts"])


def make_loader(source: RegionSource, backend: Backend, workers: int) -> DataLoader[Any]:
    """The loader as the data module makes it, with the tokens and sides of LLaVA-1.5."""
    from lightning_modules.bases.llava import IMAGE, SquareVision

    tokenizer, vision = _tokenizer(), SquareVision(side=336, patch=14)
    renderer = ConversationRenderer(tokenizer, prompt_style("vicuna", tokenizer, vision.placeholder))
    processor = RegionProcessor(renderer, vision, [tokenizer.convert_tokens_to_ids(IMAGE)], FRAMES, backend)
    return DataLoader(
        RegionDataset({"clip": source}, processor),
        batch_size=BATCH,
        sampler=EvaluationSampler([source]),
        num_workers=workers,
        collate_fn=Collate(vision),
        persistent_workers=workers > 0,
        multiprocessing_context="spawn" if workers else None,
    )


def _tokenizer() -> PreTrainedTokenizerBase:
    from lightning_modules.bases.loading import BaseModel, load_tokenizer

    return load_tokenizer(BaseModel(architecture={"text_config": {}}, tokenizer="bytes"))


def consume(loader: DataLoader[RegionBatch]) -> int:
    """Reads one epoch; returns how many samples there were."""
    return sum(len(batch) for batch in loader)


# --- the comparison -------------------------------------------------------------------------------------------------


def check_pixels(path: Path, numbers: Sequence[int], backend: Backend) -> None:
    """Both sides of the comparison see the same frames, to the last bit.

    Raises:
        DataError: They do not, as in a video whose frame rate varies.
    """
    clip = read_clip(Video(path), FRAMES, (), backend)
    if clip.frames != tuple(numbers) or not np.array_equal(clip.pixels, decode(path, numbers, backend)):
        raise DataError(f"{path}: frames {list(clip.frames)} are not the pictures that decoding {list(numbers)} gives")


def compare(path: Path, backend: Backend, samples: int, repeats: int, workers: Sequence[int]) -> list[list[str]]:
    """The rows of the table; bare decoding runs in this process and by one thread, as each worker does."""
    video = Video(path)
    numbers = sample_frames(0, count_frames(video), FRAMES)
    check_pixels(path, numbers, backend)

    def bare() -> None:
        for _ in range(samples):
            decode(path, numbers, backend)

    rows = []
    for kind, count in [(kind, 0) for kind in KINDS] + [(KINDS[0], count) for count in workers]:
        source = OneClip(path, samples, make_regions(kind, frame_size(video), numbers))
        paired = in_turn(bare, partial(consume, make_loader(source, backend, count)), repeats)
        low, high = paired.interval
        speed = samples / statistics.median(paired.second)
        rows.append([kind, str(count), f"{paired.ratio:.2f}", f"{low:.2f} to {high:.2f}", f"{speed:.1f}"])
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a row for each kind of regions, then one for each number of workers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, help="another clip than the one written here")
    parser.add_argument("--backend", choices=("decord", "pyav"), default="pyav", help="decoder (%(default)s)")
    parser.add_argument("--samples", type=int, default=32, help="of one run (%(default)s)")
    parser.add_argument("--repeats", type=int, default=7, help="runs of each side (%(default)s)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="loader processes (%(default)s)")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)  # as in a worker
    with tempfile.TemporaryDirectory() as folder:
        path = asked.video or Path(folder) / "clip.mp4"
        if asked.video is None:
            write_clip(path)
        rows = compare(path, asked.backend, asked.samples, asked.repeats, asked.workers)
    sys.stdout.write(table(HEADER, rows))


if __name__ == "__main__":
    main()
