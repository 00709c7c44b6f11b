"""What the page's user has marked and asked, and the same as text to take away."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datamodules import Box, DataError, Polygon, Region, Stroke, Turn
from datamodules.formats.region_record import parse_record
from datamodules.shapes.encode import write_video
from experiments.commands import ask as ask_command
from experiments.demo.looks import coloured
from experiments.demo.request import LONGEST_QUESTION, Request, as_command, as_python, as_record

MARKED: tuple[dict[str, Any], ...] = (
    {"frame": 0, "name": "the cup", "box": [1.5, 2, 13, 9]},
    {"frame": 0, "name": "", "polygon": [[0, 0, 9, 0, 4, 8]]},
    {"frame": 0, "name": "", "stroke": {"points": [3, 4, 9, 9], "radius": 2}},
)
GEOMETRIES = (Box((1.5, 2, 13, 9)), Polygon(((0, 0, 9, 0, 4, 8),)), Stroke((3, 4, 9, 9), 2))


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "it's a photo.png"
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(path)
    return path


def test_a_request_is_a_sample(picture: Path) -> None:
    request = Request(picture, MARKED, (Turn("what is <region0>", "a cup"),), "and <region1> ?", ("a hat", "a cat"))
    sample = request.sample
    assert tuple(region.prompts[0] for region in sample.regions) == GEOMETRIES
    assert [region.category for region in sample.regions] == ["the cup", None, None]
    assert sample.conversation == (Turn("what is <region0>", "a cup"), Turn("and <region1> ?"))
    assert (sample.options, sample.label) == (("a hat", "a cat"), None)


@pytest.mark.parametrize(
    ("regions", "question", "said"),
    [
        (({"frame": 0, "box": [5, 5, 5, 9]},), "what is <region>", "inverted or empty"),
        ((), "what is <region3>", "region3"),
        ((), "?" * (LONGEST_QUESTION + 1), f"{LONGEST_QUESTION + 1} characters, {LONGEST_QUESTION} are the most"),
    ],
)
def test_what_cannot_be_asked_is_one_line(
    picture: Path, regions: tuple[dict[str, Any], ...], question: str, said: str
) -> None:
    with pytest.raises(DataError, match=said) as refused:
        _ = Request(picture, regions, question=question).sample
    assert "\n" not in str(refused.value)


def test_the_command_line_asks_the_same(picture: Path) -> None:
    """Read back by `ask`'s own parser, a file's name with blank and quote among it."""
    sample = Request(picture, MARKED, (Turn("is it '0'", "no"),), "what is <region2>").sample
    program, script, command, *words = shlex.split(as_command(sample, "last.ckpt"))
    assert (program, script, command) == ("python", "cli.py", "ask")
    options = ask_command.parser().parse_args(words)
    assert options.media == picture and options.question == ["is it '0'", "what is <region2>"]
    assert tuple(read(text) for read, text in options.regions) == GEOMETRIES


def test_what_a_command_line_cannot_say_is_remarked(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", np.zeros((3, 32, 32, 3), np.uint8))
    on_frames = ({**MARKED[0], "frame": 2}, {**MARKED[1], "frame": 1})
    assert "--frame 2" in as_command(Request(tmp_path / "a.mp4", on_frames[:1], question="what").sample, "c")
    assert as_command(Request(tmp_path / "a.mp4", on_frames, question="what").sample, "c").startswith(
        "# the regions lie on several"
    )


def test_the_program_asks_the_same(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []
    sample = Request(picture, ({**MARKED[0]}, *MARKED[1:]), question="what is <region2>").sample

    def record(*arguments: Any) -> Any:
        asked.append(arguments)
        return sample

    monkeypatch.setattr("lightning_modules.ask", record, raising=False)
    monkeypatch.setattr("lightning_modules.load", lambda path: f"loaded {path}", raising=False)
    exec(as_python(sample, "last.ckpt"), {})
    assert asked == [("loaded last.ckpt", str(picture), list(GEOMETRIES), ["what is <region2>"])]


def test_the_record_is_read_back(picture: Path) -> None:
    sample = Request(picture, MARKED, question="what is <region0>", options=("a", "b")).sample
    again = parse_record(json.loads(as_record(sample)), picture.parent, "here")
    assert (again.media, again.regions, again.conversation) == (sample.media, sample.regions, sample.conversation)


def test_mentions_have_their_regions_colour_and_text_stays_text() -> None:
    html = coloured("<b>is</b> <region1> & <region9>?\nyes", 2)
    assert html.startswith("&lt;b&gt;is&lt;/b&gt; <span") and html.endswith("?<br>yes")
    assert ">[1]</span>" in html and "&lt;region9&gt;" in html


def test_python_says_on_which_frame(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", np.zeros((3, 32, 32, 3), np.uint8))
    sample = Request(tmp_path / "a.mp4", ({**MARKED[0], "frame": 2},), question="what").sample
    assert sample.regions == (Region.at(GEOMETRIES[0], frame=2, category="the cup"),)
    assert "Region.at(Box(xyxy=(1.5, 2.0, 13.0, 9.0)), frame=2)" in as_python(sample, "c")
