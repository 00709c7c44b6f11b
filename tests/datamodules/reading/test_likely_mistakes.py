"""What is valid and hardly ever meant: said of each sample, and never refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from datamodules.reading.likely_mistakes import likely_mistakes
from datamodules.types import Box, Frames, Geometry, Mask, Polygon, Region, RegionSample, Stroke, Turn

SOUND = RegionSample(
    "one",
    Frames((Path("a.jpg"),)),
    (Region.at(Box((3, 4, 20, 30))), Region.at(Box((0, 0, 9, 1)))),
    (Turn("What is <region0> doing to <region1>, 3 < 4, <b>this</b>?", "It chases <region1>."),),
)


def _regions(*geometries: Geometry) -> dict[str, Any]:
    return {"regions": tuple(map(Region.at, geometries))}


def _asks(question: str, answer: str = "it") -> dict[str, Any]:
    return {"conversation": (*SOUND.conversation, Turn(question, answer))}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_regions(Box((0.1, 0.2, 0.5, 1)), Box((3, 4, 20, 30))), ["regions[0]: all coordinates are within 0 and 1"]),
        (_regions(Polygon(((0, 0, 1, 0, 0.5, 1),)), Stroke((0.5, 0.5), 5)), ["regions[0]: all", "regions[1]: all"]),
        (
            {"regions": (replace(SOUND.regions[0], track={0: None, 7: Box((0, 0, 0.5, 1))}), SOUND.regions[1])},
            ["regions[0]: all coordinates are within 0 and 1"],
        ),
        (_regions(*[Box((3, 4, 20, 30))] * 4), ["regions[2]: no turn mentions it", "regions[3]: no turn mentions it"]),
        (_regions(*[Box((3, 4, 20, 30))] * 3) | {"options": ("<region02>", "none")}, []),
        (_asks("And <Region0>?"), ["conversation[1].question: '<Region0>' is read as text, a mention is '<region0>'"]),
        (_asks("And <region_0>?"), ["conversation[1].question: '<region_0>' is read"]),
        (_asks("And?", "<regions1>, <REGION>"), ["conversation[1].answer: '<regions1>'", ".answer: '<REGION>'"]),
        ({"options": ("<region 1>", "none")}, ["options[0]: '<region 1>' is read as text"]),
        (_asks("<image>\nWho?"), ["conversation[1].question: '<image>' is read as text: pictures come before"]),
        (_asks("<|video_pad|> Who?"), ["conversation[1].question: '<|video_pad|>' is read as text"]),
        ({"task": "captoin"}, ["task: 'captoin' is a name of one's own, the nearest is caption"]),
        ({"task": "count"}, []),
        (_asks("Who is < region0>, in an <image of it?"), []),  # as formats write text that is no mention
    ],
)
def test_each_is_said(change: dict[str, Any], said: list[str]) -> None:
    """Regression: the doctor passed them, and a model was trained on regions of one pixel."""
    found = likely_mistakes(replace(SOUND, **change))
    assert len(found) == len(said)
    assert all(expected in mistake for expected, mistake in zip(said, found, strict=True)), found


def test_a_region_alone_may_be_mentioned_without_a_number() -> None:
    alone = replace(SOUND, regions=SOUND.regions[:1], conversation=(Turn("What is <region>?", "it"),))
    assert likely_mistakes(alone) == []


def test_masks_and_regions_that_begin_in_the_corner_pixel_are_no_mistakes() -> None:
    sample = replace(SOUND, regions=(Region.at(Mask((9, 9), b"a")), Region.at(Box((0, 0, 1, 2)))))
    assert likely_mistakes(sample) == []
