"""The commands of README, docs and configurations: trainings with the devices they are for, benchmarks, others."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
USUAL = 80.0
"""GiB of a device where nothing else is said."""


class Documented(NamedTuple):
    """A command that trains.

    Attributes:
        file: Where it stands.
        options: What follows `fit`, but for values of the data's files and of an earlier stage.
        devices: Of all nodes together.
        memory: GiB of one: the last that are named before it in its header, block or paragraph.
    """

    file: str
    options: tuple[str, ...]
    devices: int
    memory: float


def documented() -> list[Documented]:
    """Every one, once; those with `...` or `--config A` in place of options are patterns and not commands."""
    found = {one[1:]: one for file in _files() for one in _commands(file)}
    return list(found.values())


def documented_options(command: str) -> list[list[str]]:
    """What follows another command's name, each time that it is written with options or a name before them."""
    pattern = re.compile(rf"cli\.py {command} ([^`\n]+)")
    texts = ["\n".join(_paragraphs(file)) for file in _files()]
    return [shlex.split(options, comments=True) for text in texts for options in pattern.findall(text)]


def _files() -> list[Path]:
    pages = [ROOT / "README.md", ROOT / "experiments/README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return [*pages, *sorted((ROOT / "experiments").rglob("*.yaml"))]


def _commands(file: Path) -> Iterator[Documented]:
    for paragraph in _paragraphs(file):
        for found in re.finditer(r"(?P<launch>[^`\n]*?)cli\.py fit (?P<options>[^`\n]+)", paragraph):
            options = shlex.split(re.sub(r"--(vars\.\w+|model\.init_from) \S+| #.*", "", found["options"]))
            if "..." not in options and "A" not in options:
                named = re.findall(r"([\d.]+) GiB", paragraph[: found.start()])
                memory = float(named[-1]) if named else USUAL
                yield Documented(str(file.relative_to(ROOT)), tuple(options), _devices(found["launch"]), memory)


def _paragraphs(file: Path) -> list[str]:
    """A YAML's header, or what stands between empty lines, without marks of comments and with long lines joined."""
    text = file.read_text()
    if file.suffix == ".yaml":
        header = re.match(r"(#.*\n)*", text)
        assert header is not None
        text = re.sub(r"^#", "", header[0], flags=re.MULTILINE)
    return re.sub(r"\\\n\s*", "", text).split("\n\n")


def _devices(launch: str) -> int:
    counts = re.findall(r"--(?:nproc_per_node|nnodes|nodes|ntasks-per-node) (\d+)", launch)
    devices = 1
    for count in counts:
        devices *= int(count)
    return devices
