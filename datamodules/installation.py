"""Where this code runs: in a clone, or installed from a wheel, which has it all in one package.

In a clone our packages are imported as `datamodules`, `metrics`, `lightning_modules` and `experiments`. Names as common
as these would collide in an environment with somebody else's, so a wheel has `region_understanding.datamodules` and so
on (`setup.py` moves them). What differs for the code is here: how the program is called, where its version is, and the
names of classes. Written down, in checkpoints and beside runs, is a clone's name: both read what either has written.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

NAMESPACE = "region_understanding"
PACKAGES = ("datamodules", "metrics", "lightning_modules", "experiments")
PREFIX = __name__.rpartition("datamodules")[0]
"""What stands before the name of a package of ours: nothing in a clone."""
IN_A_CLONE = "python cli.py"
COMMAND = "region" if PREFIX else IN_A_CLONE
"""How the program is called here."""
ROOT = Path(__file__).parents[1]
"""The folder that holds our packages."""
PROGRAM = (sys.executable, "-P", "-m", f"{PREFIX}cli") if PREFIX else (sys.executable, str(ROOT / "cli.py"))
"""What starts it in a process of its own; `-P`: no folder comes before what is installed, as when `region` is typed."""

_NAMESPACED = re.compile(rf"(?<![\w.]){NAMESPACE}\.(?=(?:{'|'.join(PACKAGES)})\b)")
_CLASS_PATH = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")


def version() -> str:
    """That of `setup.cfg`: read there in a clone, whose installed metadata may be of an earlier commit."""
    if not PREFIX:
        from configparser import ConfigParser

        setup = ConfigParser()
        setup.read(ROOT / "setup.cfg", encoding="utf-8")
        return setup["metadata"]["version"]
    from importlib import metadata

    return metadata.version(NAMESPACE)


def typed(text: str) -> str:
    """A text that says `python cli.py`, as the program is called here."""
    return text.replace(IN_A_CLONE, COMMAND)


def written(value: T) -> T:
    """A value with the names that classes of ours have in a clone, in text and within lists and mappings."""
    return in_texts(value, lambda text: _NAMESPACED.sub("", text))


def local_name(path: str) -> str:
    """What a class path of a clone or of a wheel is imported by here; one that is not ours, and other text, stays.

    A class path that begins as ours do, as `metrics.Mine`, is somebody else's where we have no such class.
    """
    if not _CLASS_PATH.fullmatch(path):
        return path
    ours = path.removeprefix(f"{NAMESPACE}.")
    if ours.partition(".")[0] not in PACKAGES:
        return path
    here = f"{PREFIX}{ours}"
    return here if path.startswith((f"{NAMESPACE}.", here)) or _is_there(here) else path


def in_texts(value: T, change: Callable[[str], str]) -> T:
    """A value of YAML with every text in it changed, but for the names in mappings."""
    changed: T = _changed(value, change)
    return changed


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_changed(item, change) for item in value]
    if isinstance(value, Mapping):
        return {key: _changed(item, change) for key, item in value.items()}
    return value


def _is_there(path: str) -> bool:
    module, _, name = path.rpartition(".")
    try:
        return callable(getattr(importlib.import_module(module), name, None))
    except ModuleNotFoundError as error:
        # a package that a module of ours needs may be missing: whoever makes the class says so
        return not f"{module}.".startswith(f"{error.name}.")
