"""`python cli.py benchmark`: what a name picks, and what cannot be asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import cli
from documented import documented_options
from experiments import lightning_cli
from experiments.commands.benchmark import check, command_line, parser, split
from experiments.named_benchmarks import Published, benchmarks, find_benchmark, published_rows
from helpers import tiny_module
from lightning_modules import TokenMark, VideoRegionModule
from lightning_modules.checkpoints.configuration import model_configuration
from lightning_modules.checkpoints.description import DESCRIPTION
from lightning_modules.checkpoints.export import export
from lightning_modules.checkpoints.reading import AnyCheckpointIO

X = ["--ckpt_path", "x.ckpt"]
ROOT = ["--root", "data"]


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as stop:
        cli.main(["benchmark", *arguments])
    assert stop.value.code == 2
    return capsys.readouterr().err.removeprefix("error: ").removesuffix("\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "benchmark: a NAME is needed; `benchmark --list` says which there are"),
        (["vcr", *X], "benchmark vcr: --root is needed, where its files lie"),
        (["vcr", *ROOT], "benchmark vcr: --ckpt_path or --base-model-only is needed, one of the two"),
        (["vcr", *ROOT, *X, "--base-model-only"], "benchmark vcr: --ckpt_path or --base-model-only is needed, one of"),
        (["vcr", *ROOT, "--base-model-only"], "benchmark vcr: --base-model-only and --base go together"),
        (["visual7", *ROOT, *X], "no benchmark 'visual7', the nearest is visual7w; `benchmark --list` names all"),
        (["none.yaml", *ROOT, *X], "none.yaml: No such file or directory"),
        (
            ["vcr", "--root", "no/where", *X],
            "--root no/where: no val.jsonl (the questions); 2 of 2 that vcr needs are not there",
        ),
    ],
)
def test_what_cannot_be_asked_for(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, *arguments).startswith(message)


def test_list_and_help_name_all(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["benchmark", "--list"])
    listed = capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.main(["benchmark", "--help"])
    assert listed in capsys.readouterr().out
    for benchmark in benchmarks().values():
        assert f"  {benchmark.name} " in listed and benchmark.title in listed
        assert all(f"{place}: {what}" in listed for place, what in benchmark.needs.items())


def test_documented_commands_are_of_benchmarks() -> None:
    """Every benchmark is documented, and every documented command could be run."""
    names = set()
    for given in documented_options("benchmark"):
        options, further = parser().parse_known_args(given)
        if options.list or options.name in ("NAME", "mine.yaml"):
            continue
        check(options, further)
        names.add(find_benchmark(options.name).name)
        assert all(option.startswith(("--vars.", "--judge.")) for option in further if option.startswith("--"))
    assert names == set(benchmarks())


def test_further_options_go_where_they_are_read() -> None:
    """Those of the judge would be read by `test` as a value of its own."""
    further = "--data.batch_size 2 --judge.model.model M --config=c --vars.kind k --judge.budget.money=2 --trainer.x -1"
    test, judge = split(further.split())
    assert " ".join(test) == "--data.batch_size 2 --config=c --vars.kind k --trainer.x -1"
    assert " ".join(judge) == further.removesuffix(" --trainer.x -1")


@pytest.mark.parametrize(
    ("judge", "message"),
    [
        (
            {"protocol": "dlc_text"},
            "no judge is configured: --judge.model names one, as datamodules.regvid.OpenAIModel",
        ),
        (
            {
                "protocol": "dlc_text",
                "model": {"class_path": "datamodules.regvid.OpenAIModel", "init_args": {"model": "gpt-x"}},
            },
            "model gpt-x: the environment variable OPENAI_API_KEY holds no API key; a server that wants none has "
            "api_key_env: null; --judge.model names another judge",
        ),
    ],
)
def test_without_a_judge_nothing_is_run(
    judge: Any, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All answers would have been there before the error."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr(lightning_cli, "main", lambda arguments: pytest.fail("the model was run"))
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"benchmark": {"title": "x", "needs": {}}, "judge": judge}))
    base = ["--base-model-only", "--base", "llava-1.5-7b", f"--run.root={tmp_path}"]
    assert refused(capsys, str(path), *ROOT, *base).startswith(message)


def arguments(*given: str) -> list[str]:
    options, further = parser().parse_known_args(given)
    return command_line(find_benchmark(options.name), options, further)


@pytest.mark.parametrize(("shown", "encoder"), [("text", "TextCoordinates"), ("drawn", "VisualMarker")])
def test_a_base_has_its_regions_as_text_or_drawn(shown: str, encoder: str) -> None:
    """No checkpoint: the weights are the base's, and nothing that would have to be learnt is put on them."""
    base = ["--base-model-only", shown, "--base"]
    asked = arguments("vcr", *ROOT, *base, "qwen3-vl-8b", "--data.batch_size", "2")
    assert asked[0] == "test" and asked[-2:] == ["--data.batch_size", "2"]
    assert f"--model.region_encoder={encoder}" in asked and f"--run.name=qwen3-vl-8b-{shown}" in asked
    files = [Path(option.removeprefix("--config=")) for option in asked if option.startswith("--config=")]
    table, model = files
    assert (table.name, model.parent.name, model.name) == ("table04_vcr.yaml", "models", "qwen3-vl-8b.yaml")
    assert not any(option.startswith("--ckpt_path") for option in asked)
    assert "--model.base.checkpoint=org/model" in arguments("vcr", *ROOT, *base, "org/model")


