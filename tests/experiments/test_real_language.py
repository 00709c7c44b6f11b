"""A real language model's configurations, from the tower to an answer, on tiny weights in the same files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from gguf_file import tiny_llama, write_gguf
from test_coco_instances import write_coco
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

import cli
from datamodules.batching.collate import Collate
from datamodules.shapes.writer import write_shapes
from datamodules.types import NoPicture, RegionSample, Turn
from lightning_modules import BaseModel, ImageRegionModule
from lightning_modules.bases.loading import build
from lightning_modules.checkpoints.export import export
from lightning_modules.training.lora import LoraOptions
from small_tokenizers import byte_level, of_transformers

ROOT = Path(__file__).parents[2]
CHAT = (
    "{% for message in messages %}<s>{{ message['role'] }}\n{{ message['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant\n{% endif %}"
)
TINY = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 9}
SMALL = ["--trainer.max_steps=2", "--data.num_workers=0", "--data.batch_size=2", "--data.epoch_size=4"]


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model in a GGUF file."""
    tokenizer = of_transformers(byte_level())
    tokenizer.chat_template = CHAT
    path = tmp_path_factory.mktemp("language") / "language.gguf"
    write_gguf(path, tiny_llama(len(tokenizer)), tokenizer)
    return path


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes, and three classes of cells."""
    folder = tmp_path_factory.mktemp("real")
    write_shapes(folder / "shapes", val_scenes=1, test_scenes=1, workers=1)
    write_coco(folder / "cells")
    for split in ("train", "val"):
        path = folder / "cells" / f"instances_{split}.json"
        document = json.loads(path.read_text())
        names = ("red blood cell", "white blood cell", "platelet")
        document["categories"] = [{"id": number, "name": name} for number, name in enumerate(names)]
        path.write_text(json.dumps(document))
    return folder


@pytest.fixture(scope="module")
def marks(places: Path, language: Path) -> list[str]:
    """What real_language.yaml is told, once the tower is trained and exported."""
    config = f"--config={ROOT}/experiments/real_language_tower.yaml"
    scenes = [f"--data.val.marked.init_args.root={places}/shapes", "--data.val.marked.init_args.val_scenes=1"]
    scenes += ["--data.val.marked.init_args.test_scenes=1", f"--model.base.tokenizer={places}/shapes/tokenizer"]
    cli.main(["fit", config, f"--vars.root={places}/cells", f"--run.root={places}", *scenes, *SMALL])
    export(places / "real_language/tower/checkpoints/last.ckpt", places / "tower", base_only=True)
    files = [f"--vars.tower={places}/tower", f"--vars.language_model={language}"]
    config = f"--config={ROOT}/experiments/real_language.yaml"
    return [config, *files, f"--vars.root={places}/cells", f"--run.root={places}"]


@pytest.mark.slow
def test_it_runs_from_the_tower_to_an_answer(
    places: Path, marks: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["fit", *marks, *SMALL])
    capsys.readouterr()
    picture = str(places / "cells/images/0.jpg")
    checkpoint = f"--ckpt_path={places}/real_language/marks/checkpoints/last.ckpt"
    cli.main(["ask", checkpoint, "--image", picture, "--box", "5,5,15,15", "--question", "What is <region>?"])
    assert "What is <region>?\n" in capsys.readouterr().out


@torch.no_grad()
def test_without_a_region_it_says_what_the_language_model_says(language: Path, tmp_path: Path) -> None:
    """Adapters that have not learnt and no region change no word of its text, in its own chat template."""
    options = yaml.safe_load((ROOT / "experiments/real_language.yaml").read_text())["model"]["init_args"]
    build(options["base"]["architecture"] | {"text_config": TINY}).save_pretrained(tmp_path)
    joined = {"vision_tower": str(tmp_path), "language_model": str(language)}
    module = ImageRegionModule(
        base=BaseModel(**{**options["base"], **joined}), prompt="chat", lora=LoraOptions(), max_new_tokens=24
    )
    module.configure_model()
    module.eval()
    plain = LlamaForCausalLM.from_pretrained(language.parent, gguf_file=language.name, dtype=torch.float32)
    tokenizer: PreTrainedTokenizerFast = module.renderer.tokenizer
    for question in ("What is it?", "Is it a cat, or a dog?"):
        sample = RegionSample("a", NoPicture(), (), (Turn(question),))
        ours = module.answer(Collate(module.vision)([module.processor(1)(sample)])).predictions[0].prediction
        messages = [{"role": "user", "content": question}]
        ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        theirs = plain.generate(ids["input_ids"], max_new_tokens=24, do_sample=False, pad_token_id=0)
        assert ours == tokenizer.decode(theirs[0, ids["input_ids"].shape[1] :], skip_special_tokens=True).strip()
