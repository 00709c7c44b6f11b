from __future__ import annotations

from pathlib import Path

import pytest
from compared_runs import METRIC, SEEDS, TrackedSweep, answers, write_run
from mlflow import MlflowClient
from PIL import Image

import cli
from datamodules.errors import DataError
from experiments.comparison.tracked import TrackedRuns, gather_listed, tracking_client
from experiments.sweeps.parent import ERROR
from experiments.tracking.mlflow_store import Store, store_address

TOKEN_MARK, NO_REGION = "region_encoder=TokenMark", "region_encoder=NoRegionEncoder"
MARK, NONE = {"region_encoder": "TokenMark"}, {"region_encoder": "NoRegionEncoder"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for all tests: it takes seconds to make."""
    folder = tmp_path_factory.mktemp("runs")
    Store(f"sqlite:///{folder / 'mlflow.db'}").client()
    return folder


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def client(root: Path) -> MlflowClient:
    return tracking_client(root, None)


@pytest.fixture
def runs(client: MlflowClient, tmp_path: Path) -> TrackedRuns:
    return TrackedRuns(client, tmp_path)


def complete(client: MlflowClient, root: Path, name: str, **changes: object) -> TrackedSweep:
    sweep = TrackedSweep(client, root, name, **changes)
    for seed, marks in zip(SEEDS, ("1110", "1111", "0111"), strict=True):
        sweep.point(MARK, seed, answers(marks), costs={"fit_seconds": 60.0 * (seed + 1)})
    for seed, marks in zip(SEEDS, ("1000", "1001", "0000"), strict=True):
        sweep.point(NONE, seed, answers(marks))
    return sweep


def test_a_sweep(client: MlflowClient, root: Path, runs: TrackedRuns) -> None:
    sweep = complete(client, root, "whole", paper={"metric": "A", "rows": {"NoRegionEncoder": 3.5}})
    found = runs.sweep("whole")
    assert (found.title, found.settings, found.base) == ("sweep whole", (TOKEN_MARK, NO_REGION), TOKEN_MARK)
    assert (found.metric, found.parent, found.absent) == (METRIC, sweep.parent, {})
    assert found.paper is not None
    assert found.paper.rows == {NO_REGION: 3.5}
    assert [(run.setting, run.seed) for run in found.runs] == [(s, n) for s in (TOKEN_MARK, NO_REGION) for n in SEEDS]
    assert [run.scores[METRIC].value for run in found.runs] == [0.75, 1, 0.75, 0.25, 0.5, 0]
    assert [run.costs for run in found.runs[2:4]] == [{"fit_seconds": 180.0}, {}]
    assert {run.commit for run in found.runs} == {"c0ffee"}


def test_every_point_that_did_not_finish_is_listed(client: MlflowClient, root: Path, runs: TrackedRuns) -> None:
    sweep = TrackedSweep(client, root, "partly", seeds=[0, 1, 2, 3])
    sweep.point(MARK, 0, answers("10"))
    sweep.point(MARK, 1, answers("10"), status="FAILED")
    sweep.point(MARK, 2)
    sweep.point(NONE, 0, answers("10"), status="FAILED")
    sweep.point(NONE, 0, answers("11"))  # tried again
    sweep.point(NONE, 1, status="RUNNING")
    client.set_tag(sweep.point(NONE, 2, status="FAILED"), ERROR, "fit ended with exit code 1\nout of memory")
    sweep.point({"region_encoder": "roi"}, 0, answers("10"))
    found = runs.sweep("partly")
    assert [(run.setting, run.seed, run.scores[METRIC].value) for run in found.runs] == [
        (TOKEN_MARK, 0, 0.5),
        (NO_REGION, 0, 1.0),
    ]
    assert found.absent == {
        f"{TOKEN_MARK}, seed 1": "FAILED",
        f"{TOKEN_MARK}, seed 2": "not scored: it has no results.json",
        f"{TOKEN_MARK}, seed 3": "never started",
        f"{NO_REGION}, seed 1": "RUNNING",
        f"{NO_REGION}, seed 2": "FAILED: fit ended with exit code 1: out of memory",
        f"{NO_REGION}, seed 3": "never started",
        "region_encoder=roi, seed 0": "not in sweep.yaml",
    }


def test_settings_of_two_factors_are_called_by_factor_and_value(
    client: MlflowClient, root: Path, runs: TrackedRuns
) -> None:
    """A row of `16` or of `true, without` said nothing without the file; the paper's rows there find theirs."""
    factors = {"model.guide": [True, False], "data": {"with": {"data.x": 1}, "without": {"data.x": 0}}}
    paper = {"metric": "A", "rows": {"true, without": 3.5, "other": 1}}
    sweep = TrackedSweep(client, root, "grid", factors=factors, seeds=[0], paper=paper)
    sweep.point({"guide": "false", "data": "without"}, 0, answers("10"))
    found = runs.sweep("grid")
    settings = [f"guide={guide}, data={data}" for guide in ("true", "false") for data in ("with", "without")]
    assert list(found.settings) == settings
    assert [run.setting for run in found.runs] == ["guide=false, data=without"]
    assert found.paper is not None
    assert found.paper.rows == {"guide=true, data=without": 3.5, "other": 1}


def test_a_point_that_finished_twice_is_refused(client: MlflowClient, root: Path, runs: TrackedRuns) -> None:
    sweep = TrackedSweep(client, root, "twice")
    one, other = (sweep.point(MARK, 0, answers("10")) for _ in range(2))
    with pytest.raises(DataError, match=f"{TOKEN_MARK}, seed 0: 2 finished runs, expected 1: {one} and {other}"):
        runs.sweep("twice")


def test_what_is_not_there(client: MlflowClient, root: Path, runs: TrackedRuns, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no MLflow experiment 'nowhere'; there are"):
        runs.sweep("nowhere")
    client.create_experiment("empty", str(root / "artifacts" / "empty"))
    with pytest.raises(DataError, match=r"sweep 'empty' has 0 parent runs in MLflow, expected 1$"):
        runs.sweep("empty")
    with pytest.raises(DataError, match="experiment 'empty' has no runs"):
        runs.experiment("empty")
    with pytest.raises(DataError, match=r"there is no MLflow store .*elsewhere"):
        tracking_client(tmp_path / "elsewhere", None)
    assert not (tmp_path / "elsewhere").exists()


def test_an_experiment_of_runs_with_names(client: MlflowClient, root: Path, runs: TrackedRuns, tmp_path: Path) -> None:
    """A run was trained as one MLflow run and tested as another of the same name."""
    experiment = client.create_experiment("named", str(root / "artifacts" / "named"))
    for name, marks in (("video-seed0", "11"), ("video-seed1", "10"), ("control-seed0", "00"), ("control-seed2", "")):
        client.set_terminated(client.create_run(experiment, run_name=name).info.run_id, "FINISHED")
        if marks:
            tested = client.create_run(experiment, run_name=name).info.run_id
            for file in write_run(tmp_path / "made" / name, answers(marks)).iterdir():
                client.log_artifact(tested, str(file))
            client.set_terminated(tested, "FINISHED")
    found = runs.experiment("named")
    assert found.settings == ("video", "control")
    assert [(run.setting, run.seed) for run in found.runs] == [("video", 0), ("video", 1), ("control", 0)]
    assert found.absent == {
        "control, seed 1": "no run",
        "control, seed 2": "not scored: it has no results.json",
    }


def test_runs_by_id_and_by_folder(client: MlflowClient, root: Path, tmp_path: Path) -> None:
    sweep = TrackedSweep(client, root, "listed")
    run_id = sweep.point(MARK, 3, answers("10"))
    folder = write_run(tmp_path / "alone", answers("11"), seed=3)
    found = gather_listed([run_id, str(folder)], root, None, tmp_path)
    assert [(run.setting, run.seed, run.commit) for run in found.runs] == [
        (TOKEN_MARK, 3, "c0ffee"),
        ("alone", 3, None),
    ]
    assert found.base == TOKEN_MARK
    with pytest.raises(DataError, match="alone: 'alone' with seed 3, which 'alone' is already"):
        gather_listed([str(folder), str(folder)], root, None, tmp_path)
    with pytest.raises(DataError, match="--runs there: neither a folder nor the id of an MLflow run"):
        gather_listed(["there"], root, None, tmp_path)
    with pytest.raises(DataError, match=f"run {'0' * 32}: "):
        gather_listed(["0" * 32], root, None, tmp_path)
    untested = sweep.point(MARK, 4)
    with pytest.raises(DataError, match=rf"run {untested} \(region_encoder=TokenMark,seed=4\): not scored"):
        gather_listed([untested], root, None, tmp_path)


def test_the_command_prints_writes_and_logs(
    client: MlflowClient, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = complete(client, root, "told")
    arguments = ["compare", "--sweep", "told", "--root", str(root), "--resamples", "200"]
    cli.main(arguments)
    printed = capsys.readouterr().out
    folder = root / "told" / "comparison"
    text = (folder / "table.md").read_text()
    for told in ("sweep told", METRIC, "TokenMark", "0.8333", "-0.5833", "c0ffee", "fit minutes", "200 resamples"):
        assert told in printed
        assert told in text
    assert f"    python cli.py {' '.join(arguments)}\n" in text
    with Image.open(folder / "plot.png") as picture:
        assert picture.width == 700
    logged = client.list_artifacts(sweep.parent, "comparison")
    assert [item.path for item in logged] == [f"comparison/{name}" for name in ("plot.png", "table.csv", "table.md")]
    copy = Path(client.download_artifacts(sweep.parent, "comparison/table.md", str(tmp_path)))
    assert copy.read_text() == text
    assert client.get_run(sweep.parent).info.status == "RUNNING"


def test_a_refusal_is_one_line(
    client: MlflowClient, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = TrackedSweep(client, root, "refused")
    sweep.point(MARK, 0, answers("10"))
    sweep.point(NONE, 0, answers("100"))
    with pytest.raises(SystemExit) as ended:
        cli.main(["compare", "--sweep", "refused", "--root", str(root)])
    names = "'region_encoder=TokenMark,seed=0' and 'region_encoder=NoRegionEncoder,seed=0'"
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"error: {METRIC} of {names} cannot be compared: n 2 and 3\n"
    assert not (root / "refused" / "comparison").exists()


def test_named_runs_are_written_only_where_asked(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [str(write_run(tmp_path / f"a-seed{seed}", answers("10"))) for seed in (0, 1)]
    cli.main(["compare", "--runs", *folders, "--metric", METRIC, "--root", str(root)])
    assert "written" not in capsys.readouterr().out
    cli.main(["compare", "--runs", *folders, "--metric", METRIC, "--to", str(tmp_path / "out")])
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"table.md", "table.csv", "plot.png"}


def test_the_numbers_of_a_validation_are_compared_where_asked(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that was tested and validated has both, and neither is taken for the other."""
    for name, tested, validated in (("a-seed0", "1110", "11"), ("b-seed0", "1000", "01")):
        write_run(tmp_path / name, answers(tested))
        write_run(tmp_path / name, answers(validated), split="val")
    folders = [str(tmp_path / name) for name in ("a-seed0", "b-seed0")]
    for split, n in (("test", 4), ("val", 2)):
        cli.main(["compare", "--runs", *folders, "--metric", METRIC, "--root", str(root), "--split", split])
        assert f"split: {split}; n: {n}; " in capsys.readouterr().out
    (tmp_path / "b-seed0" / "results-validate.json").unlink()
    with pytest.raises(SystemExit):
        cli.main(["compare", "--runs", *folders, "--metric", METRIC, "--root", str(root), "--split", "val"])
    assert "results-validate.json: No such file" in capsys.readouterr().err


def test_nothing_finished_is_an_error(client: MlflowClient, root: Path) -> None:
    TrackedSweep(client, root, "begun", seeds=[0]).point(MARK, 0, status="RUNNING")
    with pytest.raises(SystemExit):
        cli.main(["compare", "--sweep", "begun", "--root", str(root)])


def test_the_store_is_found_as_the_runs_find_it(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store_address(root))
    assert tracking_client(tmp_path, None).tracking_uri == store_address(root)
