"""The finished runs of a comparison, and what each left behind."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from datamodules.errors import DataError
from datamodules.reading import fields
from datamodules.reading.records import located
from experiments.named_benchmarks import SECTION, Published, published_rows
from experiments.run_files import CONFIGURATION, configuration_of, predictions_of, results_of
from experiments.sweeps.specification import Paper
from metrics.predictions import Score

COMMANDS = {"test": "test", "val": "validate"}
"""Split -> the command that scores it."""
UNTRAINED = "none"
"""The kind of checkpoint of a run without one: a base as it was published."""
_SEEDED = re.compile(r"(?P<setting>.+?)[-_, ]?seed=?(?P<seed>\d+)")


@dataclass(frozen=True, slots=True)
class Run:
    """A setting trained with one seed, and how it scored.

    Attributes:
        name: What messages call it.
        setting: What it tries, as text; runs of one setting differ in their seed.
        seed: None where it is not known.
        predictions: File of what it answered, if it was kept.
        split: Of the data it was scored on.
        checkpoint: Which kind of checkpoint was scored: its file name, numbers as `N`.
        scores: Metric -> its number.
        evaluation: What the configuration says of its metrics, as class path and arguments; None for the default.
        commit: Of git, if known, and whether files differed from it.
        costs: Name, as `fit_seconds` -> value, as far as known.
        published: What others have published on the benchmark that it was scored on, if it was a named one.
    """

    name: str
    setting: str
    seed: int | None
    predictions: Path
    split: str | None
    checkpoint: str
    scores: Mapping[str, Score]
    evaluation: Mapping[str, Any] | None = None
    commit: str | None = None
    costs: Mapping[str, float] = field(default_factory=dict)
    published: tuple[Published, ...] = ()


@dataclass(frozen=True, slots=True)
class Gathered:
    """All that is compared.

    Attributes:
        title: What it is called, as `sweep region_encoder`.
        settings: All of them, in the order of the table.
        base: The setting that the others are compared with.
        runs: Those that finished.
        absent: Each run that should be there and is not -> why.
        metric: What is compared if nothing else is asked for.
        paper: The paper's numbers for these settings.
        protocol_varies: Whether the settings differ in their protocol by purpose.
        parent: MLflow's run of the whole sweep.
    """

    title: str
    settings: tuple[str, ...]
    base: str
    runs: tuple[Run, ...]
    absent: Mapping[str, str] = field(default_factory=dict)
    metric: str | None = None
    paper: Paper | None = None
    protocol_varies: bool = False
    parent: str | None = None


def read_run(
    folder: Path,
    name: str,
    setting: str,
    seed: int | None,
    commit: str | None = None,
    costs: Mapping[str, float] | None = None,
    split: str = "test",
) -> Run:
    """A run from its files.

    Args:
        folder: Holds at least the results.
        name: What messages call the run.
        setting: What it tries.
        seed: Its seed; that of its configuration if left out.
        commit: Of git.
        costs: As in `Run`.
        split: What it was scored on.

    Raises:
        DataError: A file cannot be read or is not what its name says.
    """
    command = COMMANDS[split]
    path = folder / results_of(command)
    with located(str(path)):
        record = fields.mapping(_parsed(path), "results")
        scores = dict(map(_score, fields.array(fields.member(record, "results"), "results")))
        scored, checkpoint = (fields.member(record, key) for key in ("split", "checkpoint"))
    configuration = _configuration(folder, command)
    configured_seed = configuration.get("seed_everything")
    model = (configuration.get("model") or {}).get("init_args") or {}
    return Run(
        name,
        setting,
        configured_seed if seed is None and type(configured_seed) is int else seed,
        folder / predictions_of(command),
        scored,
        UNTRAINED if checkpoint is None else re.sub(r"\d+", "N", Path(checkpoint).name),
        scores,
        model.get("evaluation"),
        commit,
        costs or {},
        published_rows(configuration.get(SECTION) or {}),
    )


def configurations(command: str) -> tuple[str, str]:
    """Files of which the first that is there says how a command has scored a run."""
    return configuration_of(command), CONFIGURATION


def named(name: str) -> tuple[str, int | None]:
    """Setting and seed that a run's name tells: `video-control-seed2` is `video-control` with 2."""
    found = _SEEDED.fullmatch(name)
    return (found["setting"], int(found["seed"])) if found else (name, None)


def point_name(setting: str, seed: object) -> str:
    """What a setting with a seed is called."""
    return setting if seed is None else f"{setting}, seed {seed}"


def unevenly_seeded(runs: Sequence[Run], settings: Sequence[str]) -> dict[str, str]:
    """What settings lack of the seeds that others have, as `Gathered.absent`."""
    seeds = {setting: {run.seed for run in runs if run.setting == setting} for setting in settings}
    everywhere = {seed for found in seeds.values() for seed in found if seed is not None}
    return {
        point_name(setting, seed): "no run"
        for setting, found in seeds.items()
        if None not in found
        for seed in sorted(everywhere - found)
    }


def _parsed(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(str(error.strerror)) from error
    except ValueError as error:
        raise DataError(f"not JSON: {error}") from error


def _score(record: Any) -> tuple[str, Score]:
    name, value, n, protocol = (fields.member(record, key) for key in ("metric", "value", "n", "protocol"))
    return fields.text(name, "metric"), Score(
        fields.number(value, "value"), fields.integer(n, "n", 1), fields.text(protocol, "protocol")
    )


def _configuration(folder: Path, command: str) -> Mapping[str, Any]:
    """What the run was scored with; empty where no configuration was kept."""
    path = next((folder / name for name in configurations(command) if (folder / name).is_file()), None)
    return {} if path is None else yaml.safe_load(path.read_text(encoding="utf-8"))
