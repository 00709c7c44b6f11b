"""`ask` from Python: what people hand over, and what is refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datamodules import Box, DataError, Pixels
from experiments.commands.ask import main
from helpers import tiny_module
from lightning_modules.asking import ask
from lightning_modules.region_module import RegionModule

PICTURE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> RegionModule:
    return tiny_module(tmp_path_factory.mktemp("module")).eval()


def test_a_text_is_one_question(module: RegionModule) -> None:
    """Each of its characters was a turn: 17 answers to `What is <region>?`."""
    asked = ask(module, Pixels(PICTURE[None]), [Box((1, 2, 9, 9))], "What is <region>?")
    assert [turn.question for turn in asked.conversation] == ["What is <region>?"]


def test_pictures_in_memory_are_media(module: RegionModule, tmp_path: Path) -> None:
    """An array and PIL's picture answer as the same pixels in a file do; what a file was called drew other marks."""
    for name in ("a.png", "b.png"):
        Image.fromarray(PICTURE).save(tmp_path / name)
    box, question = [Box((1, 2, 9, 9))], "What is <region>?"
    wanted = ask(module, Pixels(PICTURE[None]), box, question).conversation
    opened = Image.open(tmp_path / "a.png").convert("RGBA")
    for media in (PICTURE, PICTURE[None], Image.fromarray(PICTURE), opened, tmp_path / "a.png", tmp_path / "b.png"):
        assert ask(module, media, box, question).conversation == wanted
    video = ask(module, np.repeat(PICTURE[None], 6, 0), box, question, num_frames=3)
    assert isinstance(video.media, Pixels) and len(video.media.array) == 6


def test_what_is_likely_a_mistake_is_said_in_one_line(module: RegionModule) -> None:
    """A region that no question mentions was asked about in silence."""
    with pytest.warns(UserWarning, match="perhaps") as said:
        ask(module, PICTURE, [Box((1, 2, 9, 9)), Box((0, 0, 1, 0.5))], ["What is <region0>?", "And?"])
    assert [str(warning.message) for warning in said] == [
        "perhaps a mistake: regions[1]: all coordinates are within 0 and 1, pixels are expected;"
        " regions[1]: no turn mentions it"
    ]


def test_on_the_command_line_it_is_one_line_too(
    module: RegionModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lightning_modules.checkpoints.loading.load", lambda *_: module)
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    given = ["--ckpt_path=x", f"--image={tmp_path}/a.png", "--box=1,2,9,9"]
    main([*given, "--question=What is <region>?"])
    assert capsys.readouterr().err == ""
    main([*given, "--question=What is <Region>?"])
    said = "conversation[0].question: '<Region>' is read as text, a mention is '<region>'"
    assert capsys.readouterr().err == f"warning: perhaps a mistake: regions[0]: no turn mentions it; {said}\n"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"media": PICTURE[..., 0]}, r"shape \(20, 30\) and type uint8"),
        ({"media": PICTURE.astype(np.float32)}, "type float32"),
        ({"media": PICTURE.transpose(2, 0, 1)}, r"shape \(3, 20, 30\)"),
        ({"media": PICTURE[:0]}, r"shape \(0, 30, 3\)"),
        ({"media": "nowhere.png"}, "no such file: nowhere.png"),
        ({"questions": []}, r"questions \[\]: at least one"),
        ({"questions": ["What?", " "]}, "at least one is needed, and text in each"),
        ({"num_frames": 0}, "num_frames is 0; it has to be at least 1"),
        ({"regions": [Box((1, 2, 90, 9))]}, r"^sample 'asked': region 0 on frame 0: box .* lies outside"),
    ],
)
def test_what_cannot_be_asked_is_one_error(module: RegionModule, change: dict[str, Any], said: str) -> None:
    """Errors began with `sample: sample`."""
    given = {"media": PICTURE, "regions": [Box((1, 2, 9, 9))], "questions": "What is <region>?", **change}
    with pytest.raises(DataError, match=said):
        ask(module, **given)


def test_threads_that_ask_one_module_wait_for_each_other(module: RegionModule) -> None:
    """Each told the language model of its regions by the same hook: what two asked at once was answered by neither."""
    boxes = [[Box((1, 2, 9, 9))], [Box((3, 3, 20, 18))], [Box((12, 1, 29, 15))], [Box((0, 10, 8, 20))]] * 4
    wanted = [ask(module, PICTURE, box, "What is <region>?").conversation for box in boxes]
    with ThreadPoolExecutor(4) as threads:
        asked = list(threads.map(lambda box: ask(module, PICTURE, box, "What is <region>?").conversation, boxes))
    assert asked == wanted
