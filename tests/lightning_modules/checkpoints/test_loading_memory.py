"""Weights are read through the meta device, a shard at a time: no second copy of them is ever in memory."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

import pytest
from transformers import CLIPVisionModel, LlamaForCausalLM

from lightning_modules.bases import loading
from lightning_modules.bases.loading import BaseModel, build
from processes import finish, start

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/status")

ARCHITECTURE = {
    "vision_config": {"image_size": 16, "patch_size": 8, "hidden_size": 32, "num_attention_heads": 2},
    "text_config": {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 6, "vocab_size": 4096},
}


def anonymous() -> int:
    """Bytes that are this process's own."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["RssAnon"].split()[0]) * 1024


def load(places: dict[str, str], found: Path) -> None:
    """Loads in bfloat16 and writes what it took at most, beside the bytes of the weights."""
    from transformers import AutoModelForCausalLM, CLIPVisionModel  # noqa: F401 - imported later it counts as weights

    before = anonymous()
    peak = before

    def watch() -> None:
        nonlocal peak
        while True:
            peak = max(peak, anonymous())
            time.sleep(0.0005)

    threading.Thread(target=watch, daemon=True).start()
    base = BaseModel(**places, dtype="bfloat16")  # type: ignore[arg-type]  # places are texts
    if base.checkpoint:
        model = loading._checkpoint(base.checkpoint, base.dtype)
    else:
        assert base.vision_tower and base.language_model
        model = loading._join(base.vision_tower, base.language_model, {}, base.dtype)
    weights = sum(weight.nbytes for weight in model.parameters())
    found.write_text(json.dumps([peak - before, weights]))


@pytest.mark.parametrize("origin", ["clip and llama", pytest.param("llava", marks=pytest.mark.slow)])
def test_loading_takes_the_memory_of_the_weights_once(origin: str, tmp_path: Path) -> None:
    model = build(ARCHITECTURE)
    if origin == "llava":
        model.save_pretrained(tmp_path / "llava", max_shard_size="20MB")
        places = {"checkpoint": tmp_path / "llava"}
        assert len(list((tmp_path / "llava").glob("*.safetensors"))) > 5
    else:
        CLIPVisionModel(model.config.vision_config).save_pretrained(tmp_path / "tower")
        LlamaForCausalLM(model.config.text_config).save_pretrained(tmp_path / "decoder", max_shard_size="20MB")
        places = {"vision_tower": tmp_path / "tower", "language_model": tmp_path / "decoder"}
    finish(start(load, {name: str(place) for name, place in places.items()}, tmp_path / "found"))
    most, weights = json.loads((tmp_path / "found").read_text())
    assert weights > 60 * 2**20
    assert most < 1.35 * weights  # two copies would be 2
