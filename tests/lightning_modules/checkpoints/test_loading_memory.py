"""Weights are read through the meta device, a shard at a time: no second copy of them is ever in memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from transformers import CLIPVisionModel, LlamaForCausalLM

from lightning_modules.bases.loading import build

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/status")

ARCHITECTURE = {
    "vision_config": {"image_size": 16, "patch_size": 8, "hidden_size": 32, "num_attention_heads": 2},
    "text_config": {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 6, "vocab_size": 4096},
}
LOAD = """
import sys, threading, time
from lightning_modules.bases import loading

def anonymous():
    lines = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
    return int(lines["RssAnon"].split()[0]) * 1024

def watch():
    while True:
        peak[0] = max(peak[0], anonymous())
        time.sleep(0.0005)

places = dict(zip(sys.argv[1::2], sys.argv[2::2]))
from transformers import AutoModelForCausalLM, CLIPVisionModel  # what is imported later would count as weights
before = anonymous()
peak = [before]
threading.Thread(target=watch, daemon=True).start()
base = loading.BaseModel(**places, dtype="bfloat16")
model = loading._checkpoint(base.checkpoint, base.dtype) if base.checkpoint else loading._join(
    base.vision_tower, base.language_model, {}, base.dtype)
print(peak[0] - before, sum(weight.nbytes for weight in model.parameters()))
"""


def loading(**places: Path) -> tuple[int, int]:
    """Bytes of its own that a process took at most while it loaded in bfloat16, and those of the weights."""
    arguments = [str(part) for place in places.items() for part in place]
    done = subprocess.run([sys.executable, "-c", LOAD, *arguments], capture_output=True, text=True, check=True)
    most, weights = done.stdout.split()[-2:]
    return int(most), int(weights)


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
    most, weights = loading(**places)
    assert weights > 60 * 2**20
    assert most < 1.35 * weights  # two copies would be 2
