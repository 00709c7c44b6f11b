"""One point of a sweep: two ordinary command lines in processes of their own, and the number that comes out."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from datamodules.installation import PROGRAM
from experiments.sweeps import tether
from experiments.sweeps.specification import Point

BEAT = 1.0  # seconds between two signs of life
COMMANDS = ("fit", "test")
LOG_LINES, LOG_CHARACTERS = 20, 2000


class PointFailedError(RuntimeError):
    """A point did not come to its number; the message says why, with the last lines of what was printed."""


def tags(sweep: str, point: Point, parent: str | None) -> dict[str, str]:
    """MLflow tags of the point's run.

    Args:
        sweep: Name of the sweep.
        point: The point.
        parent: Id of the parent run; left out where there is none yet.
    """
    belongs = {} if parent is None else {"mlflow.parentRunId": parent}
    factors = {f"factor/{factor}": text for factor, text in point.settings.items()}
    return {**belongs, "sweep": sweep, "point": point.name, "seed": str(point.seed), **factors}


def command_lines(sweep: str, point: Point, root: Path, parent: str | None) -> dict[str, list[str]]:
    """`fit` and `test` -> its command line without the program's name.

    Args:
        sweep: Name of the sweep, which is the experiment.
        point: The point.
        root: Folder of all runs.
        parent: Id of the parent run in MLflow, if there is one.
    """
    run = [f"--run.root={root}", f"--run.experiment={sweep}", f"--run.name={point.name}"]
    common = [*point.options, *run, f"--run.tags={json.dumps(tags(sweep, point, parent))}", "--ckpt_path=last"]
    return {"fit": ["fit", *common], "test": ["test", *common, "--run.join=true"]}


def run_point(
    lines: Mapping[str, Sequence[str]],
    folder: Path,
    metric: str,
    alive: Callable[[], None],
    program: Sequence[str] = PROGRAM,
) -> float:
    """Trains, from the last checkpoint if there is one, tests, and returns the metric.

    Args:
        lines: As `command_lines` has them.
        folder: Of the run; what is printed goes into `fit.log` and `test.log` there.
        metric: Its name in `results.json`.
        alive: Called every second; an error that it raises ends the point.
        program: What the command lines are given to.

    Raises:
        PointFailedError: A command has failed, or there is no such number.
    """
    # what an earlier attempt has left is not what this one comes to
    (folder / "results.json").unlink(missing_ok=True)
    for command in COMMANDS:
        log = folder / f"{command}.log"
        code = run_command([*program, *lines[command]], log, alive)
        if code:
            raise PointFailedError(f"{command} ended with exit code {code}\n{last_lines(log)}")
    return metric_value(folder / "results.json", metric)


def run_command(command: Sequence[str], log: Path, alive: Callable[[], None]) -> int:
    """The exit code; the command ends with this process, however that ends.

    Args:
        command: Program and arguments.
        log: Where what it prints is added.
        alive: Called every second; an error that it raises ends the command.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("ab") as output,
        subprocess.Popen(
            [sys.executable, tether.__file__, *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # an interrupt from the keyboard is for the sweep, which ends its commands
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        ) as process,
    ):
        while True:
            try:
                return process.wait(BEAT)
            except subprocess.TimeoutExpired:
                alive()


def metric_value(path: Path, metric: str) -> float:
    """A number of `results.json`.

    Raises:
        PointFailedError: It is not there, or not a number.
    """
    if not path.is_file():
        raise PointFailedError(f"test left no {path}")
    found = {result["metric"]: result["value"] for result in json.loads(path.read_text(encoding="utf-8"))["results"]}
    if metric not in found:
        raise PointFailedError(f"no metric {metric} in {path}, which has {', '.join(found) or 'none'}")
    value = float(found[metric])
    if math.isnan(value):
        raise PointFailedError(f"{metric} in {path} is not a number")
    return value


def last_lines(log: Path) -> str:
    """The end of what a command has printed, as much of it as a reader of a table wants."""
    lines = [line.rstrip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return "\n".join(lines[-LOG_LINES:])[-LOG_CHARACTERS:]


def brief(error: str) -> str:
    """The first and the last line of a point's error, on one line."""
    first, *lines = error.splitlines()
    return f"{first}: {lines[-1]}" if lines else first
