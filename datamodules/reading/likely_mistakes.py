"""What is valid in a sample and hardly ever meant."""

from __future__ import annotations

import re
from collections.abc import Iterator

from datamodules.errors import nearest
from datamodules.prompting.placeholders import PLACEHOLDER
from datamodules.types import TASKS, Box, Geometry, Polygon, Region, RegionSample, Stroke

# not behind a blank: formats write text that is no mention as `< region0>`
_NEARLY_A_MENTION = re.compile(r"<regions?[\s_:-]*(\d*)\s*>", re.IGNORECASE | re.ASCII)
_A_PICTURE = re.compile(r"<(?:image|video)>|<\|(?:image|video)\w*\|>", re.IGNORECASE)


def likely_mistakes(sample: RegionSample) -> list[str]:
    """What of a sample that passes every check was perhaps not meant, one line each."""
    return [*_relative(sample), *_unmentioned(sample), *_odd_tags(sample), *_misspelt_task(sample)]


def _relative(sample: RegionSample) -> Iterator[str]:
    """Coordinates of the unit square: somebody has divided by the frame's size."""
    for number, region in enumerate(sample.regions):
        if any(_is_relative(geometry) for geometry in _geometries(region)):
            yield f"regions[{number}]: all coordinates are within 0 and 1, pixels are expected"


def _geometries(region: Region) -> Iterator[Geometry]:
    yield from region.prompts.values()
    yield from (place for place in region.track.values() if place is not None)


def _is_relative(geometry: Geometry) -> bool:
    match geometry:
        case Box(numbers) | Stroke(numbers):
            return all(0 <= number <= 1 for number in numbers)
        case Polygon(rings):
            return all(0 <= number <= 1 for ring in rings for number in ring)
    return False


def _unmentioned(sample: RegionSample) -> Iterator[str]:
    digits = {found for _, text in _texts(sample) for found in PLACEHOLDER.findall(text)}
    mentioned = {found.lstrip("0") or "0" for found in digits}  # a bare mention is of the only region
    for number in range(len(sample.regions)):
        if str(number) not in mentioned:
            yield f"regions[{number}]: no turn mentions it"


def _odd_tags(sample: RegionSample) -> Iterator[str]:
    for where, text in _texts(sample):
        for found in _NEARLY_A_MENTION.finditer(text):
            if not PLACEHOLDER.fullmatch(found[0]):
                yield f"{where}: {found[0]!r} is read as text, a mention is '<region{found[1]}>'"
    for number, turn in enumerate(sample.conversation):
        for tag in _A_PICTURE.findall(turn.question):
            yield f"conversation[{number}].question: {tag!r} is read as text: pictures come before the first question"


def _misspelt_task(sample: RegionSample) -> Iterator[str]:
    if sample.task not in TASKS and (near := nearest(sample.task, TASKS)):
        yield f"task: {sample.task!r} is a name of one's own{near}"


def _texts(sample: RegionSample) -> Iterator[tuple[str, str]]:
    """What the model reads, and where it stands."""
    for number, turn in enumerate(sample.conversation):
        yield f"conversation[{number}].question", turn.question
        yield f"conversation[{number}].answer", turn.answer
    for index, option in enumerate(sample.options):
        yield f"options[{index}]", option
