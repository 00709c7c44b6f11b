from __future__ import annotations

import json
import subprocess
from importlib import metadata
from pathlib import Path

import pytest

from experiments.tracking import provenance
from experiments.tracking.provenance import GitState, environment, git_state


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=n", "-c", "user.email=e"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A work tree of one file."""
    git(tmp_path, "init")
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-m", "a")
    return tmp_path.resolve()


def test_git_names_the_commit_and_whether_files_differ_from_it(tree: Path) -> None:
    commit = git(tree, "rev-parse", "HEAD")
    (tree / "notes").write_text("git does not know this file")
    assert git_state(tree) == GitState(commit, dirty=False)
    (tree / "a").write_text("2")
    assert git_state(tree) == GitState(commit, dirty=True)


def test_outside_of_git_there_is_no_state(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package installed in a folder of another project's work tree is not at that project's commit."""
    inside = tree / "site-packages"
    inside.mkdir()
    assert git_state(inside) is None
    monkeypatch.setattr(provenance.shutil, "which", lambda program: None)
    assert git_state(tree) is None


def test_a_work_tree_without_a_commit_has_no_state(tmp_path: Path) -> None:
    git(tmp_path, "init")
    assert git_state(tmp_path.resolve()) is None


def test_the_environment_is_what_is_installed() -> None:
    told = json.loads(json.dumps(environment()))
    for name in ("torch", "lightning", "transformers", "mlflow"):
        assert told[name] == told["packages"][name] == metadata.version(name)
    assert told["cpus"] >= 1
    assert told["gpus"] == [] or told["driver"]
