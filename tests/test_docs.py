"""The pages of `docs/`: every command on them is parsed, every file read, every piece of Python run."""

from __future__ import annotations

import importlib
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import cli
from datamodules.shapes.encode import write_video
from helpers import tiny_module
from lightning_modules.checkpoints.description import DESCRIPTION

ROOT = Path(__file__).parents[1]
PAGES = [*sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.M | re.S)


def commands() -> Iterator[Any]:
    for page in PAGES:
        for block in blocks(page, "bash"):
            for line in block.replace("\\\n", " ").splitlines():
                command = " ".join(re.sub(r"(^| )#.*", "", line).split())
                if not re.search(r"cli\b|^region |^make ", command):
                    continue  # of another program
                yield pytest.param(command, id=f"{page.stem}: {command[:70]}")


@pytest.mark.parametrize("command", commands())
def test_a_command_is_parsed(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every option exists, and so does every file of ours that is named, and the class that a page writes."""
    monkeypatch.chdir(ROOT)
    if "my_regions" in command:
        (tmp_path / "my_regions.py").write_text("\n".join(blocks(ROOT / "docs" / "extending.md", "python")))
        monkeypatch.syspath_prepend(tmp_path)
    if command.startswith("make "):
        assert f"\n{command.split()[1]}:" in (ROOT / "Makefile").read_text()
    else:
        name, *arguments = shlex.split(re.split(r"cli(?:\.py)? |^region ", command)[1])
        if name in cli.LIGHTNING_COMMANDS:
            with pytest.raises(SystemExit) as stop:
                cli.main([name, *arguments, "--print_config"])
            assert stop.value.code == 0, capsys.readouterr().err
        else:
            importlib.import_module(f"experiments.commands.{name}").parser().parse_known_args(arguments)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_is_written_as_data_can_be_read(page: Path) -> None:
    for block in blocks(page, "yaml"):
        assert yaml.safe_load(block)
    for block in blocks(page, "json"):
        assert json.loads(block)["regions"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages speak of: a checkpoint, a base, photos and a video."""
    made = tmp_path_factory.mktemp("docs")
    module = tiny_module(made)
    torch.save({"state_dict": module.state_dict(), DESCRIPTION: module.describe()}, made / "last.ckpt")
    module.backbone.model.save_pretrained(made / "base")
    module.renderer.tokenizer.save_pretrained(made / "base")
    noise = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    (made / "photos").mkdir()
    for number, name in enumerate(("photo.jpg", "photos/01.jpg", "photos/02.jpg")):
        Image.fromarray(noise[number]).save(made / name)
    write_video(made / "clip.mp4", noise)
    return made


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.stem)
def test_python_runs(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of a page one after the other, in one session."""
    monkeypatch.chdir(folder)
    session: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(page, "python"):
        exec(compile(block, str(page), "exec"), session)


def test_the_notebook_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From top to bottom, and it is kept without outputs."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MPLBACKEND", "agg")
    cells = json.loads((ROOT / "docs/notebook.ipynb").read_text())["cells"]
    session: dict[str, Any] = {"__name__": "__main__"}
    for cell in cells:
        if cell["cell_type"] == "code":
            assert not cell["outputs"] and cell["execution_count"] is None
            exec(compile("".join(cell["source"]), cell["id"], "exec"), session)
    assert len(session["answers"]) == 2
    session["plt"].close("all")
