"""Whether a killed training goes on exactly: `python -m experiments.benchmarks.killed_runs --kills 20`.

A small training of images and videos with a worker process is run once without a disturbance. Then the same command is
killed (SIGKILL) again and again at random moments, wherever it is by then: importing, in the middle of an epoch, of a
validation, of writing a checkpoint; and each time started again with `--ckpt_path last`. In the end weights, optimiser
state and every series in MLflow but those of the machine and of time have to be those of the first run to the last bit.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

STEPS = 24
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


def command(root: Path, options: Sequence[str] = ()) -> list[str]:
    """The training, told to go on from what it finds."""
    return [sys.executable, "cli.py", "fit", *OPTIONS, f"--run.root={root}", *options, "--ckpt_path=last"]


def run(root: Path, options: Sequence[str] = ()) -> float:
    """Runs to the end; how many seconds it took."""
    start = time.perf_counter()
    subprocess.run(command(root, options), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def kill_again_and_again(root: Path, kills: int, seconds: float, seed: int, options: Sequence[str] = ()) -> int:
    """Kills `kills` processes within `seconds` of their start, then lets one finish; how many had left a checkpoint."""
    draw = random.Random(seed)
    found = 0
    for _ in range(kills):
        found += (root / "killed" / "run" / "checkpoints" / "last.ckpt").is_file()
        started = subprocess.Popen(
            command(root, options), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            started.wait(draw.uniform(0.2, 1.0) * seconds)
        except subprocess.TimeoutExpired:
            started.send_signal(signal.SIGKILL)
            started.wait()
    run(root, options)
    return found


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


def compare(folder: Path, kills: int, seed: int, options: Sequence[str] = ()) -> str:
    """The whole experiment in `folder`; the line to print."""
    whole, killed = folder / "whole", folder / "killed"
    seconds = run(whole, options)
    found = kill_again_and_again(killed, kills, seconds, seed, options)
    numbers = series(whole)
    points = sum(map(len, numbers.values()))
    weights = "equal" if same(state(whole), state(killed)) else "DIFFER"
    tracked = "equal" if numbers == series(killed) else "DIFFER"
    return (
        f"{kills} kills, {found} after a first checkpoint: weights and optimiser state {weights}, "
        f"{points} points of {len(numbers)} series {tracked}\n"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints what came out; exit code 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="(%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="draws the moments (%(default)s)")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        line = compare(Path(folder), asked.kills, asked.seed)
    sys.stdout.write(line)
    if "DIFFER" in line:
        sys.exit(1)


if __name__ == "__main__":
    main()
