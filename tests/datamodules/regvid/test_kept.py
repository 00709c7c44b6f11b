"""What was made of videos is not made again: not on resume, not by another decoder, not where files have moved."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from chat_models import USUAL, Reply, counts, models, unwatched, videos
from datamodules.errors import DataError
from datamodules.regvid import mark as marking
from datamodules.regvid.accounts import STAGES, Stage
from datamodules.regvid.kept import Kept, Painted, Told
from datamodules.regvid.mark import Mark
from datamodules.regvid.models import ChatRequest, Models, Role
from datamodules.regvid.options import Options
from datamodules.regvid.prompts import BUILT_IN
from datamodules.regvid.run import Result, Run
from datamodules.regvid.videos import Videos
from datamodules.types import Box, Clip, Mask, Region


class Everywhere:
    """Finds every region in the left half of every frame but the last; counts how often it is asked."""

    options: Mapping[str, Any] = {"model": "left"}

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, clip: Clip, regions: tuple[Region, ...]) -> tuple[Mapping[int, Mask | None], ...]:
        self.asked += 1
        inside = np.zeros(clip.pixels.shape[1:3], np.uint8, order="F")
        inside[:, : inside.shape[1] // 2] = 1
        found = Mask((inside.shape[0], inside.shape[1]), coco_mask.encode(inside)["counts"])
        return tuple({frame: None if frame == clip.frames[-1] else found for frame in clip.frames} for _ in regions)


class Decoded:
    """Counts what is decoded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = 0
        real = marking.clip_of

        def counted(*arguments: Any) -> Clip:
            self.times += 1
            return real(*arguments)

        monkeypatch.setattr(marking, "clip_of", counted)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Decoded:
    return Decoded(monkeypatch)


@pytest.fixture
def data(tmp_path: Path) -> Videos:
    return videos(tmp_path / "data", names=("a", "b"))


def carry_out(
    to: Path, made: Models, data: Videos, masklets: Everywhere, stages: tuple[Stage, ...] = STAGES, **options: Any
) -> Result:
    """A run with real marks."""
    chosen = Options(**{"to": to, "models": made, **USUAL, **options})
    return Run(chosen, Mark(frames=2, side=32, masklets=masklets), stages).carry_out(data, unwatched)


