"""Runs gathered from MLflow: the points of a sweep, the runs of an experiment, or those that are named."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from mlflow import MlflowClient
from mlflow.entities import Run as TrackedRun

from datamodules.errors import DataError
from experiments.comparison.runs import (
    COMMANDS,
    Gathered,
    Run,
    configurations,
    named,
    point_name,
    read_run,
    unevenly_seeded,
)
from experiments.run_files import predictions_of, results_of
from experiments.sweeps.parent import ERROR
from experiments.sweeps.point import brief
from experiments.sweeps.specification import Paper, Point, read_sweep
from experiments.tracking.mlflow_store import Store, store_address

_COST, _FACTOR = "cost/", "factor/"
_RUN_ID = re.compile("[0-9a-f]{32}")

_Tries: TypeAlias = dict[tuple[str, int | None], list[TrackedRun]]
"""Setting and seed -> all runs that tried them, in the order of their start."""


def tracking_client(root: Path, address: str | None) -> MlflowClient:
    """The store that the runs under `root` were logged to, found as the runs find it.

    Raises:
        DataError: It is a sqlite store that does not exist.
    """
    store = Store(store_address(root, address))
    if store.database is not None and not store.database.is_file():
        raise DataError(f"there is no MLflow store {store.database}")
    return store.client()


class TrackedRuns:
    """MLflow's runs, read as runs to compare.

    Args:
        client: Of the store.
        scratch: Folder into which the runs' files are copied.
        split: What the runs were scored on.
    """

    def __init__(self, client: MlflowClient, scratch: Path, split: str = "test") -> None:
        self.client = client
        self.scratch = scratch
        self.split = split
        command = COMMANDS[split]
        self._results, self._files = results_of(command), {predictions_of(command), *configurations(command)}

    def sweep(self, name: str) -> Gathered:
        """The finished points of a sweep.

        Raises:
            DataError: There is no such sweep, it has several parents, or a point finished more than once.
        """
        runs = self._runs(name)
        parent = self._parent(name, runs)
        plan = read_sweep(Path(self._fetch(parent, "sweep.yaml")))
        factors = [factor.name for factor in plan.factors]
        points = plan.points()
        expected = [(setting_text(point.settings), point.seed) for point in points]
        tries: _Tries = {key: [] for key in expected}
        for run in runs:
            if run.data.tags.get("sweep") == name and run is not parent:
                tries.setdefault((_tagged_setting(run, factors), _tagged_seed(run)), []).append(run)
        strays = [point_name(*key) for key in tries if key not in expected]
        finished, absent = self._finished({key: tries[key] for key in expected})
        settings = tuple(dict.fromkeys(setting for setting, _ in expected))
        return Gathered(
            f"sweep {name}",
            settings,
            settings[0],
            finished,
            absent | dict.fromkeys(strays, "not in sweep.yaml"),
            plan.metric,
            plan.paper and _named_rows(plan.paper, points),
            plan.protocol_varies,
            parent.info.run_id,
        )

    def experiment(self, name: str) -> Gathered:
        """The scored runs of an experiment; one name is one run, trained and tested.

        Raises:
            DataError: There is no such experiment, it is empty, or a run was scored more than once.
        """
        tries: _Tries = {}
        for run in self._runs(name):
            if run.data.tags.get("sweep.parent") != "true":
                tries.setdefault(_setting(run), []).append(run)
        if not tries:
            raise DataError(f"experiment {name!r} has no runs")
        finished, absent = self._finished(tries)
        settings = tuple(dict.fromkeys(setting for setting, _ in tries))
        absent = {**unevenly_seeded(finished, settings), **absent}
        return Gathered(f"experiment {name}", settings, settings[0], finished, absent)

    def run(self, run_id: str) -> Run:
        """One run by its id.

        Raises:
            DataError: There is none, or it was not scored.
        """
        from mlflow.exceptions import MlflowException

        try:
            run = self.client.get_run(run_id)
        except MlflowException as error:
            raise DataError(f"run {run_id}: {error.message}") from error
        if not self._scored(run):
            raise DataError(f"run {run_id} ({run.info.run_name}): {self._reason([run])}")
        return self._read(run, *_setting(run))

    def _runs(self, experiment: str) -> list[TrackedRun]:
        """All of an experiment, in the order of their start."""
        found = self.client.get_experiment_by_name(experiment)
        if found is None:
            names = sorted(item.name for item in self.client.search_experiments())
            raise DataError(f"no MLflow experiment {experiment!r}; there are {', '.join(names)}")
        runs: list[TrackedRun] = []
        token = None
        while True:
            page = self.client.search_runs([found.experiment_id], order_by=["start_time ASC"], page_token=token)
            runs += page
            token = page.token
            if not token:
                return runs

    @staticmethod
    def _parent(name: str, runs: Iterable[TrackedRun]) -> TrackedRun:
        tags = {"sweep": name, "sweep.parent": "true"}
        parents = [run for run in runs if tags.items() <= run.data.tags.items()]
        if len(parents) != 1:
            ids = "".join(f" {run.info.run_id}" for run in parents)
            raise DataError(f"sweep {name!r} has {len(parents)} parent runs in MLflow, expected 1:{ids}".rstrip(":"))
        return parents[0]

    def _finished(self, tries: _Tries) -> tuple[tuple[Run, ...], dict[str, str]]:
        """The one finished run of each point, and why there is none of the others."""
        finished: list[Run] = []
        absent: dict[str, str] = {}
        for (setting, seed), runs in tries.items():
            scored = [run for run in runs if self._scored(run)]
            name = point_name(setting, seed)
            if len(scored) > 1:
                ids = " and ".join(run.info.run_id for run in scored[:2])
                raise DataError(f"{name}: {len(scored)} finished runs, expected 1: {ids}; --runs takes one of them")
            if scored:
                finished.append(self._read(scored[0], setting, seed))
            else:
                absent[name] = self._reason(runs)
        return tuple(finished), absent

    def _scored(self, run: TrackedRun) -> bool:
        return run.info.status == "FINISHED" and self._results in self._artifacts(run)

    def _reason(self, runs: Sequence[TrackedRun]) -> str:
        """Why a point is not in the table, by its last try."""
        if not runs:
            return "never started"
        last = runs[-1]
        if last.info.status == "FINISHED":
            return f"not scored: it has no {self._results}"
        error = last.data.tags.get(ERROR)
        return f"{last.info.status}: {brief(error)}" if error else str(last.info.status)

    def _artifacts(self, run: TrackedRun) -> set[str]:
        return {item.path for item in self.client.list_artifacts(run.info.run_id)}

    def _read(self, run: TrackedRun, setting: str, seed: int | None) -> Run:
        for name in self._artifacts(run) & {self._results, *self._files}:
            self._fetch(run, name)
        costs = {key.removeprefix(_COST): value for key, value in run.data.metrics.items() if key.startswith(_COST)}
        commit = run.data.tags.get("mlflow.source.git.commit")
        if commit and run.data.tags.get("git.dirty") == "true":
            commit += " with changes"
        folder = self.scratch / run.info.run_id
        return read_run(folder, run.info.run_name, setting, seed, commit, costs, self.split)

    def _fetch(self, run: TrackedRun, name: str) -> str:
        from mlflow.exceptions import MlflowException

        folder = self.scratch / run.info.run_id
        folder.mkdir(exist_ok=True)
        try:
            path: str = self.client.download_artifacts(run.info.run_id, name, str(folder))
        except (MlflowException, OSError) as error:
            raise DataError(f"run {run.info.run_id} ({run.info.run_name}): artifact {name}: {error}") from error
        return path


def gather_listed(
    references: Sequence[str], root: Path, address: str | None, scratch: Path, split: str = "test"
) -> Gathered:
    """Runs named one by one, each by its MLflow id or its folder; the first one's setting is the base.

    Args:
        references: Ids and folders.
        root: Folder of all runs.
        address: Of the MLflow store; looked at only if there is an id.
        scratch: Folder into which files are copied.
        split: What the runs were scored on.

    Raises:
        DataError: One of them is neither, or was not scored, or two are of one setting and seed.
    """
    runs: dict[tuple[str, int | None], Run] = {}
    for reference in references:
        run = _listed(reference, root, address, scratch, split)
        if (other := runs.setdefault((run.setting, run.seed), run)) is not run:
            raise DataError(f"{reference}: {run.setting!r} with seed {run.seed}, which {other.name!r} is already")
    settings = tuple(dict.fromkeys(run.setting for run in runs.values()))
    found = tuple(runs.values())
    return Gathered("runs", settings, settings[0], found, unevenly_seeded(found, settings))


def _listed(reference: str, root: Path, address: str | None, scratch: Path, split: str) -> Run:
    folder = Path(reference)
    if folder.is_dir():
        name = folder.resolve().name
        return read_run(folder, name, *named(name), split=split)
    if not _RUN_ID.fullmatch(reference):
        raise DataError(f"--runs {reference}: neither a folder nor the id of an MLflow run")
    return TrackedRuns(tracking_client(root, address), scratch, split).run(reference)


def _setting(run: TrackedRun) -> tuple[str, int | None]:
    """Setting and seed by the tags of a sweep's point, else by the run's name."""
    factors = sorted(key.removeprefix(_FACTOR) for key in run.data.tags if key.startswith(_FACTOR))
    if not factors:
        return named(run.info.run_name)
    return _tagged_setting(run, factors), _tagged_seed(run)


def setting_text(settings: Mapping[str, str]) -> str:
    """What a combination of settings is called: factor and value of each, as `num_marks=16`."""
    return ", ".join(f"{factor}={text}" for factor, text in settings.items())


def _named_rows(paper: Paper, points: Iterable[Point]) -> Paper:
    """The paper's rows by the names of the settings; a sweep file has their values alone."""
    names = {", ".join(point.settings.values()): setting_text(point.settings) for point in points}
    return Paper(paper.metric, {names.get(row, row): number for row, number in paper.rows.items()})


def _tagged_setting(run: TrackedRun, factors: Iterable[str]) -> str:
    return setting_text({factor: run.data.tags.get(f"{_FACTOR}{factor}", "?") for factor in factors})


def _tagged_seed(run: TrackedRun) -> int | None:
    seed = run.data.tags.get("seed")
    return None if seed is None else int(seed)
