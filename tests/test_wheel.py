"""The wheel: all that the clone has, in one package whose names are nobody else's."""

from __future__ import annotations

import ast
import importlib.util
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from configparser import ConfigParser
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest
import torch
import yaml
from packaging.version import Version
from setuptools import Distribution

import cli
from datamodules import installation
from datamodules.installation import NAMESPACE, PACKAGES
from house import ROOMS, ROOT, modules
from lightning_modules import load
from small_run import write_small

FOREIGN = 'raise SystemExit("a module of somebody else")\n'


@pytest.fixture(scope="module")
def setup() -> ModuleType:
    """`setup.py`, of which nothing is run."""
    spec = importlib.util.spec_from_file_location("setup_of_the_wheel", ROOT / "setup.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def built(setup: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the wheel holds beside its metadata, where an earlier build has left a module that is gone."""
    folder = tmp_path_factory.mktemp("lib")
    (folder / "datamodules").mkdir()
    (folder / "datamodules" / "gone.py").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        command = setup.BuildPy(Distribution({"version": "1.2.3", "script_name": "setup.py", **setup.arguments()}))
        command.build_lib = str(folder)
        command.ensure_finalized()
        command.run()
    return folder


@pytest.fixture
def imported(built: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(built))
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == NAMESPACE]:
        del sys.modules[name]


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_names_are_the_same_everywhere(setup: ModuleType) -> None:
    assert setup.NAMESPACE == NAMESPACE
    assert setup.PACKAGES == PACKAGES == ROOMS


def test_imports_are_moved_and_nothing_else(setup: ModuleType) -> None:
    source = '''"""from metrics import a."""
from datamodules.types import Box; import metrics, os  # from metrics import a
from lightning_modules import (
    load,
)
from . import metrics
from metricsx import a
import experiments.config as config, json
def f():
    text = "ä"; from \\
        cli import main
    import cli
    return "import metrics"
'''.replace("import metrics, os", "import os")
    moved = source
    for old, new in (
        ("from datamodules.types", "from region_understanding.datamodules.types"),
        ("from lightning_modules import", "from region_understanding.lightning_modules import"),
        ("import experiments.config as", "import region_understanding.experiments.config as"),
        ("        cli import main", "        region_understanding.cli import main"),
        ("    import cli\n", "    from region_understanding import cli\n"),
    ):
        moved = moved.replace(old, new)
    assert setup.moved(source.encode(), "a.py").decode() == moved


@pytest.mark.parametrize("statement", ["import metrics.table", "import os, metrics"])
def test_an_import_that_cannot_be_moved_is_refused(setup: ModuleType, statement: str) -> None:
    with pytest.raises(ValueError, match=r"^a.py:2: import metrics\S* has to be written as"):
        setup.moved(f"\n{statement}\n".encode(), "a.py")


def test_everything_is_in_one_package(built: Path) -> None:
    """There were five, `cli` and `metrics` among them, and 5 of the configurations."""
    ours = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("[!.]*")
        if path.is_file() and path.suffix not in {".pyc", ".md"}
    }
    assert "experiments/models/shapes/model.safetensors" in ours and "experiments/models/llava-1.5-7b.yaml" in ours
    assert files(built) == {f"{NAMESPACE}/{name}" for name in {*ours, "cli.py", "__init__.py", "py.typed"}}


