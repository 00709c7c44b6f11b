"""How the code hangs together: who imports whom, in circles or against the data's way, and how long it is.

::

    python tests/house.py
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
ROOMS = ("datamodules", "metrics", "lightning_modules", "experiments")
"""Each imports from those before it, never from those after it."""


class Function(NamedTuple):
    """A function and how many lines it has."""

    lines: int
    name: str


def modules() -> dict[str, Path]:
    """Every module of the product by its dotted name."""
    found = {}
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


def imports(path: Path) -> Iterator[str]:
    """What a file imports, wherever it does so, by the full names of modules and of what is taken from them."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def graph(found: Mapping[str, Path]) -> dict[str, set[str]]:
    """The product's modules that each of them imports, for types only or inside of functions too."""

    def module(name: str) -> str | None:
        return next((known for known in (name, name.rpartition(".")[0]) if known in found), None)

    return {
        name: {other for imported in imports(path) if (other := module(imported)) not in (None, name)}
        for name, path in found.items()
    }


def circles(edges: Mapping[str, set[str]]) -> list[list[str]]:
    """Modules that reach each other, in groups."""
    reached = {name: _reached(edges, name) for name in edges}
    groups = {frozenset({name, *(other for other in reached[name] if name in reached[other])}) for name in edges}
    return sorted(sorted(group) for group in groups if len(group) > 1)


def _reached(edges: Mapping[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        new = edges[waiting.pop()] - seen
        seen |= new
        waiting += new
    return seen


def against_the_way(edges: Mapping[str, set[str]]) -> list[str]:
    """Imports from a room that comes later."""
    rank = {room: place for place, room in enumerate(ROOMS)}
    return [
        f"{name} imports {other}"
        for name, others in edges.items()
        for other in sorted(others)
        if rank[other.partition(".")[0]] > rank[name.partition(".")[0]]
    ]


def functions(path: Path) -> Iterator[Function]:
    """The functions of a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield Function((node.end_lineno or node.lineno) - node.lineno + 1, f"{path.relative_to(ROOT)}:{node.name}")


def main() -> None:
    """Prints lines of code by room, the longest file and function, and circles."""
    found = modules()
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in found.values()}
    for room in ROOMS:
        of_room = [length for path, length in lengths.items() if path.is_relative_to(ROOT / room)]
        sys.stdout.write(f"{room:18} {len(of_room):4} files {sum(of_room):7,} lines\n")
    sys.stdout.write(f"{'all':18} {len(lengths):4} files {sum(lengths.values()):7,} lines\n")
    longest = max(lengths, key=lambda path: lengths[path])
    sys.stdout.write(f"longest file: {longest.relative_to(ROOT)}, {lengths[longest]} lines\n")
    function = max(function for path in found.values() for function in functions(path))
    sys.stdout.write(f"longest function: {function.name}, {function.lines} lines\n")
    edges = graph(found)
    for title, names in (("circles", map(str, circles(edges))), ("against the way", against_the_way(edges))):
        listed = list(names)
        sys.stdout.write(f"{title}: {len(listed)}\n" + "".join(f"  {name}\n" for name in listed))


if __name__ == "__main__":
    main()
