"""One sample a video, with every region once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chat_models import write_videos
from datamodules.errors import DataError
from datamodules.formats.region_jsonl import RegionJsonl
from datamodules.regvid.videos import gather
from datamodules.types import Box, Frames, NoPicture, Pixels, Region, RegionSample, Turn
from helpers import Listed

ASKED = (Turn("what is <region>", "a ball"),)


def about(name: str, file: str, *regions: Region, span: tuple[int, int] | None = None) -> RegionSample:
    return RegionSample(name, Frames((Path(file),) * 4, span), regions, (Turn("what", "that"),))


def ball(x: int = 0, frame: int = 0, category: str | None = "ball") -> Region:
    return Region.at(Box((x, 0, x + 4, 4)), frame=frame, category=category)


def test_samples_of_the_same_media_are_one_video(tmp_path: Path) -> None:
    source = RegionJsonl(write_videos(tmp_path))
    found = gather({"first": source, "second": source}, tmp_path)
    assert len(source) == 6
    names = [found[index].id for index in range(len(found))]
    assert names == [f"{name}/{clip}-0" for name in ("first", "second") for clip in "abc"]
    assert [region.category for region in found[1].regions] == ["ball", "box"]
    assert found[1].media == source[2].media


def test_equal_regions_are_one_and_others_are_not(tmp_path: Path) -> None:
    tracked = replace(ball(), track={2: Box((1, 1, 5, 5))})
    samples = about("a", "a.jpg", tracked, ball(8)), about("b", "a.jpg", ball(8), ball(), ball(frame=1))
    found = gather({"s": Listed(*samples)}, tmp_path)
    assert len(found) == 1
    assert found[0].regions == (tracked, ball(8), ball(frame=1))


def test_parts_of_a_file_are_videos_of_their_own(tmp_path: Path) -> None:
    samples = about("a", "a.jpg", ball(), span=(0, 2)), about("b", "a.jpg", ball(), span=(0, 3))
    assert len(gather({"s": Listed(*samples)}, tmp_path)) == 2


def test_what_has_no_noun_is_counted_once_and_left_out(tmp_path: Path) -> None:
    nameless = ball(4, category=None)
    text = RegionSample("t", NoPicture(), (), (Turn("hello", "hello"),))
    samples = about("a", "a.jpg", nameless, ball()), about("b", "a.jpg", nameless), about("c", "c.jpg", nameless), text
    found = gather({"s": Listed(*samples)}, tmp_path)
    assert len(found) == 1
    assert found[0].regions == (ball(),)
    assert found.without_noun == 2


def test_a_noun_is_one_line(tmp_path: Path) -> None:
    found = gather({"s": Listed(about("a", "a.jpg", ball(category=" red \n ball ")))}, tmp_path)
    assert found[0].regions[0].category == "red ball"


def test_the_first_videos_are_whole(tmp_path: Path) -> None:
    samples = about("a", "a.jpg", ball()), about("b", "b.jpg", ball()), about("c", "a.jpg", ball(8))
    found = gather({"s": Listed(*samples)}, tmp_path, most=1)
    assert len(found) == 1
    assert len(found[0].regions) == 2


def test_media_without_a_file_are_refused_before_anything_is_spent(tmp_path: Path) -> None:
    held = RegionSample("a", Pixels(np.zeros((1, 8, 8, 3), np.uint8)), (ball(),), ASKED)
    with pytest.raises(DataError, match="1 frames in memory"):
        gather({"s": Listed(held)}, tmp_path)


def test_ids_must_differ(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'s/a'"):
        gather({"s": Listed(about("a", "a.jpg", ball()), about("a", "b.jpg", ball()))}, tmp_path)


def test_without_nouns_there_is_nothing_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no region with a noun in s"):
        gather({"s": Listed(about("a", "a.jpg", ball(category="")))}, tmp_path)