def test_nothing_is_imported_by_a_clones_names(built: Path) -> None:
    imported = {
        (path.name, name.partition(".")[0])
        for path in (built / NAMESPACE).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert [(path, name) for path, name in sorted(imported) if name in {*PACKAGES, "cli"}] == []


def test_no_module_of_ours_is_named_in_a_text() -> None:
    """`import_module("metrics.peer_files.x")` is no import that a build can see: `__name__` says where a module is.

    A class is called as it is written down, and whoever reads that finds it.
    """
    ours = re.compile(rf"""["'](?:{"|".join(PACKAGES)})\.(?:[a-z_]\w*|\.)*["'{{]""")
    texts = {name: path.read_text(encoding="utf-8") for name, path in modules().items()}
    named = [f"{name}: {found}" for name, text in texts.items() for found in ours.findall(text)]
    assert named == []


@pytest.mark.usefixtures("imported")
def test_in_a_wheel_classes_are_found_by_a_clones_names() -> None:
    """Those of a checkpoint and of a configuration that a clone has written; somebody else's stay theirs."""
    wheels = import_module(f"{NAMESPACE}.datamodules.installation")
    assert wheels.local_name("datamodules.Box") == f"{NAMESPACE}.datamodules.Box"
    assert wheels.local_name(f"{NAMESPACE}.datamodules.Box") == f"{NAMESPACE}.datamodules.Box"
    for theirs in ("datamodules.Cifar", "datamodules.errors", "metrics.gone.Mine", "my_regions.Ring"):
        assert wheels.local_name(theirs) == theirs
    assert wheels.typed("python cli.py ask") == "region ask"
    assert (sys.executable, "-P", "-m", f"{NAMESPACE}.cli") == wheels.PROGRAM
    assert import_module(NAMESPACE).__version__ == "1.2.3"
    # nobody else's module of such a name was touched
    assert installation.PROGRAM[1:] == (str(ROOT / "cli.py"),)


def test_version_changelog_and_tags_agree(capsys: pytest.CaptureFixture[str]) -> None:
    """The version is the newest of the changelog, or that which is being made; what is tagged has been released."""
    cli.main(["--version"])
    version = Version(capsys.readouterr().out.split()[-1])
    assert str(version) == installation.version()
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    released = [Version(found) for found in re.findall(r"^## \[(\d[^\]]*)\] - \d{4}-\d\d-\d\d$", text, re.MULTILINE)]
    assert all(later > earlier for later, earlier in pairwise(released))
    assert not released or released[0] <= version

    def tagged(*which: str) -> list[Version]:
        command = ["git", "tag", "--list", "v*", *which]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        return [Version(tag) for tag in done.stdout.split()]

    assert set(tagged()) <= set(released)
    assert set(tagged("--points-at", "HEAD")) <= {version}


def test_the_badges_are_true() -> None:
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    pythons = re.findall(r"Python :: (3\.\d+)", setup["metadata"]["classifiers"])
    badges = "\n".join(re.findall(r"img\.shields\.io/badge/(\S+)-blue", (ROOT / "README.md").read_text()))
    assert badges == f"python-{pythons[0]}_to_{pythons[-1]}\nlicense-Apache--2.0\ntypes-mypy_strict"
    assert setup["metadata"]["license"] == "Apache-2.0" and setup["mypy"]["strict"] == "True"
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["license"] == "Apache-2.0"


def pip(*arguments: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments], check=True)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a wheel is built from: building writes beside it."""
    folder = tmp_path_factory.mktemp("source") / "tree"
    folder.mkdir()
    for name in ("cli.py", "setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package)
    return folder


@pytest.fixture(scope="module")
def environment(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment's programs: the wheel, and the libraries of this one without what is installed here of ours."""
    wheels, folder = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("environment")
    pip("wheel", "--no-build-isolation", "--no-deps", "--wheel-dir", wheels, tree)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    pip("--python", python, "install", "--no-deps", "--no-index", *wheels.iterdir())
    # a folder in a .pth is searched for modules; its own .pth files, as of an editable installation, are not read
    purelib = sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)})
    Path(purelib, "libraries.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return folder / "bin"


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """The folder of somebody who calls packages as we do in a clone."""
    for package in PACKAGES:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text(FOREIGN)
    (tmp_path / "cli.py").write_text(FOREIGN)
    return tmp_path


@pytest.mark.slow
def test_an_empty_environment_runs_the_quickstart(environment: Path, foreign: Path) -> None:
    """What it has trained goes on in the clone, and what that leaves is tested by the wheel again."""
    small = write_small(foreign)

    def run(*command: str | Path) -> str:
        clean = {"PATH": "/usr/bin:/bin", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=foreign, env=clean, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    region = environment / "region"
    for program in ([region], [environment / "python", "-P", "-m", f"{NAMESPACE}.cli"]):
        assert run(*program, "--version").split()[-1] == installation.version()
    assert "What was learnt, seed 0" in run(region, "quickstart", "--config", small)
    folder = foreign / "runs" / "quickstart" / "image-seed0"
    assert NAMESPACE not in (folder / "config.yaml").read_text()
    described = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["region_model"]
    assert described["class"] == "lightning_modules.ImageRegionModule"
    assert described["options"]["region_encoder"]["class_path"] == "lightning_modules.TokenMark"

    options = ["--config=experiments/quickstart.yaml", f"--config={small}", f"--run.root={foreign}/runs"]
    options += ["--run.name=image-seed0", "--model.region_encoder=TokenMark", "--ckpt_path=last"]
    cli.main(["fit", *options])
    assert load(folder / "checkpoints" / "last.ckpt").describe()["class"] == described["class"]
    run(region, "test", *options)
    shapes = yaml.safe_load(run(region, "fit", "--config", "ablations/base/from_base", "--print_config"))
    base = Path(shapes["model"]["init_args"]["base"]["checkpoint"])
    assert base.is_dir() and base.is_relative_to(environment.parent)


@pytest.mark.slow
def test_an_editable_installation_is_the_clone(tree: Path, tmp_path: Path) -> None:
    """`pip install -e .` gives the command too, of the modules as they lie there."""
    program = "import sys, setuptools.build_meta as backend; prepared, to = sys.argv[1:]"
    program += "; backend.prepare_metadata_for_build_editable(prepared); backend.build_editable(to, {}, prepared)"
    prepared, to = tmp_path / "prepared", tmp_path / "to"
    for folder in (prepared, to):
        folder.mkdir()
    subprocess.run([sys.executable, "-c", program, prepared, to], cwd=tree, check=True, stdout=subprocess.DEVNULL)
    (wheel,) = to.iterdir()
    with zipfile.ZipFile(wheel) as archive:
        texts = {name.rpartition("/")[2]: archive.read(name).decode() for name in archive.namelist()}
    assert "region = cli:main" in texts["entry_points.txt"]
    assert set(texts["top_level.txt"].split()) == {*PACKAGES, "cli"}
    (finder,) = (text for name, text in texts.items() if name.endswith("_finder.py"))
    assert all(repr(str(tree / name)) in finder for name in (*PACKAGES, "cli"))
