from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from datamodules.errors import DataError
from datamodules.formats.region_jsonl import dump_record
from datamodules.regvid.accounts import Account, Claim, Dropped, Exchange
from datamodules.regvid.output import write_sheet
from datamodules.types import Box, Frames, Mask, Region, RegionSample, Turn
from experiments.visualize.instruction_page import number_plate
from experiments.visualize.instruction_report import SAMPLES, markdown, pick, report
from experiments.visualize.instruction_statistics import PAPER, PAPER_SOURCES, Row, RunCounts, count

FUNNEL = {
    "verify": {"claims": 40, "denied": 6, "verified": 8, "rewritten": 5, "grades": {}, "words": 600, "quoted": 540},
    "describe": {"not seen": 3},
    "instruct": {"checked": 32, "denied": 2},
    "calls": {
        "judge": {"prompt_tokens": 3000, "completion_tokens": 200, "money": 0.5, "answered": 9},
        "split": {"prompt_tokens": 700, "completion_tokens": 100, "money": 0.25, "answered": 9},
    },
}
USAGE = {"judge": (3200, 0.5), "split": (800, 0.25)}
RUN = RunCounts(3, 600, 540, 40, 6, 8, 5, 32, 2, USAGE)
TALK = (Turn("Is <region1> a dog?", "yes"), Turn("Does <region0> bark?", "no it doesn't"))
CAT, DOG = Region.at(Box((1, 1, 9, 9)), category="cat"), Region.at(Box((5, 5, 15, 15)), category="dog")


def sample(name: str, video: str, kind: str, regions: tuple[Region, ...], *turns: Turn, **fields: Any) -> RegionSample:
    media = Frames((Path(f"{video}.png"),))
    return RegionSample(name, media, regions, turns, group=kind, meta={"video": f"mevis/{video}"}, **fields)


def samples() -> list[RegionSample]:
    """Two videos; the first with two regions, one of which two samples ask about."""
    return [
        sample("1", "a", "detailed", (CAT,), Turn("Describe <region0>.", "a grey cat walks")),
        sample("2", "a", "brief", (CAT,), Turn("What is <region0>?", "a cat")),
        sample("3", "a", "conversation", (CAT, DOG), *TALK),
        sample("4", "b", "detailed", (CAT,), Turn("Describe <region0>.", "a black cat sleeps on a mat")),
    ]


# --- counts -----------------------------------------------------------------------------------------------------------


def test_counts_by_hand() -> None:
    counted = count(samples())
    assert (counted.videos, counted.all_regions, counted.all_samples) == (2, 3, 4)
    assert counted.samples == {"detailed": 2, "brief": 1, "conversation": 1}
    assert counted.regions == {1: 1, 2: 1}
    assert counted.sources == {"mevis": 2}
    assert counted.words == {"detailed": (4, 7), "brief": (2,), "conversation": (1, 3)}
    assert counted.characters == {"detailed": (16, 27), "brief": (5,), "conversation": (3, 13)}


def test_the_table_by_hand() -> None:
    rows = count(samples(), RUN).rows()
    table = {row.what: (row.here, row.paper) for row in rows}
    assert len(table) == len(rows)
    assert table["videos"] == ("2", "98,000")
    assert table["regions"] == ("3", "214,000")
    assert table["samples"] == ("4", "294,000")
    assert table["regions per video, mean"] == ("1.50", "2.18")
    assert table["samples per region, mean"] == ("1.33", "1.37")
    assert table["words of an answer, detailed"][0] == "mean 5.5, median 5.5, 10 to 90 %: 4.3 to 6.7"
    assert table["claims definitely denied, removed"][0] == "6 of 40 (15.0%)"
    assert table["descriptions rewritten"][0] == "5 of 8 (62.5%)"
    assert table["words of descriptions that a claim quotes"][0] == "540 of 600 (90.0%)"
    assert table["summaries and turns denied, removed"][0] == "2 of 32 (6.2%)"
    assert table["cost of a sample, judge"][0] == "800 tokens, 0.12500"
    assert table["cost of a sample, all"][0] == "1,000 tokens, 0.18750"
    assert table["regions that could not be seen, dropped"][0] == "3"
    assert table["videos of mevis"][0] == "2"


