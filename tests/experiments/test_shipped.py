"""Shipped configurations are found by name from any folder, and name what is ours as a clone or as a wheel does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from datamodules.errors import DataError
from datamodules.installation import ROOT
from datamodules.region_datamodule import RegionDataModule
from experiments.config.parts import part_parser
from experiments.config.run_parser import RunParser
from experiments.config.shipped import configuration, here, names


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def parser() -> RunParser:
    made = part_parser("doctor", ["data"])
    made.add_subclass_arguments(RegionDataModule, "data", required=True)
    return made


@pytest.mark.parametrize(
    "name", ["models/llava-1.5-7b", "models/llava-1.5-7b.yaml", "experiments/models/llava-1.5-7b.yaml"]
)
def test_a_configuration_has_a_name_everywhere(name: str) -> None:
    """A command line of the README was only understood in the clone's own folder."""
    assert configuration(Path(name)) == ROOT / "experiments" / "models" / "llava-1.5-7b.yaml"


def test_a_file_that_is_there_comes_first(tmp_path: Path) -> None:
    (tmp_path / "quickstart").mkdir()  # a folder of runs is no configuration
    assert configuration(Path("quickstart")) == ROOT / "experiments" / "quickstart.yaml"
    (tmp_path / "finetune.yaml").touch()
    assert configuration(Path("finetune.yaml")) == Path("finetune.yaml")
    for strange in ("../experiments/quickstart", "/quickstart", "nothing"):
        assert configuration(Path(strange)) == Path(strange)


def test_a_misspelt_name_is_one_line() -> None:
    with pytest.raises(DataError, match=r"--config quickstrat: No such file .*, the nearest is quickstart$"):
        parser().parse_args(["--config", "quickstrat"])


def test_all_have_names() -> None:
    assert {"quickstart", "models/llava-1.5-7b", "ablations/base/shapes"} <= set(names())
    assert not any(name.startswith("lmms_eval") for name in names())  # no run is configured there


def test_shipped_folders_are_found_too() -> None:
    """The small base and the templates of the stand-ins lie beside the configurations that name them."""
    base = {"checkpoint": "experiments/models/shapes", "tokenizer": "experiments/none", "dtype": "float16"}
    assert here(base) == {**base, "checkpoint": str(ROOT / "experiments" / "models" / "shapes")}


def test_a_wheels_classes_are_read_in_a_clone(tmp_path: Path) -> None:
    """In a file, as an option of its own and within JSON."""
    source = {"class_path": "region_understanding.datamodules.formats.RegionJsonl", "init_args": {"path": "a.jsonl"}}
    module = "region_understanding.datamodules.ImageRegionDataModule"
    (tmp_path / "mine.yaml").write_text(
        json.dumps({"data": {"class_path": module, "init_args": {"train": {"a": source}, "batch_size": 3}}})
    )
    options = ["--config=mine.yaml", "--data", module, f"--data.val={json.dumps({'b': source})}"]
    data = parser().parse_args(options).data
    assert data.class_path == "datamodules.ImageRegionDataModule"
    assert data.init_args.batch_size == 3
    for split, name in (("train", "a"), ("val", "b")):
        assert data.init_args[split][name].class_path == "datamodules.formats.RegionJsonl"
