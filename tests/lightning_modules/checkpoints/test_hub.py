"""Exports on the hub: pushed there with their card, loaded from there, against a server of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from test_standalone import exported

import cli
from datamodules.errors import DataError
from helpers import tiny_module
from hub import Hub, running_hub
from lightning_modules import ImageRegionModule, load
from lightning_modules.checkpoints.hub import fetched, push
from lightning_modules.checkpoints.reading import read


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with running_hub() as running:
        monkeypatch.setattr(constants, "ENDPOINT", running.endpoint)
        address = f"{running.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", "hf_nobody")
        yield running


def test_a_pushed_model_is_loaded_by_its_name(hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module = tiny_module(tmp_path, kind=ImageRegionModule).eval()
    exported(module, tmp_path)
    given = [f"--ckpt_path={tmp_path / 'last.ckpt'}", f"--to={tmp_path / 'to'}"]
    cli.main(["export", *given, "--push=ann/marks", "--license=apache-2.0"])
    assert f"uploaded: {hub.endpoint}/ann/marks/commit/{hub.commit('ann/marks')}" in capsys.readouterr().out
    assert hub.visible["ann/marks"]["visibility"] == "private"
    assert hub.files["ann/marks"] == {path.name: path.read_bytes() for path in (tmp_path / "to").iterdir()}
    assert "from_pretrained(place, trust_remote_code=True)" in hub.files["ann/marks"]["README.md"].decode()
    again = load("ann/marks")
    assert type(again) is ImageRegionModule
    ours = module.state_dict()
    assert all(torch.equal(weight, ours[name]) for name, weight in again.state_dict().items())
    assert read("ann/marks")["state_dict"].keys() == ours.keys()  # what `init_from` starts from
    assert not list(fetched("ann/marks").glob("*.py"))  # what is not run is not fetched


def test_what_the_hub_refuses_is_one_line(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text("{}")
    push(tmp_path / "model", "ann/other", public=True)
    assert hub.visible["ann/other"]["visibility"] == "public"
    with pytest.raises(DataError, match=r"on the hub is no model of this framework: it has no regions\.json"):
        load("ann/other")
    with pytest.raises(DataError, match=r"^no model at 'ann/gone': 404"):
        load("ann/gone")
    hub.refused = 403
    with pytest.raises(DataError, match="model is written, but cannot be uploaded to 'ann/other': 403 Forbidden"):
        push(tmp_path / "model", "ann/other")


def test_a_repository_has_a_user_and_a_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is refused before anything is exported."""
    for given, message in (
        (["--push=marks"], "'marks' is no repository of the hub: user/name is needed"),
        (["--public"], "--public is of a repository: --push USER/NAME is needed"),
        (["--license=mit", "--base_only"], "--license is written on the card, which a base alone does not have"),
    ):
        with pytest.raises(SystemExit):
            cli.main(["export", "--ckpt_path=x", f"--to={tmp_path}/to", *given])
        assert capsys.readouterr().err == f"error: {message}\n"


def test_a_path_is_no_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is meant as a file that is not there is not looked for elsewhere."""
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    for path in ("runs/gone", "elsewhere/last.ckpt", "./a/b", "/a/b", "a/b/c", "alone"):
        assert fetched(path) == Path(path)
