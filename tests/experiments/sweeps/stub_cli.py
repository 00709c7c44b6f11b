"""Stands for `cli.py` where no model is needed: `stub_cli.py fit --stub.steps=5 ...` counts to 5 and keeps the count.

Each start is a line of ROOT/journal: command, run, and the count from which it began. A test scores 10 times the seed
plus the count.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path


def main(arguments: list[str]) -> None:
    command = arguments[0]
    options = dict(argument.removeprefix("--").partition("=")[::2] for argument in arguments[1:])
    folder = Path(options["run.root"]) / options["run.experiment"] / options["run.name"]
    checkpoint = folder / "checkpoints" / "last.ckpt"
    count = int(checkpoint.read_text()) if checkpoint.exists() else 0
    with (Path(options["run.root"]) / "journal").open("a") as journal:
        journal.write(f"{command} {options['run.name']} {count}\n")
    (folder / "process").write_text(str(os.getpid()))
    if command == "fit":
        train(checkpoint, count, options)
    else:
        value = 10 * int(options["seed_everything"]) + count
        metrics = [{"metric": "score", "value": value}, {"metric": "nothing", "value": float("nan")}]
        (folder / "results.json").write_text(json.dumps({"split": "test", "results": metrics}))


def train(checkpoint: Path, count: int, options: dict[str, str]) -> None:
    if options.get("stub.broken") == "true":
        sys.exit("error: broken as asked")
    checkpoint.parent.mkdir(exist_ok=True)
    for step in range(count + 1, int(options.get("stub.steps", "3")) + 1):
        time.sleep(float(options.get("stub.seconds", "0")))
        partial = checkpoint.with_name("partial")
        partial.write_text(str(step))
        partial.replace(checkpoint)


if __name__ == "__main__":
    main(sys.argv[1:])
