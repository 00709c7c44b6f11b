"""Where a base and its tokenizer are said to be: what is not there, damaged or another's is one error that names it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from datamodules.errors import DataError
from helpers import ARCHITECTURE, character_tokenizer, tiny_module
from lightning_modules import load
from lightning_modules.bases.loading import BaseModel, load_base, load_tokenizer, load_visual_processor
from lightning_modules.checkpoints.export import _write


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LLaVA with its tokenizer, as `export` writes it."""
    folder = tmp_path_factory.mktemp("exported")
    module = tiny_module(tmp_path_factory.mktemp("module"))
    _write(module, folder)
    return folder


def load_all(**options: Any) -> None:
    base = BaseModel(**options)
    tokenizer = load_tokenizer(base)
    load_visual_processor(base, load_base(base, tokenizer).model.config)


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGE: list[tuple[str, Callable[[Path], Any], str]] = [
    ("model.safetensors", halve, "cannot load a llava"),
    ("model.safetensors", lambda path: path.write_bytes(b""), "cannot load a llava"),
    ("model.safetensors", Path.unlink, "cannot load a llava"),
    ("config.json", halve, "not a valid JSON"),
    ("config.json", lambda path: path.write_text("[]"), r"no (model|tokenizer) at"),
    ("tokenizer.json", halve, "no tokenizer at"),
    ("tokenizer_config.json", lambda path: path.write_text("[]"), "no tokenizer at"),
    ("preprocessor_config.json", lambda path: path.write_text("{"), "not a valid JSON"),
]


@pytest.mark.parametrize(("file", "damage", "said"), DAMAGE)
def test_a_damaged_file_is_one_error(
    file: str, damage: Callable[[Path], Any], said: str, exported: Path, tmp_path: Path
) -> None:
    """Settings of pictures that could not be read were replaced by the family's own, without a word."""
    folder = tmp_path / "damaged"
    shutil.copytree(exported, folder)
    damage(folder / file)
    with pytest.raises(DataError, match=said) as told:
        load_all(checkpoint=str(folder))
    assert str(folder) in str(told.value)
    with pytest.raises(DataError, match=str(folder)):
        load(folder)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"checkpoint": "/no/where"}, "^no model at '/no/where': there is no such folder$"),
        ({"checkpoint": "no/such/folder"}, "there is no such folder$"),
        ({"checkpoint": "not a name"}, "no (model|tokenizer) at 'not a name'"),
        ({"architecture": ARCHITECTURE, "tokenizer": "./nowhere"}, "'./nowhere': there is no such folder$"),
        (
            {"architecture": {**ARCHITECTURE, "text_config": {"hidden_size": "big"}}, "tokenizer": "bytes"},
            "hidden_size",
        ),
        ({"architecture": {**ARCHITECTURE, "text_config": {"model_type": "none"}}, "tokenizer": "bytes"}, "none"),
    ],
)
def test_what_is_not_there_is_one_error(options: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        load_all(**options)


def test_a_hub_that_does_not_answer_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was asked again for a minute for each file."""
    asked: list[str] = []

    def fail(url: str) -> None:
        asked.append(url)
        raise ConnectionError("no network")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", fail)
    with pytest.raises(DataError, match=r"^no model at 'nobody/nothing': no network$"):
        load_all(checkpoint="nobody/nothing")
    assert len(asked) == 1


def test_a_tokenizer_without_an_end_of_sequence_is_refused(tmp_path: Path) -> None:
    """It was an AssertionError at the first sample."""
    endless = PreTrainedTokenizerFast(tokenizer_object=character_tokenizer().backend_tokenizer, unk_token="<unk>")
    endless.save_pretrained(tmp_path)
    with pytest.raises(DataError, match=rf"^the tokenizer of '{tmp_path}' has no end of sequence"):
        load_all(architecture=ARCHITECTURE, tokenizer=str(tmp_path))


def test_another_vocabulary_over_a_checkpoint_is_refused(exported: Path, tmp_path: Path) -> None:
    """Special tokens got other ids than the weights had learnt; the checkpoint's own tokenizer elsewhere is fine."""
    same = tmp_path / "same"
    shutil.copytree(exported, same)
    load_all(checkpoint=str(exported), tokenizer=str(same))
    with pytest.raises(DataError, match=r"base.tokenizer 'bytes' is not that of base.checkpoint|has the id"):
        load_all(checkpoint=str(exported), tokenizer="bytes")


def test_a_decoder_in_the_towers_place_is_refused(exported: Path, tmp_path: Path) -> None:
    config = LlamaConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, vocab_size=128
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    character_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(DataError, match="no tower of type 'llama'"):
        load_all(vision_tower=str(tmp_path), language_model=str(tmp_path))
