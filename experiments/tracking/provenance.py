"""What a run ran on: the state of the source, the machine, the versions of everything installed."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from dataclasses import asdict, dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).resolve().parents[1]
NAMED = ("torch", "lightning", "transformers", "mlflow")


@dataclass(frozen=True, slots=True)
class GitState:
    """Of a work tree.

    Attributes:
        commit: Its whole hash.
        dirty: Whether a file that git knows differs from it.
    """

    commit: str
    dirty: bool


def git_state(folder: Path = SOURCE) -> GitState | None:
    """That of the work tree whose top is `folder`; None if it is none, has no commit, or there is no git."""
    # a package installed somewhere inside of another project's work tree is not at that one's commit
    if _output("git", "-C", str(folder), "rev-parse", "--show-toplevel") != str(folder):
        return None
    commit = _output("git", "-C", str(folder), "rev-parse", "--verify", "HEAD")
    changes = _output("git", "-C", str(folder), "status", "--porcelain", "--untracked-files=no")
    return None if commit is None else GitState(commit, bool(changes))


def environment() -> dict[str, Any]:
    """Machine and software as JSON values: Python, libraries, processors, CUDA and its driver, all packages, git."""
    import torch

    state = git_state()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        **{name: metadata.version(name) for name in NAMED},
        "cpus": os.cpu_count(),
        "cuda": torch.version.cuda,
        "driver": _driver(),
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        "git": None if state is None else asdict(state),
        "packages": packages(),
    }


@cache
def packages() -> dict[str, str]:
    """Everything installed, name -> version, as `pip freeze` lists it."""
    # a package's metadata are read anew each time that they are asked for
    described = (package.metadata for package in metadata.distributions())
    found = {package["Name"]: package["Version"] for package in described}
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def _driver() -> str | None:
    """Version of NVIDIA's driver, None without one."""
    versions = _output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    return versions.splitlines()[0] if versions else None


def _output(*command: str) -> str | None:
    """What a program prints; None if it is not there or fails."""
    program = shutil.which(command[0])
    if program is None:
        return None
    done = subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None