def test_the_papers_sources_add_up_to_its_videos() -> None:
    assert sum(PAPER_SOURCES.values()) == pytest.approx(PAPER["videos"], abs=500)


def test_a_region_is_one_place_on_one_frame_and_a_clip_one_video() -> None:
    code = Mask((16, 16), b"abc")
    regions = (Region.at(code, 0), Region.at(code, 1), Region.at(Box((1, 1, 9, 9)), track={1: None}))
    turn = Turn("Describe <region0>, <region1> and <region2>.", "no")
    file = (Path("a.png"),) * 9
    clips = [RegionSample(str(end), Frames(file, (0, end)), regions, (turn,)) for end in (3, 5)]
    again = RegionSample("again", clips[0].media, (CAT,), (Turn("Is <region> a cat?", "yes"),))
    counted = count([*clips, again])
    assert (counted.videos, counted.all_regions) == (2, 6)
    assert counted.samples == {"answer": 3}


def test_json_holds_every_length() -> None:
    counts = count(samples()).as_json()
    assert counts["samples"] == {"all": 4, "detailed": 2, "brief": 1, "conversation": 1}
    assert counts["answers by words"]["detailed"] == {"4": 1, "7": 1}
    assert counts["videos by regions"] == {"1": 1, "2": 1}
    assert counts["run"] is None


def test_counts_of_a_run_are_read(tmp_path: Path) -> None:
    path = tmp_path / "funnel.json"
    assert RunCounts.read(path) is None
    path.write_text(json.dumps(FUNNEL))
    assert RunCounts.read(path) == RUN
    for broken in ("{", "[]", json.dumps({**FUNNEL, "verify": {"claims": -1}})):
        path.write_text(broken)
        with pytest.raises(DataError, match=r"funnel.json: not the counts of a run: "):
            RunCounts.read(path)


# --- the report -------------------------------------------------------------------------------------------------------


def test_every_kind_is_drawn_evenly() -> None:
    kinds = {"detailed": list(range(0, 100, 2)), "brief": [7], "conversation": [1, 3, 5, 9, 11]}
    assert pick(kinds, 10) == [0, 1, 3, 7, 9, 11, 24, 48, 74, 98]
    assert pick({"brief": [4, 6]}, 9) == [4, 6]


def test_markdown_is_one_table() -> None:
    lines = markdown("a.jsonl", [Row("a | b", "1")]).splitlines()
    assert [[cell.strip() for cell in line.split(" | ")] for line in lines] == [
        ["| a.jsonl", "here", "RegVID-300k |"],
        ["| -------", "---:", "----------: |"],
        ["| a \\| b", "1", "\u2013 |"],
    ]


def write(folder: Path, *records: RegionSample) -> Path:
    for name in "ab":
        Image.fromarray(np.full((16, 16, 3), 90, np.uint8)).save(folder / f"{name}.png")
    path = folder / "samples.jsonl"
    path.write_text("".join(f"{json.dumps(dump_record(record, Path()))}\n" for record in records))
    return path