def test_a_run_that_goes_on_decodes_nothing_and_follows_nothing(data: Videos, decoded: Decoded, tmp_path: Path) -> None:
    """Every start decoded all videos and asked SAM 2 about them, to find out that they were answered."""
    made, fakes = models()
    masklets = Everywhere()
    carry_out(tmp_path / "whole", models()[0], data, Everywhere())
    decoded.times = 0
    for stages in (("describe",), STAGES, STAGES):
        carry_out(tmp_path / "out", made, data, masklets, stages)
    assert (decoded.times, masklets.asked) == (2, 2)
    assert sum(counts(fakes).values()) == 2 * (1 + 2 * 3 + 1)
    for name in ("samples.jsonl", "regions.jsonl"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert b"counts" in (tmp_path / "out" / "samples.jsonl").read_bytes(), "the masks are in the tracks"


def test_frames_are_made_again_where_a_question_changes(data: Videos, decoded: Decoded, tmp_path: Path) -> None:
    """Frames of a video that is done are gone, what was found in it is not."""
    seen: list[Any] = []

    def look(role: Role, request: ChatRequest, number: int) -> Reply:
        if role == "describe":
            seen.append(request.images.load())
        return None

    made, _ = models(look)
    masklets, folder = Everywhere(), tmp_path / "templates"
    shutil.copytree(BUILT_IN, folder)
    carry_out(tmp_path / "out", made, data, masklets, templates=folder)
    with Kept(tmp_path / "out" / "marked.sqlite", 0, 1) as kept:
        assert kept._query("SELECT COUNT(*) FROM frames") == [(0,)]
    describe = folder / "describe.yaml"
    describe.write_text(describe.read_text().replace("You ", "Now you ", 1))
    carry_out(tmp_path / "out", made, data, masklets, templates=folder)
    assert (decoded.times, masklets.asked) == (4, 2)
    np.testing.assert_array_equal(seen[0], seen[2])


def test_without_room_frames_are_made_again(data: Videos, decoded: Decoded, tmp_path: Path) -> None:
    made, _ = models()
    masklets = Everywhere()
    for stages in (("describe",), STAGES):
        assert carry_out(tmp_path / "out", made, data, masklets, stages, keep_gib=0.0).funnel.videos == 2
    assert (decoded.times, masklets.asked) == (4, 2)


def test_media_that_are_gone_when_they_are_needed_are_named(data: Videos, tmp_path: Path) -> None:
    made, _ = models()
    carry_out(tmp_path / "out", made, data, Everywhere(), ("describe",), keep_gib=0.0)

    def gone(*arguments: Any) -> Clip:
        raise DataError("a0.png: no such file")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(marking, "clip_of", gone)
        with pytest.raises(DataError, match=r"none of 2 videos can be used, the first: .*a0\.png: no such file"):
            carry_out(tmp_path / "out", made, data, Everywhere(), keep_gib=0.0)


# --- keys -----------------------------------------------------------------------------------------------------------


def test_the_key_is_of_files_regions_and_options_alone(data: Videos, tmp_path: Path) -> None:
    """Where files lie does not count, nor which decoder reads them; what they hold, what is drawn and how does."""
    video = data[0]
    moved = videos(tmp_path / "moved", names=("a", "b"))[0]
    other = replace(video, regions=(Region.at(Box((1, 1, 5, 5)), category="ball"), *video.regions[1:]))
    keys = [
        Mark()(video).key,
        Mark(masklets=Everywhere())(video).key,
        Mark(frames=1)(video).key,
        Mark(side=64)(video).key,
        Mark(opacity=0.5)(video).key,
        Mark()(other).key,
        Mark()(data[1]).key,
    ]
    assert len(set(keys)) == len(keys)
    assert Mark()(moved).key == Mark(backend="pyav")(video).key == keys[0]
    (tmp_path / "moved" / "a1.png").write_bytes((tmp_path / "moved" / "b1.png").read_bytes())
    assert Mark()(moved).key not in keys


def test_a_file_is_read_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    path.write_text("one")
    with Kept(tmp_path / "k.sqlite", 0, 1) as kept:
        first = kept.hash_of(path)
        with monkeypatch.context() as patched:
            patched.setattr("datamodules.regvid.kept.hash_of", None)
            assert kept.hash_of(path) == first
        path.write_text("other")
        assert kept.hash_of(path) != first
        with pytest.raises(DataError, match="gone: cannot be read"):
            kept.hash_of(tmp_path / "gone")


# --- the file -------------------------------------------------------------------------------------------------------


def drawn(seed: int) -> Painted:
    dice = np.random.default_rng(seed)
    return Painted(*(dice.integers(0, 256, (2, 8, 6, 3), dtype=np.uint8) for _ in range(2)))


def never() -> Painted:
    raise AssertionError("it is there")


def test_frames_come_back_bit_for_bit_within_their_bounds(tmp_path: Path) -> None:
    with Kept(tmp_path / "k.sqlite", 10_000, 1) as kept:
        for number in range(30):
            kept.keep(str(number), drawn(number))
        (held,) = kept._query("SELECT COUNT(DISTINCT key) FROM frames")[0]
        assert 5 < held < 29 and kept._bytes <= 10_000
    with Kept(tmp_path / "k.sqlite", 10_000, 1) as kept:
        for number in range(held):
            for kind, pixels in zip(drawn(number), kept.painted(str(number), never), strict=True):
                np.testing.assert_array_equal(kind, pixels)
        assert kept.painted("29", lambda: drawn(29)).plain.shape == (2, 8, 6, 3)
        for number in range(30):
            kept.drop(str(number))
        assert kept._bytes == 0


def test_what_was_found_comes_back(tmp_path: Path) -> None:
    box = Box((1, 1, 5, 5))
    before = (Region({0: box}, {0: box, 2: None}, "cat"), Region.at(box, 1, "dog", {0: None}))
    after = (replace(before[0], track={2: None, 0: Mask((9, 8), b"f\x7f"), 1: None}), before[1])
    told = Told((0, 1, 2), (9, 8), (18, 16), after)
    with Kept(tmp_path / "k.sqlite", 0, 1) as kept:
        assert kept.told("k", before) is None
        kept.tell("k", told, before)
        assert kept.told("k", before) == told


def test_a_file_that_is_something_else_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "k.sqlite").write_text("something else, and long enough to be looked at by sqlite" * 20)
    with pytest.raises(DataError, match="remove it, all that was in it can be made again"):
        Kept(tmp_path / "k.sqlite", 0, 1)
