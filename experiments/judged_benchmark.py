"""A benchmark whose answers a judge scores, in one command: the model answers once, the judge goes on where it was.

What is beside the predictions in the run's folder:

    answered.json      what they were made by: command, checkpoint, data
    judge-PROTOCOL/    journal, verdicts and numbers of a judge, as the command `judge` leaves them
    results.json       the numbers of the test and those of the judge, as `judge/NAME`
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only

from datamodules.errors import DataError
from datamodules.files import write_text
from experiments.commands.judge import carry_out, configured, with_predictions
from experiments.run_files import PREDICTIONS, RESULTS
from experiments.terminal import console
from experiments.tracking.data_fingerprint import describe_data
from experiments.tracking.scores import log_to_test
from metrics.judging.judge import VERDICTS
from metrics.predictions import Score
from metrics.table import results, score_table

ANSWERED = "answered.json"
JUDGE = "judge"


def run_judged(test: Sequence[str], judge: Sequence[str], folder: Path, checkpoint: Path | None) -> None:
    """Answers, unless that was done, has the answers judged, and ends with one table.

    Args:
        test: The command line of `test`.
        judge: The options of `judge`; its predictions are those that `test` leaves in the folder.
        folder: Of the run.
        checkpoint: The model's, if there is one.

    Raises:
        DataError: No judge is configured, which is found before the model is run, or anything that `test` or `judge`
            refuses.
        SystemExit: As `judge` ends; the same command goes on.
    """
    configuration = configured(judge, data=True)
    options = configuration.options
    try:
        options.model.check()
    except DataError as error:
        raise DataError(f"{error}; --judge.model names another judge") from error
    answered = Answered(folder, test, checkpoint, configuration.described)
    if not answered.are_there():
        answered.make()
    if _rank():  # one asks for all
        return
    _report(folder, carry_out(with_predictions(configuration)), options.folder / VERDICTS)


class Answered:
    """A test's predictions, and what they were made by: others are never taken for them.

    Args:
        folder: Of the run.
        test: The command line of `test`.
        checkpoint: The model's, if there is one.
        data: Arguments of the data module.
    """

    def __init__(self, folder: Path, test: Sequence[str], checkpoint: Path | None, data: Mapping[str, Any]) -> None:
        self.predictions, self.record = folder / PREDICTIONS, folder / ANSWERED
        self.test = list(test)
        self.made_by = {
            "command": self.test,
            "checkpoint": {} if checkpoint is None else _states(checkpoint),
            "data": describe_data(data)["fingerprint"],
        }

    def are_there(self) -> bool:
        """Whether an earlier test has made all of them, by the same command from the same model and data."""
        return self.record.is_file() and self.record.read_text(encoding="utf-8") == self._record()

    def make(self) -> None:
        """Makes them; `DataError` if `test` refuses, or leaves none in this folder."""
        from experiments.lightning_cli import main as lightning

        before = _states(self.predictions)
        if not _rank():
            self.record.unlink(missing_ok=True)
        lightning(self.test)
        if _rank():
            return
        if _states(self.predictions) == before:
            raise DataError(f"test has left no {self.predictions}: run.root, .experiment and .name are the benchmark's")
        write_text(self.record, self._record())

    def _record(self) -> str:
        found = hashlib.sha256(self.predictions.read_bytes()).hexdigest() if self.predictions.is_file() else None
        return json.dumps({**self.made_by, "predictions": found}, indent=2) + "\n"


def _states(path: Path) -> dict[str, list[int]]:
    """Size in bytes, and time of the last change in nanoseconds, of a file or of all files of a folder."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    states = [(file, file.stat()) for file in files if file.is_file()]
    return {str(file.relative_to(path)): [state.st_size, state.st_mtime_ns] for file, state in states}


def _rank() -> int:
    """Of this process among those that test together."""
    return int(getattr(rank_zero_only, "rank", None) or 0)


def _report(folder: Path, scores: Mapping[str, Score], verdicts: Path) -> None:
    """Puts a judge's numbers in the place of those that had to do without, in the folder, MLflow and on the screen."""
    path = folder / RESULTS
    found = json.loads(path.read_text(encoding="utf-8"))
    tested = {item.pop("metric"): Score(**item) for item in found["results"]}
    scored = {name: score for name, score in tested.items() if not name.startswith(f"{JUDGE}/")}
    scored |= {f"{JUDGE}/{name}": score for name, score in scores.items()}
    text = json.dumps(results(found["split"], scored, found["checkpoint"]), indent=2)
    write_text(path, f"{text}\n")
    printed = console()
    printed.print(score_table(found["split"], scored))
    printed.print(f"results: {folder}", soft_wrap=True)
    if place := log_to_test(folder, scored, [path, verdicts]):
        printed.print(f"MLflow: {place}", soft_wrap=True)
