"""The whole pipeline while things go wrong: the same files as if nothing had, and no answer lost or asked for twice."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from datamodules.regvid.models import ROLES
from experiments.rehearsal.faults import BROKEN, FAULTS, READABLE, REFUSAL, SPOKEN, Fault, FirstTries, RandomFaults
from experiments.rehearsal.server import RehearsalServer
from rehearsals import Made, journalled, models, run, sent, shapes_folder

LIES = 0.3
# long enough for any answer that comes at all
IMPATIENT = [f"--regvid.models.{role}.init_args.timeout=2" for role in ROLES]


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shapes_folder(tmp_path_factory.mktemp("faults") / "shapes")


class Calm(NamedTuple):
    """What an undisturbed run makes, and the models it asks."""

    files: Made
    asked: Counter[str]


@pytest.fixture(scope="module")
def calm(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Calm:
    folder = tmp_path_factory.mktemp("calm")
    with RehearsalServer(models(shapes, lies=LIES)) as server:
        files = run(server, folder, shapes)
    asked = Counter(exchange.model for exchange in server.exchanges)
    assert journalled(folder) == sent(server)
    # these models lie in whole sentences, which are cut without the rewriter
    assert set(asked) == set(server.models.names) - {"rehearsal-rewrite"}
    return Calm(files, asked)


SLOW = ("rate_limit", "timeout")  # they wait


@pytest.mark.parametrize(
    "fault", [pytest.param(fault, marks=pytest.mark.slow) if fault in SLOW else fault for fault in FAULTS]
)
def test_every_first_answer_goes_wrong(fault: Fault, shapes: Path, calm: Calm, tmp_path: Path) -> None:
    """What can be read is not asked for again; what cannot is, once; and what arrived is in the journal."""
    # one time-out takes longer than all other calls together
    disturbed = ["rehearsal-describe"] if fault == "timeout" else list(calm.asked)
    faults = FirstTries(fault, models=disturbed)
    with RehearsalServer(models(shapes, lies=LIES), faults, retry_after=0.02) as server:
        assert run(server, tmp_path, shapes, *IMPATIENT) == calm.files
    happened = sum(exchange.fault == fault for exchange in server.exchanges)
    assert happened == sum(calm.asked[model] for model in disturbed)
    assert len(server.exchanges) == calm.asked.total() + (0 if fault in READABLE else happened)
    assert journalled(tmp_path) == sent(server)
    assert server.exchanges.repeated() == 0


@pytest.mark.parametrize("seed", [0, 1])
def test_anything_goes_wrong_at_any_time(seed: int, shapes: Path, calm: Calm, tmp_path: Path) -> None:
    """Four of ten calls, all faults mixed, up to two in a row on one question."""
    faults = RandomFaults(dict.fromkeys(FAULTS, 0.4 / len(FAULTS)), seed)
    with RehearsalServer(models(shapes, lies=LIES), faults, retry_after=0.02) as server:
        assert run(server, tmp_path, shapes, *IMPATIENT) == calm.files
    happened = {exchange.fault for exchange in server.exchanges if exchange.fault}
    assert len(happened) > len(FAULTS) // 2
    assert journalled(tmp_path) == sent(server)
    assert server.exchanges.repeated() == 0


def test_failures_are_on_the_record(shapes: Path, tmp_path: Path) -> None:
    """Counts of the funnel against the server's account, by role."""
    faults = RandomFaults({"reset": 0.2, "empty": 0.2}, seed=2)
    with RehearsalServer(models(shapes, lies=LIES), faults) as server:
        run(server, tmp_path, shapes)
    counted = json.loads((tmp_path / "funnel.json").read_text())["calls"]
    for role, counts in counted.items():
        exchanges = [exchange for exchange in server.exchanges if exchange.model == f"rehearsal-{role}"]
        assert counts["answered"] == sum(exchange.sent for exchange in exchanges)
        assert counts["failed"] == sum(exchange.fault in BROKEN for exchange in exchanges)
        assert counts["unreadable"] == sum(exchange.fault in SPOKEN for exchange in exchanges)


def test_what_is_never_answered_properly_is_dropped_and_counted(shapes: Path, tmp_path: Path) -> None:
    """The last stage is always refused: what it would have made is dropped, the descriptions are as they were."""
    forever = FirstTries("refusal", tries=10**6, models=["rehearsal-instruct"])
    with RehearsalServer(models(shapes, lies=LIES), forever) as server:
        run(server, tmp_path, shapes)
    funnel = json.loads((tmp_path / "funnel.json").read_text())
    regions = [json.loads(line) for line in (tmp_path / "regions.jsonl").read_text().splitlines()]
    assert all(region["verified"] and not region["summary"] and not region["conversation"] for region in regions)
    assert {item["answer"] for region in regions for item in region["dropped"]} == {REFUSAL}
    lost = {"unreadable": len(regions)}
    assert funnel["instruct"]["dropped"] == {"brief": lost, "conversation": lost}
    assert journalled(tmp_path) == sent(server)
