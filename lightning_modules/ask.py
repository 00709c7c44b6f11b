"""Questions about regions of one image or video: `python cli.py ask`, and the same from Python."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from datamodules.types import Box, DataError, Frames, Geometry, Mask, Media, Region, RegionSample, Stroke, Turn, Video

if TYPE_CHECKING:
    from lightning_modules.region_module import RegionModule

PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
DRAWN = {".png", ".jpg", ".jpeg", ".pdf", ".svg"}


def ask(
    module: RegionModule,
    media: str | Path | Media,
    regions: Sequence[Region | Geometry],
    questions: Sequence[str],
    num_frames: int | None = None,
) -> RegionSample:
    """Answers questions in turn, each with the earlier ones and the model's own answers before it.

    Args:
        module: From `lightning_modules.load`.
        media: An image, a video, or a folder of frames.
        regions: What `<region0>`, `<region1>`, ... are (`<region>` if there is one); a bare geometry is on the first
            frame.
        questions: At least one.
        num_frames: Most frames of a clip; what the paper takes, four for a video module, if left out.

    Returns:
        The conversation: `sample.conversation[-1].answer` is the last answer.

    Raises:
        DataError: The file cannot be read, or a region does not fit it.
    """
    from datamodules.collate import Collate

    marked = tuple(region if isinstance(region, Region) else Region.at(region) for region in regions)
    source = media_at(media) if isinstance(media, str | Path) else media
    collate = Collate(module.vision)
    process = module.processor(module.default_num_frames if num_frames is None else num_frames)
    sample = RegionSample(str(media) if isinstance(media, str | Path) else "asked", source, marked, ())
    for question in questions:
        sample = replace(sample, conversation=(*sample.conversation, Turn(question)))
        answer = module.answer(collate([process(sample)])).predictions[0].prediction
        # a region that the model names is a mention from the next turn on
        said = module.renderer.as_mentions(answer, len(marked))
        sample = replace(sample, conversation=(*sample.conversation[:-1], Turn(question, said)))
    return sample


def media_at(path: str | Path) -> Media:
    """An image, a folder of frames in the order of their names, or else a video.

    Raises:
        DataError: Nothing is there, or a folder without pictures.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"no such file: {path}")
    if path.is_dir():
        frames = tuple(sorted(file for file in path.iterdir() if file.suffix.lower() in PICTURES))
        if not frames:
            raise DataError(f"no pictures in the folder {path}")
        return Frames(frames)
    return Frames((path,)) if path.suffix.lower() in PICTURES else Video(path)


def parse_box(text: str) -> Box:
    """`10,20,80,90` -> a box x0, y0, x1, y1 in pixels, half-open."""
    try:
        x0, y0, x1, y1 = (float(number) for number in text.split(","))
    except ValueError:
        raise DataError(f"--box {text}: four numbers x0,y0,x1,y1 are needed") from None
    return Box((x0, y0, x1, y1))


def parse_stroke(text: str) -> Stroke:
    """`40,60,5` -> the disc of 5 pixels around a point; `40,60,80,90,5` -> as wide a line on both sides."""
    try:
        *points, radius = (float(number) for number in text.split(","))
    except ValueError:
        raise DataError(f"--point {text}: numbers x,y,radius are needed, or x,y,x,y,...,radius") from None
    if len(points) % 2 or not points:
        raise DataError(f"--point {text}: {len(points)} numbers before the radius, an even number is needed")
    return Stroke(tuple(points), radius)


def read_mask(text: str) -> Mask:
    """`mask.png` -> every pixel that is not 0; `mask.png:2` -> the pixels with the value 2 (of a palette, its index).

    Raises:
        DataError: No such file, not a picture, or no such pixel.
    """
    import numpy as np
    from PIL import Image, UnidentifiedImageError
    from pycocotools import mask as coco_mask

    name, _, value = text.rpartition(":") if text.rpartition(":")[2].isdigit() else (text, "", "")
    try:
        with Image.open(name) as picture:
            values = np.asarray(picture if picture.mode in ("L", "P", "1", "I") else picture.convert("L"))
    except (OSError, UnidentifiedImageError) as error:
        raise DataError(f"--mask {text}: {error}") from None
    inside = values == int(value) if value else values != 0
    if not inside.any():
        raise DataError(f"--mask {text}: no pixel inside; the values are {np.unique(values).tolist()[:10]}")
    code = coco_mask.encode(np.asfortranarray(inside.astype(np.uint8)))
    return Mask((inside.shape[0], inside.shape[1]), code["counts"])


def _box(text: str) -> tuple[Callable[[str], Geometry], str]:
    return parse_box, text  # read later: argparse hides what a reader has to say


def _mask(text: str) -> tuple[Callable[[str], Geometry], str]:
    return read_mask, text


def _stroke(text: str) -> tuple[Callable[[str], Geometry], str]:
    return parse_stroke, text


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    arguments = argparse.ArgumentParser(prog="python cli.py ask", description=__doc__)
    arguments.add_argument("--ckpt_path", type=Path, required=True, help="checkpoint of a trained model")
    media = arguments.add_mutually_exclusive_group(required=True)
    media.add_argument("--image", type=Path, dest="media", help="an image")
    media.add_argument("--video", type=Path, dest="media", help="a video, or a folder of frames")
    arguments.add_argument(
        "--box", type=_box, action="append", dest="regions", metavar="X0,Y0,X1,Y1", help="a region, in pixels"
    )
    arguments.add_argument(
        "--point",
        type=_stroke,
        action="append",
        dest="regions",
        metavar="X,Y,RADIUS",
        help="a region, by a click of so many pixels on it; with further points before the radius by a stroke",
    )
    arguments.add_argument(
        "--mask", type=_mask, action="append", dest="regions", metavar="PNG[:VALUE]", help="a region, as a mask"
    )
    arguments.add_argument("--frame", type=int, default=0, help="frame of the video that the regions are on")
    arguments.add_argument("--num_frames", type=int, help="most frames to look at")
    arguments.add_argument("--question", action="append", required=True, help="may be given several times, in turn")
    arguments.add_argument("--draw", type=Path, metavar="PNG", help="picture of what was asked about")
    return arguments


def main(arguments: Sequence[str]) -> None:
    """Asks, and prints question and answer."""
    options = parser().parse_args(arguments)
    from lightning_modules.checkpoints import load

    if options.draw:
        _check_drawn(options.draw)
    geometries = [read(text) for read, text in options.regions or ()]
    regions = [Region.at(geometry, options.frame) for geometry in geometries]
    module = load(options.ckpt_path)
    sample = ask(module, options.media, regions, options.question, options.num_frames)
    for turn in sample.conversation:
        sys.stdout.write(f"{turn.question}\n  {turn.answer}\n")
    if options.draw:
        _draw(sample, options.draw, module.default_num_frames if options.num_frames is None else options.num_frames)


def _check_drawn(path: Path) -> None:
    """Refuses what could not be drawn before anything is asked."""
    if not path.parent.is_dir():
        raise DataError(f"--draw {path}: no such folder: {path.parent}")
    if path.suffix.lower() not in DRAWN:
        raise DataError(f"--draw {path}: a picture is drawn as {', '.join(sorted(DRAWN))}")


def _draw(sample: RegionSample, path: Path, num_frames: int) -> None:
    from datamodules.media import read_clip
    from experiments.pictures import draw_sample

    clip = read_clip(sample.media, num_frames, sample.prompted_frames)
    draw_sample(sample, clip).savefig(path)
    sys.stdout.write(f"drawn to {path}\n")
