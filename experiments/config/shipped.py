"""Configurations and folders that come with the code, found by their names from any folder."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from datamodules.installation import ROOT, in_texts, local_name

T = TypeVar("T")

FOLDER = "experiments"
OTHERS = "lmms_eval/"
"""The folder of YAML that another program reads."""


def configuration(path: Path) -> Path:
    """The file itself where it is there, else the shipped one of that name: `quickstart`, `models/llava-1.5-7b`.

    `experiments/` before the name and `.yaml` behind it may be there; the path comes back where nothing is found.
    """
    if path.is_absolute() or (path.exists() and not path.is_dir()):
        return path
    name = path.as_posix().removeprefix(f"{FOLDER}/").removesuffix(".yaml")
    shipped = ROOT / FOLDER / f"{name}.yaml"
    return shipped if shipped.is_file() and ".." not in path.parts else path


def names() -> list[str]:
    """Of all shipped configurations and sweeps."""
    folder = ROOT / FOLDER
    found = (file.relative_to(folder).as_posix().removesuffix(".yaml") for file in folder.rglob("*.yaml"))
    return sorted(name for name in found if not name.startswith(OTHERS))


def here(value: T) -> T:
    """A value of a configuration that names what is ours, classes and `experiments/...`, as it is called here."""
    return in_texts(value, lambda text: local_name(_place(text)))


def _place(text: str) -> str:
    shipped = ROOT / text
    return str(shipped) if text.startswith(f"{FOLDER}/") and not Path(text).exists() and shipped.exists() else text
