"""`python cli.py ask`: questions about regions of one image or video."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from datamodules.errors import DataError
from datamodules.media.mask_picture import read_mask
from datamodules.types import Box, Geometry, Polygon, Region, RegionSample, Stroke
from experiments.config.parsers import CommandParser, add_generation, count, generation_of, positive

DRAWN = {".png", ".jpg", ".jpeg", ".pdf", ".svg"}


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


def parse_ring(text: str) -> Polygon:
    """`10,20,80,20,45,90` -> the polygon of these corners."""
    try:
        ring = tuple(float(number) for number in text.split(","))
    except ValueError:
        raise DataError(f"--polygon {text}: numbers x,y,x,y,x,y,... are needed") from None
    if len(ring) % 2 or len(ring) < 6:
        raise DataError(f"--polygon {text}: {len(ring)} numbers, an even number of at least 6 is needed")
    return Polygon((ring,))


def _box(text: str) -> tuple[Callable[[str], Geometry], str]:
    return parse_box, text  # read later: argparse hides what a reader has to say


def _polygon(text: str) -> tuple[Callable[[str], Geometry], str]:
    return parse_ring, text


def _mask(text: str) -> tuple[Callable[[str], Geometry], str]:
    return read_mask, text


def _stroke(text: str) -> tuple[Callable[[str], Geometry], str]:
    return parse_stroke, text


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    arguments = CommandParser(prog="python cli.py ask", description=__doc__)
    arguments.add_argument("--ckpt_path", type=Path, required=True, help="checkpoint of a trained model")
    media = arguments.add_mutually_exclusive_group(required=True)
    media.add_argument("--image", type=Path, dest="media", help="an image")
    media.add_argument("--video", type=Path, dest="media", help="a video, or a folder of frames")
    arguments.add_argument(
        "--box", type=_box, action="append", dest="regions", metavar="X0,Y0,X1,Y1", help="a region, in pixels"
    )
    arguments.add_argument(
        "--polygon", type=_polygon, action="append", dest="regions", metavar="X,Y,...", help="a region, by its corners"
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
    arguments.add_argument("--frame", type=count, default=0, help="frame of the video that the regions are on")
    arguments.add_argument("--num_frames", type=positive, help="most frames to look at")
    arguments.add_argument("--question", action="append", required=True, help="may be given several times, in turn")
    add_generation(arguments)
    arguments.add_argument("--draw", type=Path, metavar="PNG", help="picture of what was asked about")
    return arguments


def main(arguments: Sequence[str]) -> None:
    """Asks, and prints question and answer."""
    options = parser().parse_args(arguments)
    from datamodules.media.clips import media_at
    from lightning_modules.asking import ask
    from lightning_modules.checkpoints.loading import load

    if options.draw:
        _check_drawn(options.draw)
    geometries = [read(text) for read, text in options.regions or ()]
    regions = [Region.at(geometry, options.frame) for geometry in geometries]
    media_at(options.media)  # refuses what is not there before the model is loaded, which takes a while
    module = load(options.ckpt_path, generation_of(options))
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        sample = ask(module, options.media, regions, options.question, options.num_frames)
    for turn in sample.conversation:
        sys.stdout.write(f"{turn.question}\n  {turn.answer}\n")
    if options.draw:
        _draw(sample, options.draw, module.default_num_frames if options.num_frames is None else options.num_frames)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """In one line, without the line of source that it comes from."""
    sys.stderr.write(f"warning: {message}\n")


def _check_drawn(path: Path) -> None:
    """Refuses what could not be drawn before anything is asked."""
    if not path.parent.is_dir():
        raise DataError(f"--draw {path}: no such folder: {path.parent}")
    if path.suffix.lower() not in DRAWN:
        raise DataError(f"--draw {path}: a picture is drawn as {', '.join(sorted(DRAWN))}")


def _draw(sample: RegionSample, path: Path, num_frames: int) -> None:
    from datamodules.media.clips import read_clip
    from experiments.visualize.pictures import draw_sample

    clip = read_clip(sample.media, num_frames, sample.prompted_frames)
    draw_sample(sample, clip).savefig(path)
    sys.stdout.write(f"drawn to {path}\n")
