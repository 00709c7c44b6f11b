"""Whether a killed training goes on exactly: `python -m experiments.benchmarks.killed_runs`.

A small training of images and videos with a worker process is run once without a disturbance. Then the same command is
killed (SIGKILL) at 20 named places, one after the other, and each time started again with `--ckpt_path last`. In the
end weights, optimiser state and every series in MLflow but those of the machine and of time have to be those of the
first run to the last bit. So has every point on the way that MLflow was not given, since its run had one of that step.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

STEPS = 24
KILLS = (
    *(("step", 0), ("writing", 2), ("written", 2), ("moved", 2), ("loader", 3), ("logging", 4), ("validation", 5)),
    *(("writing", 6), ("worker", 7), ("moved", 8), ("step", 9), ("validation", 10), ("moved", 10), ("written", 12)),
    *(("logging", 14), ("validation", 15), ("loader", 16), ("moved", 20), ("step", 23), ("written", 24)),
)
"""Places, and the steps at which they are passed: a checkpoint every two, a validation every five, epochs of ten."""
TIMED = ("system/", "cost/fit_seconds")  # what a machine does meanwhile is never the same
KEPT = ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "epoch")
OPTIONS = (
    "--config=experiments/quickstart.yaml",
    "--config=experiments/quickstart_video.yaml",
    f"--trainer.max_steps={STEPS}",
    "--trainer.val_check_interval=5",
    "--trainer.check_val_every_n_epoch=null",
    "--trainer.limit_val_batches=1",
    "--trainer.log_every_n_steps=1",
    "--trainer.enable_progress_bar=false",
    "--model.init_from=null",
    "--model.max_new_tokens=3",
    "--data.epoch_size=40",
    "--data.batch_size=4",
    "--data.eval_batch_size=4",
    "--data.num_workers=1",
    "--run.experiment=killed",
    "--run.name=run",
    "--run.save_every=2",
    "--run.pictures=0",
)


def run(root: Path, options: Sequence[str] = (), place: str = "nowhere", step: int = 0) -> int:
    """Runs the training, which goes on from what it finds, to its end or to a place; its exit code."""
    command = ["fit", *OPTIONS, f"--run.root={root}", *options, "--ckpt_path=last"]
    log = root.with_suffix(".log")
    code = exit_code([place, str(step), str(root.with_suffix(".jsonl")), *command], log)
    if place == "nowhere" and code:
        raise RuntimeError(log.read_text()[-3000:])
    return code


def exit_code(arguments: Sequence[str], log: Path) -> int:
    """Of a process that runs `dying` with these arguments; what it prints goes into `log`."""
    dying = [sys.executable, "-m", f"{__package__}.dying", *arguments]
    with log.open("w") as file:  # a pipe would be waited for as long as anything that it started holds it
        return subprocess.run(dying, check=False, stdout=file, stderr=file).returncode


def kill_again_and_again(root: Path, kills: Sequence[tuple[str, int]], options: Sequence[str] = ()) -> None:
    """Kills the training at one place after the other, then lets it finish."""
    for place, step in kills:
        code = run(root, options, place, step)
        # of a training whose worker was killed the rest ends by itself, with an error
        assert code == -signal.SIGKILL or (place == "worker" and code > 0), f"{place} {step}: exit code {code}"
    run(root, options)


def state(root: Path) -> dict[str, Any]:
    """Weights, optimiser state and progress at the end."""
    checkpoint = torch.load(root / "killed" / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    return {name: checkpoint[name] for name in KEPT}


def series(root: Path) -> dict[str, list[tuple[int, float]]]:
    """Every metric of the training's MLflow run: its steps and values, in the order they were logged."""
    from mlflow import MlflowClient

    from experiments.tracking.mlflow_runs import tracked_run

    client = MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    run_id = tracked_run(root / "killed" / "run")
    assert run_id is not None, "the run has come to its end"
    return {
        name: [(point.step, point.value) for point in client.get_metric_history(run_id, name)]
        for name in sorted(client.get_run(run_id).data.metrics)
        if not name.startswith(TIMED)
    }


def same(one: Any, other: Any) -> bool:
    """Whether two nested values are equal, tensors to the last bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def points(root: Path) -> set[tuple[int, str, float]]:
    """Every point that was logged on the way: step, name and value."""
    lines = map(json.loads, root.with_suffix(".jsonl").read_text().splitlines())
    return {(step, name, value) for step, name, value in lines if not name.startswith(TIMED)}


def compare(folder: Path, kills: Sequence[tuple[str, int]] = KILLS, options: Sequence[str] = ()) -> str:
    """The whole experiment in `folder`; the line to print."""
    whole, killed = folder / "whole", folder / "killed"
    run(whole, options)
    kill_again_and_again(killed, kills, options)
    numbers = series(whole)
    count = sum(map(len, numbers.values()))
    weights = "equal" if same(state(whole), state(killed)) else "DIFFER"
    tracked = "equal" if numbers == series(killed) else "DIFFER"
    again = "equal" if points(whole) == points(killed) else "DIFFER"
    return (
        f"{len(kills)} kills: weights and optimiser state {weights}, {count} points of {len(numbers)} series "
        f"{tracked}, what was logged again {again}\n"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints what came out; exit code 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=len(KILLS), help="the first of them (%(default)s)")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        line = compare(Path(folder), KILLS[: asked.kills])
    sys.stdout.write(line)
    if "DIFFER" in line:
        sys.exit(1)


if __name__ == "__main__":
    main()
