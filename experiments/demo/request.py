"""What the page's user has put together: media, marked regions, questions; and the same as text to take away."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from datamodules.errors import DataError
from datamodules.formats.region_jsonl import dump_record
from datamodules.formats.region_record import parse_record
from datamodules.installation import COMMAND, PREFIX
from datamodules.media.pictures import is_picture
from datamodules.types import Box, Geometry, Mask, Polygon, Region, RegionSample, Stroke, Turn

LONGEST_QUESTION = 4000
"""Characters."""


@dataclass(frozen=True, slots=True)
class Request:
    """One question about marked regions, with what was asked before.

    Attributes:
        media: Path of an image or a video.
        regions: As in region_jsonl, with `name` in place of `category`.
        earlier: Turns that have been answered.
        question: The next one.
        options: To choose from, or empty.
    """

    media: Path
    regions: tuple[dict[str, Any], ...]
    earlier: tuple[Turn, ...] = ()
    question: str = ""
    options: tuple[str, ...] = ()

    @property
    def sample(self) -> RegionSample:
        """The request as a sample.

        Raises:
            DataError: A region cannot be, or the question mentions one that is not marked.
        """
        if len(self.question) > LONGEST_QUESTION:
            raise DataError(f"the question has {len(self.question)} characters, {LONGEST_QUESTION} are the most")
        turns = (*self.earlier, Turn(self.question))
        kind = "image" if is_picture(self.media) else "video"
        record = {
            "id": "asked",
            kind: self.media.name,
            "regions": [_written(region) for region in self.regions],
            "conversation": [{"question": turn.question, "answer": turn.answer} for turn in turns],
        }
        sample = parse_record(record, self.media.parent, "the page")
        return replace(sample, options=self.options, task="choice") if self.options else sample


def _written(region: dict[str, Any]) -> dict[str, Any]:
    written = {key: value for key, value in region.items() if key != "name"}
    return {**written, "category": region["name"]} if region.get("name") else written


# --- the same elsewhere -------------------------------------------------------------------------------------------


def as_command(sample: RegionSample, checkpoint: str) -> str:
    """The command line that asks the same.

    Regions on several frames, masks and options are beyond it: a remark says so.
    """
    kind = "--image" if is_picture(_path(sample)) else "--video"
    words = [*COMMAND.split(), "ask", "--ckpt_path", checkpoint, kind, str(_path(sample))]
    for region in sample.regions:
        for geometry in region.prompts.values():
            words += _flag(geometry)
    frames = sample.prompted_frames
    words += ["--frame", str(frames[0])] if frames not in ((), (0,)) else []
    for turn in sample.conversation:
        words += ["--question", turn.question]
    remarks = ["# the regions lie on several frames, which takes Python\n"] if len(frames) > 1 else []
    masks = [
        geometry for region in sample.regions for geometry in region.prompts.values() if isinstance(geometry, Mask)
    ]
    remarks += ["# masks take Python, or a picture each\n"] if masks else []
    remarks += ["# the options take Python or predict\n"] if sample.options else []
    return "".join(remarks) + shlex.join(words)


def as_python(sample: RegionSample, checkpoint: str) -> str:
    """The program that asks the same."""
    regions = "".join(f"    {_code(region)},\n" for region in sample.regions)
    questions = "".join(f"    {turn.question!r},\n" for turn in sample.conversation)
    return (
        f"from {PREFIX}datamodules import Box, Mask, Polygon, Region, Stroke\n"
        f"from {PREFIX}lightning_modules import ask, load\n\n"
        f"regions = [\n{regions}]\nquestions = [\n{questions}]\n"
        f"asked = ask(load({checkpoint!r}), {str(_path(sample))!r}, regions, questions)\n"
        "for turn in asked.conversation:\n    print(turn.question, '->', turn.answer)\n"
    )


def as_record(sample: RegionSample) -> str:
    """Its line of region_jsonl, without options: which is right is not known."""
    return json.dumps(dump_record(replace(sample, options=(), task="answer"), _path(sample).parent))


def _path(sample: RegionSample) -> Path:
    media = sample.media
    path = media.path if hasattr(media, "path") else media.paths[0]  # type: ignore[union-attr]  # a video, or a picture
    return Path(str(path))


def _flag(geometry: Geometry) -> list[str]:
    match geometry:
        case Box(numbers):
            return ["--box", _numbers(numbers)]
        case Stroke(points, radius):
            return ["--point", _numbers((*points, radius))]
        case Polygon(rings):
            return [word for ring in rings for word in ("--polygon", _numbers(ring))]
    return []  # a mask


def _numbers(numbers: tuple[float, ...]) -> str:
    return ",".join(f"{number:g}" for number in numbers)


def _code(region: Region) -> str:
    ((frame, geometry),) = region.prompts.items()
    return f"Region.at({geometry!r}, frame={frame})" if frame else repr(geometry)
