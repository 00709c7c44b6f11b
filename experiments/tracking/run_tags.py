"""What an MLflow run says of itself in its tags, to be searched, grouped and shown as columns."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from datamodules import installation
from experiments.tracking.provenance import git_state
from lightning_modules import VideoRegionModule
from lightning_modules.region_module import RegionModule

FOLDER, CHECKPOINT = "folder", "checkpoint"
COMMAND = "command/"  # of each command that has logged into the run


def run_tags(
    model: RegionModule, folder: Path, configurations: Sequence[Path], checkpoint: Path | None
) -> dict[str, str]:
    """The tags of a run from its beginning.

    Args:
        model: What is trained or asked.
        folder: Of the run.
        configurations: Files of the command line, in order.
        checkpoint: Where the training leaves its last one, or the one that is evaluated; None for untrained weights.

    Returns:
        `stage` image or video, `region_encoder` by the name of its class, `folder` and `checkpoint` as absolute paths,
        `configuration` the files' names, `table` where one of them is of a table of the paper, git's commit and state
        where there is git.
    """
    tags = {
        "stage": "video" if isinstance(model, VideoRegionModule) else "image",
        "region_encoder": model.region_encoder.kind.__name__,
        FOLDER: absolute(folder),
        **git_tags(),
    }
    if checkpoint is not None:
        tags[CHECKPOINT] = absolute(checkpoint)
    if configurations:
        tags["configuration"] = ", ".join(path.stem for path in configurations)
    tables = [path.stem for path in configurations if path.absolute().parent.name == "tables"]
    return {**tags, "table": tables[-1]} if tables else tags


def place(folder: Path) -> dict[str, str]:
    """Where a training's folder and its last checkpoint are: the tags that change when the folder is moved."""
    return {FOLDER: absolute(folder), CHECKPOINT: absolute(folder / "checkpoints" / "last.ckpt")}


def git_tags() -> dict[str, str]:
    """Commit of the source, under MLflow's own name for it, and whether files differ from it; empty without git."""
    state = git_state()
    if state is None:
        return {}
    return {"mlflow.source.git.commit": state.commit, "git.dirty": str(state.dirty).lower()}


def command_tag(arguments: Sequence[str]) -> dict[str, str]:
    """The command line under its command, as `command/fit`.

    Args:
        arguments: The command line without the program's name.
    """
    return {f"{COMMAND}{arguments[0]}": f"{installation.COMMAND} {shlex.join(arguments)}"}


def absolute(path: Path) -> str:
    """One name for one place, whatever directory it is named from."""
    return str(path.resolve())
