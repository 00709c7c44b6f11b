"""Verification against the truth: planted falsehoods go, the truth stays, and both are counted right."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from datamodules.errors import DataError
from experiments.rehearsal.claims import inventions, truths
from experiments.rehearsal.measure import Verification, main, measure, measure_folder
from experiments.rehearsal.scenes import Scenes
from experiments.rehearsal.server import RehearsalServer
from rehearsals import SCENES, VIDEO, models, run, shapes_folder


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shapes_folder(tmp_path_factory.mktemp("truth") / "shapes")


def test_the_count_is_right_where_it_was_done_by_hand(shapes: Path) -> None:
    """Of four sentences a truth kept, one lost, a falsehood found, one missed; a region lost, and one unseen."""
    scenes = Scenes(shapes)
    sight = scenes.find(VIDEO)
    true = truths(sight.scene, sight.order[0])
    look, start, motion, end = (true[topic][0] for topic in ("look", "start", "motion", "end"))
    found, missed = (inventions(sight.scene, claim)[0] for claim in (motion, end))
    said = [claim.sentence(0) for claim in (look, start, found, missed)]
    noun = sight.scene.figures[sight.order[0]].name
    first = {"video": VIDEO, "index": 1, "noun": noun, "description": " ".join(said)}
    records = [
        first | {"verified": f"{said[0]} {said[3]} It barks."},
        first | {"verified": None},
        first | {"description": None, "verified": None},
    ]
    counted = measure(records, scenes)
    assert counted == Verification(1, 1, 1, 1, regions=1, lost=1, strange=1, missed={"end": 1})
    assert (counted.precision, counted.recall) == (0.5, 0.5)
    assert (counted.false_before, counted.false_after) == (0.5, 0.5)
    with pytest.raises(DataError, match="no stand-in says 'It barks"):
        measure([first | {"description": "It barks.", "verified": ""}], scenes)


def test_every_planted_falsehood_goes_and_every_truth_stays(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A judge without errors: precision and recall are 1, and what is left is what the describer knew to be true."""
    liar = models(shapes, lies=0.3, unseen=0.2, seed=1)
    with RehearsalServer(liar) as server:
        run(server, tmp_path, shapes)
    counted = measure_folder(tmp_path, liar.scenes)
    assert counted.false_removed > 10 and counted.true_kept > 40
    assert counted.precision == counted.recall == 1 and not counted.missed and not counted.strange
    told = {}
    for index in range(SCENES):
        sight = liar.scenes.find(f"video-test-{index:05d}")
        for region in range(1, len(sight.order) + 1):
            told[sight.key.name, region] = liar.told(sight.key.name, region)
    planted = sum(not one.true for sentences in told.values() for one in sentences)
    assert counted.false_removed == planted
    funnel = json.loads((tmp_path / "funnel.json").read_text())
    assert funnel["describe"]["not seen"] == sum(not sentences for sentences in told.values()) > 0
    assert funnel["verify"]["denied"] == planted
    for line in (tmp_path / "regions.jsonl").read_text().splitlines():
        record = json.loads(line)
        sentences = told[liar.scenes.find(record["video"]).key.name, record["index"]]
        assert (record["verified"] or "") == " ".join(one.sentence for one in sentences if one.true)
    main([str(tmp_path), f"--shapes={shapes}"])
    assert "precision 1.000" in capsys.readouterr().out


def test_an_erring_judge_costs_what_it_errs(shapes: Path, tmp_path: Path) -> None:
    """A fifth of all verdicts wrong: a fifth of the falsehoods stays, and a fifth of the truths goes."""
    wrong = models(shapes, lies=0.3, judge_errors=0.2, seed=4)
    with RehearsalServer(wrong) as server:
        run(server, tmp_path, shapes)
    counted = measure_folder(tmp_path, wrong.scenes)
    false, true = counted.false_removed + counted.false_kept, counted.true_removed + counted.true_kept
    # four standard deviations
    assert abs(counted.recall - 0.8) < 4 * (0.16 / false) ** 0.5
    assert abs(counted.true_removed / true - 0.2) < 4 * (0.16 / true) ** 0.5
    assert 0 < counted.false_after < counted.false_before
    assert sum(counted.missed.values()) == counted.false_kept > 0


def test_without_verification_lies_would_stay(shapes: Path, tmp_path: Path) -> None:
    """The judge denies nothing when every verdict on a lie is wrong and nothing true is said."""
    blind = models(shapes, lies=1.0, judge_errors=1.0)
    with RehearsalServer(blind) as server:
        run(server, tmp_path, shapes)
    counted = measure_folder(tmp_path, blind.scenes)
    assert counted.recall == 0 and counted.false_after == 1
