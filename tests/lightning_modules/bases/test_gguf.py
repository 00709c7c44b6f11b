"""A decoder from one GGUF file: the same weights, tokenizer and chat template as from a folder."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf_file import tiny_llama, write_gguf
from transformers import CLIPVisionConfig, CLIPVisionModel, PreTrainedTokenizerFast

from datamodules.errors import DataError
from helpers import ARCHITECTURE, make_batch, marks, sample
from lightning_modules import BaseModel, ImageRegionModule, load
from lightning_modules.bases.loading import load_base, load_tokenizer
from lightning_modules.checkpoints.export import export
from small_tokenizers import byte_level, of_transformers

CHAT = "{% for message in messages %}<s>{{ message['role'] }} {{ message['content'] }}</s>{% endfor %}"


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The same decoder as a folder and as a GGUF file, and a tower."""
    folder = tmp_path_factory.mktemp("gguf")
    tokenizer = of_transformers(byte_level())
    tokenizer.chat_template = CHAT
    model = tiny_llama(len(tokenizer))
    model.save_pretrained(folder / "llama")
    tokenizer.save_pretrained(folder / "llama")
    write_gguf(folder / "llama.gguf", model, tokenizer)
    torch.manual_seed(0)
    CLIPVisionModel(CLIPVisionConfig(**ARCHITECTURE["vision_config"])).save_pretrained(folder / "clip")
    return {"folder": str(folder / "llama"), "gguf": str(folder / "llama.gguf"), "tower": str(folder / "clip")}


def base(places: dict[str, str], kind: str, **options: Any) -> BaseModel:
    return BaseModel(vision_tower=places["tower"], language_model=places[kind], **options)


def test_the_tokenizer_is_the_same(places: dict[str, str]) -> None:
    ours, theirs = (load_tokenizer(base(places, kind)) for kind in ("gguf", "folder"))
    assert isinstance(ours, PreTrainedTokenizerFast)
    text = "What is the red ring at the top ?"
    assert ours.encode(text) == theirs.encode(text)
    messages = [{"role": "user", "content": "hm"}]
    assert ours.apply_chat_template(messages, tokenize=False) == theirs.apply_chat_template(messages, tokenize=False)
    assert (ours.eos_token_id, ours.bos_token_id) == (theirs.eos_token_id, theirs.bos_token_id)


@torch.no_grad()
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_logits_are_the_same(places: dict[str, str], dtype: str) -> None:
    """The format orders queries and keys in another way; in a wrong order all logits but the first change."""
    made = [base(places, kind, dtype=dtype) for kind in ("gguf", "folder")]
    ours, theirs = (load_base(one, load_tokenizer(one)).model for one in made)
    ids, known = torch.arange(5, 25).unsqueeze(0), 406  # rows of tokens that are added are random
    found = [
        model.lm_head(model.model.language_model(input_ids=ids).last_hidden_state)[..., :known]
        for model in (ours, theirs)
    ]
    assert found[0].dtype == getattr(torch, dtype)
    torch.testing.assert_close(*found, rtol=0, atol=1e-5 if dtype == "float32" else 0)


def test_it_trains_and_is_kept_like_any_other(places: dict[str, str], tmp_path: Path) -> None:
    """transformers refuses to save what it has read from such a file until it forgets that it was quantised."""
    from test_region_module import train

    module = ImageRegionModule(base=base(places, "gguf"), region_encoder=marks(), prompt="chat", frozen=[])
    samples = (sample("a"), sample("b"))
    train(module, tmp_path, 2, samples)
    checkpoint = next((tmp_path / "checkpoints").glob("*.ckpt"))
    again = load(export(checkpoint, tmp_path / "exported"))
    with torch.no_grad():
        kept, trained = (one.eval().backbone(make_batch(one, *samples)).logits for one in (again, module))
    torch.testing.assert_close(kept, trained, rtol=0, atol=1e-5)


def test_what_cannot_be_read_is_one_error(
    places: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(name: str) -> str:
        one = BaseModel(vision_tower=places["tower"], language_model=name)
        with pytest.raises(DataError) as told:
            load_base(one, load_tokenizer(one))
        return str(told.value)

    assert refused("no/such.gguf").endswith("there is no such file")
    half = tmp_path / "half.gguf"
    half.write_bytes(Path(places["gguf"]).read_bytes()[:3000])
    assert str(half) in refused(str(half))
    find = importlib.util.find_spec
    monkeypatch.setattr("lightning_modules.bases.places.find_spec", lambda name: None if name == "gguf" else find(name))
    assert "pip install gguf" in refused(places["gguf"])
