"""A training that kills itself: `python -m experiments.benchmarks.dying PLACE STEP LOG fit ...`.

`killed_runs` starts it. Nothing in the training knows of it: the functions that it runs through at the place are
wrapped before it begins. LOG gets every point that is logged, also those that the MLflow run has and does not take.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

PLACES = ("step", "validation", "logging", "loader", "worker", "writing", "written", "moved")
"""In the middle of a step, of a validation; when a step's numbers are logged; waiting for the loader, whose worker it
may be that dies; a checkpoint half written, written and not moved into its place, and moved there."""


class Death:
    """Ends the process at a place, once the training has come to a step.

    Args:
        place: One of `PLACES`.
        step: The first optimiser step, counted from 0, at which it may be.
    """

    def __init__(self, place: str, step: int) -> None:
        self.place = place
        self.step = step
        self.now = -1  # the step that the training is at

    def at(self, place: str, step: int | None = None) -> None:
        """Called wherever the training passes a place."""
        if place == self.place and (self.now if step is None else step) >= self.step:
            die()

    def arrange(self) -> None:
        """Wraps what the training passes through."""
        from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

        from experiments.tracking.mlflow_runs import RunLogger
        from lightning_modules.checkpoints import files
        from lightning_modules.region_module import RegionModule

        def step(training_step: Callable[..., Any], module: Any, *args: Any) -> Any:
            self.now = module.trainer.global_step
            loss = training_step(module, *args)
            self.at("step")
            return loss

        def validation(validation_step: Callable[..., Any], module: Any, *args: Any) -> Any:
            if not module.trainer.sanity_checking:
                self.at("validation", module.trainer.global_step)
            return validation_step(module, *args)

        def logging(log_metrics: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
            log_metrics(*args, **kwargs)
            self.at("logging")

        def loader(get_data: Callable[..., Any], iterator: Any) -> Any:
            self.at("loader")
            if self.place == "worker" and self.now >= self.step:
                self.place = "nowhere"  # once
                die(iterator._workers[0].pid)
            return get_data(iterator)

        def writing(save: Callable[..., Any], checkpoint: dict[str, Any], file: Any) -> None:
            if self.place == "writing" and checkpoint["global_step"] >= self.step:
                whole = io.BytesIO()
                save(checkpoint, whole)
                file.write(whole.getvalue()[: whole.tell() // 2])
                file.flush()
                die()
            self.now = checkpoint["global_step"]
            save(checkpoint, file)

        def moving(move: Callable[..., Any], path: Path) -> None:
            self.at("written")
            move(path)
            self.at("moved")

        _wrap(RegionModule, "training_step", step)
        _wrap(RegionModule, "validation_step", validation)
        _wrap(RunLogger, "log_metrics", logging)
        _wrap(_MultiProcessingDataLoaderIter, "_get_data", loader)
        _wrap(files.torch, "save", writing)
        _wrap(files, "move_into_place", moving)


def die(process: int | None = None) -> None:
    """SIGKILL, to this process if no other is named."""
    os.kill(process or os.getpid(), signal.SIGKILL)


def keep_points(path: Path) -> None:
    """Appends every point that is logged to a file, a JSON value a line: step, name and value."""
    from experiments.tracking.mlflow_runs import RunLogger

    def log(
        log_metrics: Callable[..., Any], logger: Any, metrics: Mapping[str, float], step: int | None = None
    ) -> None:
        with path.open("a") as file:
            file.writelines(f"{json.dumps([step, name, value])}\n" for name, value in metrics.items())
        log_metrics(logger, metrics, step)

    _wrap(RunLogger, "log_metrics", log)


def _wrap(owner: Any, name: str, around: Callable[..., Any]) -> None:
    inner = getattr(owner, name)
    setattr(owner, name, lambda *args, **kwargs: around(inner, *args, **kwargs))


def main(arguments: Sequence[str]) -> None:
    """Runs the command line behind place, step and log."""
    place, step, log, *command = arguments
    if place != "nowhere":
        assert place in PLACES, f"{place} is none of {PLACES}"
        Death(place, int(step)).arrange()
    keep_points(Path(log))
    import cli

    cli.main(command)


if __name__ == "__main__":
    main(sys.argv[1:])
