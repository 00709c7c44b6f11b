"""A name in `base.architecture` that no configuration has is refused, in every part of every base."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from families import TINY

from datamodules.errors import DataError
from lightning_modules.bases import BASES
from lightning_modules.bases.byte_tokenizer import BYTES
from lightning_modules.bases.loading import BaseModel, check_architecture, load_base, load_tokenizer
from lightning_modules.planning.plan import architecture_of

FILES = sorted(Path("experiments/models").glob("*.yaml"))
MISSPELT = {
    "vision_config": ("patch_sise", "patch_size"),
    "text_config": ("hiden_size", "hidden_size"),
    "adapter_config": ("hiden_size", "hidden_size"),
    "architecture": ("text_confg", "text_config"),
}


def parts(architecture: Mapping[str, Any]) -> Iterator[str]:
    yield "architecture"
    yield from (name for name in architecture if name.endswith("_config") and architecture[name])


def test_every_base_is_looked_at() -> None:
    assert {str(tiny.config["model_type"]) for tiny in TINY.values()} == set(BASES)


@pytest.mark.parametrize(("name", "part"), [(name, part) for name, tiny in TINY.items() for part in parts(tiny.config)])
def test_a_misspelt_name_is_refused_with_the_nearest(name: str, part: str) -> None:
    """Regression: transformers keeps it and builds the default: 4096 numbers wide in place of 32."""
    odd, meant = MISSPELT[part]
    config = dict(TINY[name].config)
    changed = {odd: 8}
    config = config | (changed if part == "architecture" else {part: {**config[part], **changed}})
    where = "base.architecture" if part == "architecture" else rf"base\.architecture\.{part}"
    with pytest.raises(DataError, match=rf"^{where} has no '{odd}' in a \w+, the nearest is {meant}$"):
        check_architecture(BaseModel(architecture=config))


@pytest.mark.parametrize("name", TINY)
def test_names_that_are_known_pass(name: str) -> None:
    check_architecture(BaseModel(architecture=dict(TINY[name].config)))


@pytest.mark.parametrize(
    "text",
    [{"rope_theta": 1e6}, {"head_dim": 16}, {"torch_dtype": "float32"}, {"rope_parameters": {"rope_type": "default"}}],
)
def test_older_names_and_those_of_every_configuration_pass(text: dict[str, Any]) -> None:
    for decoder in ("llama", "qwen2"):
        check_architecture(BaseModel(architecture={"text_config": {"model_type": decoder, **text}}))


def test_our_own_configurations_pass() -> None:
    bases = [yaml.safe_load(file.read_text())["model"]["init_args"]["base"] for file in FILES]
    found = [base["architecture"] for base in bases if "architecture" in base]
    assert len(found) > 10
    for architecture in found:
        check_architecture(BaseModel(architecture=architecture))


def test_neither_trained_nor_planned() -> None:
    base = BaseModel(architecture={"text_config": {"hiden_size": 32}}, tokenizer=BYTES)
    with pytest.raises(DataError, match=re.escape("base.architecture.text_config has no 'hiden_size' in a llama")):
        load_base(base, load_tokenizer(base))
    _, settings = architecture_of(base)
    with pytest.raises(DataError, match="hiden_size"):
        check_architecture(settings)
