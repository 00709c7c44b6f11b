"""The page's events, as Gradio calls them."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datamodules.reading.geometry import parse_geometry
from datamodules.reading.rle import encoded
from datamodules.shapes.encode import write_video
from helpers import tiny_module
from lightning_modules.asking import ask
from lightning_modules.region_module import RegionModule

gr = pytest.importorskip("gradio")

BOX = {"frame": 0, "name": "", "box": [1, 2, 13, 9]}
OTHER = {"frame": 0, "name": "it", "polygon": [[0, 0, 9, 0, 4, 8]]}


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> RegionModule:
    return tiny_module(tmp_path_factory.mktemp("module")).eval()


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    write_video(path, np.random.default_rng(0).integers(0, 256, (6, 32, 48, 3), dtype=np.uint8))
    return str(path)


@pytest.fixture
def page(module: RegionModule) -> Any:
    from experiments.demo.page import _Page

    return _Page(module, "last.ckpt")


def test_a_video_opens_on_its_first_frame(page: Any, video: str) -> None:
    value, slider, turns, chat, *_ = page.open(video)
    assert (value["frame"], value["regions"], turns, chat) == (0, [], [], [])
    assert (value["picture"]["width"], value["picture"]["height"]) == (48, 32)
    assert slider["visible"] and slider["maximum"] == 5
    turned = page.turn_to(video, {**value, "regions": [BOX]}, 5)
    assert turned["frame"] == 5 and turned["regions"] == [BOX]
    first, last = (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(shown["picture"]["src"].split(",")[1]))))
        for shown in (value, turned)
    )
    assert first.shape == (32, 48, 3) and (first != last).any()


def test_an_answer_is_asks_and_the_heat_is_the_clips(page: Any, video: str, module: RegionModule) -> None:
    """Two turns: the second is asked with the first before it."""
    value = {"picture": {}, "frame": 0, "regions": [BOX, OTHER]}
    *_, last = page.ask(video, value, [], "what is <region0>", None)
    turns = last[1]
    *_, last = page.ask(video, value, turns, "and <region1>", "")
    chat, turns, question, _, heat, moment, large, strip, watched, command, program, record = last
    geometries = [region.prompts[0] for region in ask_regions(page, video)]
    wanted = ask(module, video, geometries, ["what is <region0>", "and <region1>"]).conversation
    assert [turn["answer"] for turn in turns] == [turn.answer for turn in wanted]
    assert question == "" and len(chat) == 4 and "[0]</span>" in chat[0]["content"]
    assert heat["visible"] and moment["maximum"] == 3 and len(strip["value"]) == 2 * 4
    assert isinstance(large, Image.Image) and len(watched.pixels) == 4
    assert "--polygon" in command and "Polygon(" in program and '"polygon"' in record


def ask_regions(page: Any, video: str) -> Any:
    from experiments.demo.request import Request

    return Request(Path(video), (BOX, OTHER), question="what").sample.regions


def test_options_have_probabilities(page: Any, video: str) -> None:
    value = {"picture": {}, "frame": 0, "regions": [BOX]}
    *_, last = page.ask(video, value, [], "what is <region>", "a cat\n\n a dog ")
    shares = last[3]
    assert list(shares["value"]) == ["a cat", "a dog"] and sum(shares["value"].values()) == pytest.approx(1)


def test_what_was_said_of_other_regions_is_forgotten(page: Any) -> None:
    turns = [{"question": "q", "answer": "a", "regions": [BOX]}]
    kept = page.marked(None, {"regions": [{**BOX, "name": "now named"}, OTHER]}, turns)
    assert kept == (gr.skip(), gr.skip(), gr.skip())
    assert page.marked(None, {"regions": [OTHER]}, turns) == (gr.skip(), [], [])


def test_a_click_becomes_the_mask_that_a_segmenter_finds(page: Any, video: str) -> None:
    """On the click's own frame; strokes stay, and so does a click on nothing."""
    asked: list[Any] = []

    def segmenter(clip: Any, regions: Any) -> Any:
        asked.append((clip.frames, regions))
        mask = encoded(np.pad(np.ones((8, 10), np.uint8), ((4, 20), (6, 32))))
        return ({clip.frames[0]: mask if clip.frames[0] == 3 else None},)

    page.segmenter = segmenter
    click = {"frame": 3, "name": "it", "stroke": {"points": [8, 9], "radius": 1}}
    elsewhere, line = {**click, "frame": 1}, {**click, "stroke": {"points": [8, 9, 10, 9], "radius": 1}}
    value = {"picture": {}, "frame": 3, "regions": [BOX, click, elsewhere, line]}
    shown, *_ = page.marked(video, value, [])
    assert [frames for frames, _ in asked] == [(3,), (1,)]
    assert shown["regions"][0] == BOX and shown["regions"][2:] == [elsewhere, line]
    mask = parse_geometry({"mask": shown["regions"][1]["mask"]}, "here")
    assert mask.bounds.xyxy == (6, 4, 16, 12) and shown["regions"][1]["name"] == "it"
    assert page.marked(video, shown, [])[0] == gr.skip()
    assert [frames for frames, _ in asked] == [(3,), (1,), (1,)]  # what has become a mask is not asked about again


@pytest.mark.parametrize(
    ("path", "regions", "question", "said"),
    [
        (None, [], "what", "nothing is open"),
        ("video", [], " ", "the question is empty"),
        ("video", [BOX], "what is <region3>", "region3"),
        ("video", [{**BOX, "box": [100, 100, 120, 120]}], "what is <region>", "120"),
        ("missing.png", [], "what", "No such file"),
    ],
)
def test_what_cannot_be_asked_is_said_on_the_page(
    page: Any, video: str, path: str | None, regions: list[Any], question: str, said: str
) -> None:
    value = {"picture": {}, "frame": 0, "regions": regions}
    with pytest.raises(gr.Error, match=said):
        list(page.ask(video if path == "video" else path, value, [], question, ""))


def test_a_broken_file_is_said_on_the_page(page: Any, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video at all")
    with pytest.raises(gr.Error, match=r"a\.mp4"):
        page.open(str(tmp_path / "a.mp4"))


def test_the_page_is_built_with_its_examples(module: RegionModule, video: str) -> None:
    """All events have as many outputs as their functions give: Gradio checks that when they happen."""
    from experiments.demo.page import build

    blocks = build(module, "last.ckpt", [Path(video)])
    assert {"canvas", "question", "chat"} <= {getattr(one, "elem_id", None) for one in blocks.blocks.values()}