def test_a_report_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the samples' media are relative
    (tmp_path / "funnel.json").write_text(json.dumps(FUNNEL))
    risky = sample("<5>", "b", "brief", (CAT,), Turn("Is <region> <b>bold</b>?", "1 < 2 & 3"))
    path = write(tmp_path, *samples(), risky)
    report(path, tmp_path / "report")
    written = sorted(item.relative_to(tmp_path / "report").as_posix() for item in (tmp_path / "report").rglob("*.*"))
    assert written == ["index.html", "lengths.png", *(f"pictures/00000{number}.png" for number in range(5)),
                       "statistics.json", "statistics.md"]  # fmt: skip
    table = (tmp_path / "report" / "statistics.md").read_text()
    words = " ".join(table.split())
    assert "| samples | 5 | 294,000 |" in words
    assert "| claims definitely denied, removed | 6 of 40 (15.0%) |" in words
    assert table in capsys.readouterr().out
    assert json.loads((tmp_path / "report" / "statistics.json").read_text())["run"]["denied"] == 6
    html = (tmp_path / "report" / "index.html").read_text()
    assert "&lt;b&gt;bold&lt;/b&gt;" in html and "1 &lt; 2 &amp; 3" in html and "<b>bold" not in html
    assert html.count("<section>") == 5
    assert "<region" not in html
    with Image.open(tmp_path / "report" / "lengths.png") as picture:
        assert picture.size == (1000, 360)


def test_the_report_shows_what_became_of_each_region(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only finished samples were drawn, with other numbers than the prompts had: nobody could judge the checks."""
    monkeypatch.chdir(tmp_path)
    claims = (
        Claim("it <barks>", "Does it bark?", "definitely no", "definitely no"),
        Claim("a cat", "A cat?", "unsure"),
    )
    told = Account(
        2, "cat", "a cat, it <barks>", claims, "a cat", "Cat.", (Exchange("Is [2] by [1]?", "No."),),
        (Claim("Cat.", "Is it a cat?", "probably yes"),), (Dropped("instruct", "turn", "denied", "Loud?"),),
    )  # fmt: skip
    lost = Account(1, "dog", dropped=(Dropped("describe", "region", "unreadable", "there is none", "{<oops>"),))
    path = write(tmp_path, *samples())
    write_sheet(np.zeros((5, 8, 10, 3), np.uint8), tmp_path / "frames" / "000000.jpg")
    records = [account.record("mevis/a") | {"frames": "frames/000000.jpg"} for account in (lost, told)]
    records.append(lost.record("mevis/b") | {"frames": None})
    (tmp_path / "regions.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))
    report(path, tmp_path / "report")
    with Image.open(tmp_path / "report" / "frames" / "000000.jpg") as sheet:
        assert sheet.size == (4 * 16, 2 * 14)
    html = (tmp_path / "report" / "index.html").read_text()
    assert html.count("<section>") == 2 and html.count('src="frames/000000.jpg"') == 1
    assert f"{number_plate(2)} cat" in html and f"Is {number_plate(2)} by {number_plate(1)}?</b> No." in html
    assert '<tr class="denied"><td>it &lt;barks&gt;</td><td>Does it bark?</td>' in html
    assert "<td>definitely no / definitely no</td>" in html and "<td>probably yes</td>" in html
    assert "<del>cat, it &lt;barks&gt;</del> <ins>cat</ins>" in html
    assert html.count("<pre>{&lt;oops&gt;</pre>") == 3, "with its region, and twice among what was dropped"
    assert "region dropped, describe: unreadable. there is none" in html
    (tmp_path / "frames" / "000000.jpg").unlink()
    with pytest.raises(DataError, match=r"000000.jpg: cannot be read"):
        report(path, tmp_path / "report")


def test_a_long_file_is_drawn_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    turn = Turn("Describe <region0>.", "a cat")
    report(write(tmp_path, *(sample(str(i), "a", "brief", (CAT,), turn) for i in range(40))), tmp_path / "report")
    assert len(list((tmp_path / "report" / "pictures").iterdir())) == SAMPLES


def test_what_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"nothing.jsonl"):
        report(tmp_path / "nothing.jsonl", tmp_path / "report")
    path = write(tmp_path, *samples())
    (tmp_path / "b.png").unlink()
    with pytest.raises(DataError, match=r"sample '4': .*b.png"):
        report(path, tmp_path / "report")
