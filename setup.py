"""Builds the wheel: the packages of this repository, inside one package of the project's name.

`datamodules`, `metrics` and `cli` are names that others use too. In a clone, installed as editable or not, they are
imported as they lie here; a wheel has `region_understanding.datamodules` and so on. Imports are moved while the files
are copied; what the code has to know of the difference is in `datamodules/installation.py`, all else in setup.cfg.
"""

from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel

NAMESPACE = "region_understanding"
PACKAGES = ("datamodules", "metrics", "lightning_modules", "experiments")
MODULE = "cli"
LEFT_OUT = frozenset({".py", ".pyc", ".md"})
"""Files of a package that are no data; what is for readers stays in the repository."""
INIT = '''\
"""Region-level understanding of images and videos: a framework on PyTorch Lightning."""

__version__ = "{version}"
'''


def moved(source: bytes, name: str) -> bytes:
    """A module with every import of ours made an import from within the namespace; nothing else changes.

    Args:
        source: In UTF-8.
        name: Of the file, for errors.

    Raises:
        ValueError: It has `import a.b`, which binds the name `a`: that cannot be moved without changing what uses it.
    """
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    edits = []
    for node in ast.walk(ast.parse(source, name)):
        if isinstance(node, ast.ImportFrom) and not node.level and _is_ours(node.module or ""):
            edits.append(_of_from(source, starts[node.lineno - 1] + node.col_offset))
        elif isinstance(node, ast.Import) and any(_is_ours(alias.name) for alias in node.names):
            place = starts[node.lineno - 1] + node.col_offset
            edits.extend(_of_import(node, place, starts, f"{name}:{node.lineno}"))
    for start, end, text in sorted(edits, reverse=True):
        source = source[:start] + text + source[end:]
    return source


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] in (*PACKAGES, MODULE)


def _of_from(source: bytes, place: int) -> tuple[int, int, bytes]:
    """`from a.b import c` -> `from NAMESPACE.a.b import c`."""
    found = re.compile(rb"from[\s\\]+").match(source, place)
    assert found is not None
    return found.end(), found.end(), f"{NAMESPACE}.".encode()


def _of_import(node: ast.Import, place: int, starts: list[int], where: str) -> Iterator[tuple[int, int, bytes]]:
    """`import a.b as c` -> `import NAMESPACE.a.b as c`; `import a` -> `from NAMESPACE import a`."""
    for alias in node.names:
        if not _is_ours(alias.name):
            continue
        if alias.asname is not None:
            start = starts[alias.lineno - 1] + alias.col_offset
            yield start, start, f"{NAMESPACE}.".encode()
        elif "." in alias.name or len(node.names) > 1:
            raise ValueError(f"{where}: import {alias.name} has to be written as `from ... import` or with `as`")
        else:
            yield place, place + len("import"), f"from {NAMESPACE} import".encode()


class BuildPy(build_py):
    """Copies the packages as they are laid out in a wheel, with their imports moved."""

    def run(self) -> None:
        """Begins with an empty folder: what an earlier build has left there would be part of this wheel."""
        if not self.editable_mode:
            shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()
        if not self.editable_mode:
            package = Path(self.build_lib, NAMESPACE)
            version = self.distribution.get_version()
            (package / "__init__.py").write_text(INIT.format(version=version), encoding="utf-8")
            (package / "py.typed").touch()

    def build_module(self, module: str, module_file: str, package: str | list[str]) -> tuple[str, bool]:
        """Copies one file."""
        outfile, copied = super().build_module(module, module_file, package)
        Path(outfile).write_bytes(moved(Path(module_file).read_bytes(), module_file))
        return outfile, copied


class EditableWheel(editable_wheel):
    """An editable installation is the clone: nothing is moved."""

    def finalize_options(self) -> None:
        """Takes back what `arguments` says of a wheel, and metadata that were prepared with it."""
        self.dist_info_dir = None
        self.distribution.packages = _packages()
        self.distribution.package_dir = {}
        self.distribution.py_modules = [MODULE]
        self.distribution.entry_points = _entry_points()
        super().finalize_options()


def _entry_points(prefix: str = "") -> dict[str, list[str]]:
    """The command, and what lmms-eval finds our model by."""
    return {
        "console_scripts": [f"region = {prefix}{MODULE}:main"],
        "lmms_eval.models": [f"region = {prefix}experiments.lmms_eval:manifest"],
    }


def _packages() -> list[str]:
    return find_packages(include=[pattern for name in PACKAGES for pattern in (name, f"{name}.*")])


def _data(package: Path) -> Iterator[str]:
    for path in sorted(package.rglob("[!.]*")):
        if path.is_file() and path.suffix not in LEFT_OUT:
            yield str(path.relative_to(package))


def arguments() -> dict[str, Any]:
    """What setuptools is told beside setup.cfg, of a wheel."""
    return {
        "packages": [f"{NAMESPACE}.{name}" for name in _packages()],
        "package_dir": {NAMESPACE: "."},
        "py_modules": [f"{NAMESPACE}.{MODULE}"],
        "package_data": {f"{NAMESPACE}.{name}": list(_data(Path(name))) for name in PACKAGES},
        "entry_points": _entry_points(f"{NAMESPACE}."),
        "cmdclass": {"build_py": BuildPy, "editable_wheel": EditableWheel},
    }


if __name__ == "__main__":
    setup(**arguments())
