"""Every documented command is read; trainings fit on the devices that they are documented for, by our own `plan`."""

from __future__ import annotations

from pathlib import Path

import pytest

import cli
from datamodules.regvid.openai_model import OpenAIModel
from documented import ROOT, Documented, documented, documented_options
from experiments.commands import ask, export, regvid

NEEDS_A_CHECKPOINT = {"llava-onevision-7b", "gemma-4-e4b", "molmo2-8b"}
"""Their files say that plan needs the checkpoint on this machine: no test has it."""
SMALLEST = ("--config", "experiments/quickstart.yaml")
COMMANDS = documented()
INSTRUCTION_DATA = [options for options in documented_options("regvid") if "X" not in options]


def models(command: Documented) -> set[str]:
    """The files of `experiments/models/` that it names."""
    return {Path(option).stem for option in command.options if option.startswith("experiments/models/")}


def small(command: Documented) -> bool:
    """Of a model that a laptop trains."""
    return not models(command)


PLANNED = [
    pytest.param(
        command, id=f"{command.file}-{number}", marks=[] if command.options == SMALLEST else [pytest.mark.slow]
    )
    for number, command in enumerate(COMMANDS)
    if not models(command) & NEEDS_A_CHECKPOINT
]


def test_commands_are_found() -> None:
    """Each base has one, and so has each strategy; the devices and their memory are those of the text around it."""
    named = set().union(*map(models, COMMANDS))
    assert named == {path.stem for path in (ROOT / "experiments" / "models").glob("*.yaml")}
    options = {option for command in COMMANDS for option in command.options}
    assert options >= {f"experiments/strategies/{path.name}" for path in (ROOT / "experiments/strategies").glob("*")}
    devices = {(command.devices, command.memory) for command in COMMANDS}
    assert {(1, 141.0), (1, 48.0), (8, 80.0), (8, 48.0), (16, 48.0), (64, 40.0)} <= devices


def test_documented_exports_and_questions_are_parsed() -> None:
    exports, questions = documented_options("export"), documented_options("ask")
    for options in exports:
        export.parser().parse_args(options)
    for options in questions:
        ask.parser().parse_args(options)
    assert {"--push", "--dtype", "--license", "--base_only"} <= {name for options in exports for name in options}
    assert {"--image", "--video"} <= {name for options in questions for name in options}


@pytest.mark.parametrize("command", PLANNED)
def test_a_documented_training_fits(
    command: Documented, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of them were out of memory: a step's samples went through in one pass."""
    monkeypatch.chdir(ROOT)
    arguments = ["plan", *command.options, "--devices", str(command.devices), "--device-memory", str(command.memory)]
    if small(command):  # the tokenizer of data that are not written yet
        arguments += ["--model.base.tokenizer", "bytes"]
    cli.main(arguments)
    assert f"fits into {command.memory:g} GiB" in capsys.readouterr().out


@pytest.mark.parametrize("options", INSTRUCTION_DATA, ids=" ".join)
def test_documented_instruction_data_are_configured(options: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Those over `finetune.yaml` ended in an error, as it wants to be told where its files are."""
    monkeypatch.chdir(ROOT)
    asked, rest = regvid.parser().parse_known_args(options)
    if asked.report is not None:
        assert not rest
        return
    made = regvid.instantiated(rest, ["mark", "regvid"])
    models = made.regvid.models.every()
    assert models and all(isinstance(model, OpenAIModel) for model in models)
    assert all(model.most_images is None or model.most_images >= made.mark.frames for model in models)


def test_servers_of_every_kind_are_documented() -> None:
    told = [" ".join(options) for options in INSTRUCTION_DATA]
    for what in ("local.yaml --probe", "11434", "openai.yaml", "--report", "--dry-run"):
        assert any(what in command for command in told), what
