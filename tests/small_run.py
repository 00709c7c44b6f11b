"""A configuration that shrinks the quickstart's to two steps and a test of four scenes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

import cli


def write_small(folder: Path) -> Path:
    """Writes the configuration, to be given after `experiments/quickstart.yaml`, and its data beside it."""
    files: dict[str, Any] = {"root": f"{folder}/shapes", "val_scenes": 4, "test_scenes": 4, "workers": 1}
    cli.main(["shapes", "--to", files["root"], "--scenes", "4", "--val-scenes", "4", "--workers", "1"])
    sources = {split: {"shapes": {"init_args": {**files, "groups": ["what"]}}} for split in ("val", "test")}
    base = {"tokenizer": f"{folder}/shapes/tokenizer"}
    configuration = {
        "trainer": {"max_steps": 2, "enable_progress_bar": False, "log_every_n_steps": 1},
        "run": {"pictures": 0},
        "model": {"init_args": {"base": base, "max_new_tokens": 2}},
        "data": {"init_args": {"epoch_size": 4, "batch_size": 2, "num_workers": 0, **sources}},
    }
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(configuration))
    return path
