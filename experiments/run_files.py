"""What the files of a run's folder are called: a command keeps its own beside those of the others."""

from __future__ import annotations

from pathlib import Path

RESULTS, PREDICTIONS, CONFIGURATION = "results.json", "predictions.jsonl", "config.yaml"


def of_command(name: str, command: str, usual: str) -> str:
    """The name itself for the `usual` command, `name-COMMAND` with the same suffix for another one."""
    path = Path(name)
    return name if command == usual else f"{path.stem}-{command}{path.suffix}"


def results_of(command: str) -> str:
    """Of `test` and `validate`."""
    return of_command(RESULTS, command, "test")


def predictions_of(command: str) -> str:
    """Of `test`, `validate` and `predict`."""
    return of_command(PREDICTIONS, command, "test")


def configuration_of(command: str) -> str:
    """Of any."""
    return of_command(CONFIGURATION, command, "fit")