def test_an_unknown_base(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "val.jsonl").touch()
    (tmp_path / "vcr1images").touch()
    base = ["--base-model-only", "--base", "qwen3-vl-8"]
    told = refused(capsys, "vcr", "--root", str(tmp_path), *base)
    assert told.startswith(
        "--base qwen3-vl-8: no file of experiments/models, hub id or folder, the nearest is qwen3-vl"
    )


# --- a checkpoint's model as a configuration -----------------------------------------------------------------------


class Marked(VideoRegionModule):
    """A user's own."""


def test_a_checkpoint_says_what_its_model_is(tmp_path: Path) -> None:
    """Its options, but for how long it answers; the data decide which of the usual classes it is."""
    for kind, path in ((VideoRegionModule, None), (Marked, "test_named_benchmarks.Marked")):
        module = tiny_module(tmp_path, kind, max_new_tokens=7)
        torch.save({DESCRIPTION: module.describe(), "state_dict": {}}, tmp_path / "x.ckpt")
        told: dict[str, Any] = model_configuration(tmp_path / "x.ckpt", tmp_path / "run")
        assert told.get("class_path") == path
        made = told["init_args"]
        assert made["region_encoder"]["class_path"] == "lightning_modules.TokenMark"
        assert made["prompt"] == "plain" and "max_new_tokens" not in made
        assert made["base"]["architecture"]["model_type"] == "llava"
        assert Path(made["base"]["tokenizer"], "tokenizer.json").is_file()
    yaml.safe_dump(told)


def test_an_export_is_tested_as_a_checkpoint_is(tmp_path: Path) -> None:
    """Lightning was handed a folder, which it could not read."""
    module = tiny_module(tmp_path)
    torch.save({DESCRIPTION: module.describe(), "state_dict": module.state_dict()}, tmp_path / "x.ckpt")
    export(tmp_path / "x.ckpt", tmp_path / "exported")
    made = model_configuration(tmp_path / "exported", tmp_path)["init_args"]
    assert made["base"]["checkpoint"] == str(tmp_path / "exported")
    assert made["region_encoder"]["class_path"] == f"lightning_modules.{TokenMark.__name__}"
    read = AnyCheckpointIO().load_checkpoint(tmp_path / "exported")
    assert read["pytorch-lightning_version"]
    for name, weight in module.state_dict().items():
        assert torch.equal(read["state_dict"][name], weight), name


# --- what others have published ------------------------------------------------------------------------------------

TABLE = {"source": "A paper, Table 1", "metrics": ["choice/q_a", "choice/q_ar"], "rows": {"One": [80, None]}}


def test_published_numbers_come_on_our_scale() -> None:
    other = {**TABLE, "source": "Another", "scale": 5, "rows": {"Two": [4, 3.5]}}
    assert published_rows({"published": [TABLE, other]}) == (
        Published("One", "A paper, Table 1", {"choice/q_a": 0.8}),
        Published("Two", "Another", {"choice/q_a": 0.8, "choice/q_ar": 0.7}),
    )
    assert published_rows({}) == ()


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"title": "x"}, "benchmark: missing key 'needs'"),
        (
            {"title": "x", "needs": {}, "published": [{**TABLE, "rows": {"One": [80]}}]},
            "benchmark.published[0].rows.One",
        ),
        ({"title": "x", "needs": {}, "published": [{"metrics": []}]}, "benchmark.published[0]: missing key 'source'"),
        (
            {"title": "x", "needs": {}, "published": [{**TABLE, "source": "A paper: by B"}]},
            "benchmark.published[0].source: 'A paper: by B' holds ': ', which makes two of it",
        ),
    ],
)
def test_a_broken_file_of_ones_own(
    section: Any, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"benchmark": section}))
    assert refused(capsys, str(path), *ROOT, *X).startswith(f"{path}: {message}")
    path.write_text("trainer: {}\n")
    told = refused(capsys, str(path), *ROOT, *X)
    assert told == f"{path}: no section 'benchmark', which says what a benchmark needs"
