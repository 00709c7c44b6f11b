"""The doctor finds every broken record of a configured data set, and counts the kinds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import yaml

import cli
from datamodules.checkup import Checkup, Finding, examine, kind_of, pick
from datamodules.formats import RegionJsonl
from datamodules.types import Box, Region, RegionSample, Turn, Video
from deadly import Deadly
from helpers import Listed, sample
from moving_squares import save_picture, save_video, squares

GOOD: dict[str, Any] = {
    "image": "a.jpg",
    "regions": [{"box": [0, 0, 10, 10]}],
    "conversation": [{"question": "what is <region>", "answer": "it"}],
}
MASK = {"size": [9, 9], "counts": [0, 81]}
BROKEN: dict[str, dict[str, Any]] = {
    "missing": {"image": "none.jpg"},
    "broken-picture": {"image": "text.jpg"},
    "broken-video": {"image": None, "video": "text.mp4"},
    "outside": {"regions": [{"box": [0, 0, 99, 10]}]},
    "outside-too": {"regions": [{"box": [0, 0, 10, 77]}]},
    "inverted": {"regions": [{"box": [10, 0, 0, 10]}]},
    "size": {"regions": [{"mask": MASK}]},
    "mention": {"conversation": [{"question": "what is <region3>", "answer": ""}]},
    "good-0": {},  # a second time
}


def _records() -> list[dict[str, Any]]:
    good = [{"id": f"good-{number}", **GOOD} for number in range(3)]
    broken = [{"id": name, **GOOD, **change} for name, change in BROKEN.items()]
    return [{key: value for key, value in record.items() if value is not None} for record in good + broken]


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    """A run's configuration whose validation data is all broken but for three records."""
    save_picture(tmp_path / "a.jpg", np.full((40, 56, 3), 90, np.uint8))
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "val.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in _records()) + "{not json\n")
    (tmp_path / "good.jsonl").write_text(json.dumps({"id": "one", **GOOD}))
    source = {"class_path": "datamodules.formats.RegionJsonl", "init_args": {"path": "${vars.file}"}}
    other = {"class_path": "datamodules.formats.RegionJsonl", "init_args": {"path": f"{tmp_path}/none.jsonl"}}
    data = {
        "class_path": "datamodules.ImageRegionDataModule",
        "init_args": {"val": {"own": source}, "test": {"x": other}},
    }
    path = tmp_path / "run.yaml"
    ignored = {"model": {"class_path": "unknown.Model"}, "trainer": {"max_steps": 1}, "run": {"name": "x"}}
    path.write_text(yaml.safe_dump({"vars": {"file": f"{tmp_path}/val.jsonl"}, "data": data, **ignored}))
    return path


def test_every_broken_record_is_one_line_and_counted(configuration: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawn = configuration.parent / "drawn"
    with pytest.raises(SystemExit) as stopped:
        cli.main(["doctor", "--config", str(configuration), "--split", "val", "--draw", "2", "--to", str(drawn)])
    assert stopped.value.code == 1
    printed = capsys.readouterr().out
    problems = [line for line in printed.splitlines() if line.startswith("val/own: ")]
    assert len(problems) == len(BROKEN) + 1
    for name, line in zip([*BROKEN, ""], problems, strict=True):
        assert (f"sample '{name}'" in line) or name in ("", "good-0"), line
    assert "none.jpg" in problems[0] and "No such file" in problems[0]
    assert "[0.0, 0.0, 99.0, 10.0]" in problems[3] and "width 56 and height 40" in problems[3]
    assert "mask of 9 x 9 on a frame of 40 x 56" in problems[6]
    assert "have one id, 'good-0'" in problems[8] and "records 0 and 11" in problems[8]
    assert f"{configuration.parent}/val.jsonl:13: not JSON" in problems[9]
    [counts] = [line for line in printed.splitlines() if line.startswith("\u2502 val/own \u2502")][:1]
    assert counts.split("\u2502")[2:4] == ["      13 ", "     10 "]
    assert sorted(path.name for path in drawn.iterdir()) == ["val-own-000000.png", "val-own-000002.png"]


def test_a_source_that_cannot_be_opened_does_not_hide_the_others(
    configuration: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = f"--vars.file={configuration.parent}/good.jsonl"
    with pytest.raises(SystemExit):
        cli.main(["doctor", "--config", str(configuration), good])
    printed = capsys.readouterr().out
    assert "test/x: " in printed and "none.jsonl: No such file" in printed
    cli.main(["doctor", "--config", str(configuration), good, "--split", "val"])
    assert "broken" in capsys.readouterr().out


def test_training_sources_need_answers_and_others_do_not(
    configuration: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Regression: an empty answer passed, and was taught."""
    silent = configuration.parent / "silent.jsonl"
    silent.write_text(json.dumps({"id": "one", **GOOD, "conversation": [{"question": "why", "answer": " "}]}))
    own = {"own": {"class_path": "datamodules.formats.RegionJsonl", "init_args": {"path": str(silent)}}}
    document = yaml.safe_load(configuration.read_text())
    document["data"]["init_args"] = {"train": own, "val": own}
    configuration.write_text(yaml.safe_dump(document))
    with pytest.raises(SystemExit):
        cli.main(["doctor", "--config", str(configuration)])
    problems = [line for line in capsys.readouterr().out.splitlines() if ": sample " in line]
    where = f"{silent}:1: sample 'one': conversation[0].answer"
    assert problems == [f"train/own: {where}: nothing to learn from ' '"]


def test_several_processes_find_the_same(configuration: Path) -> None:
    source = RegionJsonl(configuration.parent / "val.jsonl")
    checkup = Checkup(num_frames=1, side=28)
    assert list(examine(source, checkup, workers=1)) == list(examine(source, checkup))


def test_a_record_that_kills_its_process_is_a_finding_and_hides_no_other() -> None:
    """Regression: one crash in native code ended the doctor with a BrokenProcessPool that named no record."""
    found: list[Finding] = []
    with pytest.raises(KeyError, match="a mistake"):  # what is no fault of the data is raised here
        found.extend(examine(Deadly(20), Checkup(1, 28, media=False), workers=1))
    assert found[3] == Finding(3, None, "record 3: the process that looked at it died of SIGSEGV")
    assert [finding.sample for finding in found if finding.record != 3] == [
        str(number) for number in range(16) if number != 3
    ]


def test_videos_that_hold_less_than_they_promise_are_findings(tmp_path: Path) -> None:
    """Regression: training read what there was, and a track of 9 frames lay on 5."""
    path = tmp_path / "a.mkv"
    save_video(path, squares(0).frames)
    whole = RegionSample("whole", Video(path), (Region.at(Box((0, 0, 9, 9)), 0),), (Turn("what", "it"),))
    late = replace(whole, id="late", regions=(Region.at(Box((0, 0, 9, 9)), 0, track={9: None}),))
    [good, bad] = examine(Listed(whole, late), Checkup(2, 28))
    assert good.problem is None
    assert bad.problem == f"sample 'late': region 0 has frame 9 in its track, {path} has 9"
    with av.open(str(path)) as video:
        places = [packet.pos or 0 for packet in video.demux(video=0) if packet.size]
    path.write_bytes(path.read_bytes()[: places[5] + 1])
    [cut] = examine(Listed(whole), Checkup(2, 28))
    assert cut.problem == f"sample 'whole': {path}: has 5 frames, its duration promises 9"


def test_likely_mistakes_are_counted_and_are_no_error(configuration: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Regression: boxes within 0 and 1, forgotten regions, `<Region0>` and `<image>` passed without a word."""
    path = configuration.parent / "odd.jsonl"
    relative = {"regions": [{"box": [0.1, 0.2, 0.5, 0.9]}]}
    odd = {"a": {}, "b": relative, "c": relative, "d": {"image": None, "video": "a.jpg"}}
    records = [{"id": name, **GOOD, **change} for name, change in odd.items()]
    path.write_text("".join(f"{json.dumps({k: v for k, v in record.items() if v})}\n" for record in records))
    cli.main(["doctor", "--config", str(configuration), f"--vars.file={path}", "--split", "val"])
    printed = capsys.readouterr().out.splitlines()
    assert [line for line in printed if "perhaps" in line] == [
        "val/own: perhaps a mistake in 2 samples, first in 'b':"
        " regions[0]: all coordinates are within 0 and 1, pixels are expected",
        "val/own: perhaps a mistake in 1 sample, first in 'd':"
        f" {configuration.parent}/a.jpg: a still picture, given as a video",
    ]


def test_only_records_are_read_without_media() -> None:
    found = list(examine(Listed(sample("a"), sample("b")), Checkup(1, 28, 2, media=False)))
    assert found == [Finding(0, "a", None), Finding(1, "b", None)]


@pytest.mark.parametrize(
    ("problem", "kind"),
    [
        (
            "/a/val.jsonl:7: sample 'x: y': region 0 on frame 3: box [1.0, 2.0] lies outside the frame of width 56",
            "region \u2026 on frame \u2026: box \u2026 lies outside the frame of width \u2026",
        ),
        ("/a/val.jsonl:7: not JSON: Expecting value (column 3)", "not JSON: Expecting value (column \u2026)"),
        ("/a/val.json: 'clip-7': boxes: 3 of 4 frames", "boxes: \u2026 of \u2026 frames"),
    ],
)
def test_a_kind_leaves_out_what_changes(problem: str, kind: str) -> None:
    assert kind_of(problem) == kind


def test_pictures_are_of_sound_records_from_the_first_to_the_last() -> None:
    findings = [Finding(record, str(record), "broken" if record in (0, 9) else None) for record in range(10)]
    assert pick(findings, 3) == [1, 5, 8]
    assert pick(findings[:1], 3) == []
    assert pick(findings, 20) == list(range(1, 9))
