"""`python cli.py regvid` on its configurations: built-in videos, and stand-in models behind real HTTP."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

import cli
from chat_models import samples_in
from experiments.rehearsal.server import RehearsalServer
from rehearsals import models, shapes_folder

ROOT = Path(__file__).parents[3]
KEY = "sk-not-to-be-seen-anywhere"


@pytest.fixture(autouse=True)
def _in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shapes_folder(tmp_path_factory.mktemp("regvid") / "shapes", scenes=4)


def arguments(shapes: Path, to: Path, server: str = "http://127.0.0.1:9/v1", *more: str) -> list[str]:
    """What shrinks the configuration to the test's scale: four videos."""
    files = {"root": str(shapes), "split": "test", "val_scenes": 2, "test_scenes": 4, "workers": 1}
    path = to.parent / "small.yaml"
    path.write_text(yaml.safe_dump({"data": {"init_args": {"train": {"shapes": {"init_args": files}}}}}))
    options = [f"--vars.server={server}", f"--regvid.to={to}", *more]
    return ["regvid", "--config", "experiments/regvid/shapes.yaml", "--config", str(path), *options]


def test_built_in_videos_become_data_that_is_read(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Truthful models but for their lies: every region is described, and what is false is taken out."""
    with RehearsalServer(models(shapes, lies=0.3)) as server:
        cli.main(arguments(shapes, tmp_path / "out", server.base_url))
        made = len(server.exchanges)
        cli.main(arguments(shapes, tmp_path / "out", server.base_url))
        assert len(server.exchanges) == made
        cli.main(arguments(shapes, tmp_path / "out", server.base_url, "--report"))
    assert (tmp_path / "out" / "report" / "index.html").exists()
    told = capsys.readouterr().out
    samples = samples_in(tmp_path / "out")
    assert f"4 of 4 videos done, {len(samples)} samples" in told
    funnel = json.loads((tmp_path / "out" / "funnel.json").read_text())
    assert funnel["regions"]["found"] == funnel["describe"]["described"] > 8
    assert 0 < funnel["verify"]["denied"] < funnel["verify"]["claims"] / 2
    assert sum(funnel["instruct"][kind] for kind in ("detailed", "brief", "conversation")) == len(samples)


def test_a_dry_run_prints_an_estimate_and_reaches_nobody(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(arguments(shapes, tmp_path / "out", "http://127.0.0.1:9/v1", "--dry-run"))
    told = capsys.readouterr().out
    assert "estimate" in told
    for role in ("describe", "split", "judge", "rewrite", "instruct", "all"):
        assert role in told
    assert not (tmp_path / "out").exists()


def test_the_key_is_written_nowhere(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It goes to the server in every request; then every file and all output are searched, the client's log too."""
    monkeypatch.setenv("REGVID_KEY", KEY)
    monkeypatch.setenv("OPENAI_LOG", "debug")
    keyed = [f"--regvid.models.{role}.init_args.api_key_env=REGVID_KEY" for role in ("describe", "split", "judge")]
    with RehearsalServer(models(shapes)) as server:
        cli.main(arguments(shapes, tmp_path / "out", server.base_url, *keyed))
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    captured = capfd.readouterr()
    assert b"rehearsal-judge" in written
    assert KEY.encode() not in written
    assert KEY not in captured.out + captured.err


def test_a_missing_key_is_one_line(shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "REGVID_KEY" not in os.environ
    keyed = "--regvid.models.judge.init_args.api_key_env=REGVID_KEY"
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments(shapes, tmp_path / "out", "http://127.0.0.1:9/v1", keyed))
    assert stop.value.code == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: model rehearsal-judge: the environment variable REGVID_KEY holds no API key")


def test_a_spent_budget_says_how_to_go_on(shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RehearsalServer(models(shapes)) as server:
        small = arguments(shapes, tmp_path / "out", server.base_url, "--regvid.budget.tokens=9000")
        with pytest.raises(SystemExit) as stop:
            cli.main(small)
        assert stop.value.code == 3
        told = capsys.readouterr().out
        assert "regvid.budget.tokens, 9000: raise it to go on" in told
        assert "the same command goes on from here" in told
        cli.main(arguments(shapes, tmp_path / "out", server.base_url))
        assert server.exchanges.repeated() == 0
    assert "4 of 4 videos done" in capsys.readouterr().out


def test_a_server_that_is_not_there_ends_the_run(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fast = ["--regvid.patience.retries=1", "--regvid.patience.first_wait=0.01", "--regvid.patience.outage=2"]
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments(shapes, tmp_path / "out", "http://127.0.0.1:9/v1", *fast))
    assert stop.value.code == 3
    assert "2 calls in a row got no answer, the last one: connection" in capsys.readouterr().out


def test_stages_are_named(shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RehearsalServer(models(shapes)) as server:
        cli.main(arguments(shapes, tmp_path / "out", server.base_url, "--stages", "describe"))
        assert {exchange.model for exchange in server.exchanges} == {"rehearsal-describe"}
        cli.main(arguments(shapes, tmp_path / "out", server.base_url, "--stages", "verify,instruct"))
        assert server.exchanges.repeated() == 0
    told = capsys.readouterr().out
    assert "4 videos wait: verify is not among the stages of this run" in told
    assert "4 of 4 videos done" in told
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments(shapes, tmp_path / "out", "http://127.0.0.1:9/v1", "--stages", "describe,judge"))
    assert stop.value.code == 2
    assert "'judge' is none of describe, verify, instruct" in capsys.readouterr().err


def test_real_models_are_configured_beside_any_data(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The configuration for hosted models over one that trains; models named in the environment, cost estimated."""
    monkeypatch.setenv("REGVID_DESCRIBER", "some-model")
    real = ["--config", "experiments/regvid/openai.yaml", "--mark.frames=4", "--dry-run"]
    real += [
        "--regvid.models.describe.init_args.batching={}",
        "--regvid.models.default.init_args.image_tokens=PatchTokens",
    ]
    cli.main(arguments(shapes, tmp_path / "out", "http://127.0.0.1:9/v1", *real))
    rows = [line.split("│")[1:-1] for line in capsys.readouterr().out.splitlines() if "│" in line]
    costs: dict[str, Any] = {row[0].strip(): float(row[4]) for row in rows}
    bases = {row[0].strip(): row[5].strip() for row in rows}
    assert (bases["describe"], bases["judge"], bases["split"]) == ("PixelTokens, a guess", "TileTokens", "words")
    assert costs["all"] > 0.01
    assert abs(costs["all"] - sum(cost for role, cost in costs.items() if role != "all")) < 0.04
