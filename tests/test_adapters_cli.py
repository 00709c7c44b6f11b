"""The strategies with adapters from the command line, in one process on the CPU: fit, resume, export."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import cli
from helpers import ARCHITECTURE, tokenizer_folder
from lightning_modules import load
from terminated import terminated

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def options(folder: Path, strategy: str) -> list[str]:
    """The paper's second stage with a tiny model, on two images."""
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(folder / "a.png")
    question = [{"question": "what is <region>", "answer": "a cat"}]
    record = {"image": "a.png", "regions": [{"box": [1, 2, 10, 12]}], "conversation": question}
    data = folder / "data.jsonl"
    data.write_text("".join(json.dumps({"id": name, **record}) + "\n" for name in "ab"))
    base = {"architecture": ARCHITECTURE, "tokenizer": tokenizer_folder(folder / "tokenizer"), "dtype": "bfloat16"}
    return [
        *("--config=experiments/finetune.yaml", f"--config=experiments/strategies/{strategy}.yaml"),
        *(
            f"--model.base={json.dumps({**base, 'checkpoint': None})}",
            "--model.prompt=plain",
            "--model.max_new_tokens=3",
        ),
        "--trainer.val_check_interval=1.0",
        *("--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.logger=false", "--run.pictures=0"),
        *(f"--vars.{name}={data}" for name in ("images", "videos", "val")),
        *("--data.num_workers=0", "--data.batch_size=2", "--data.epoch_size=4", f"--run.root={folder}"),
    ]


@pytest.mark.parametrize("strategy", ["qlora_ddp", "lora_fsdp2"])
def test_fit_resume_and_export(tmp_path: Path, strategy: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Two steps, two more from the last checkpoint, and a folder that answers."""
    arguments = options(tmp_path, strategy)
    checkpoint = tmp_path / "omni_rgpt" / "finetune" / "checkpoints" / "last.ckpt"
    arguments += ["--trainer.max_epochs=-1", "--trainer.max_steps=4"]
    terminated(["fit", *arguments], step=2)
    cli.main(["fit", *arguments, "--ckpt_path=last"])
    assert checkpoint.is_dir() == (strategy == "lora_fsdp2")
    cli.main(["export", f"--ckpt_path={checkpoint}", f"--to={tmp_path / 'out'}"])
    assert "model.safetensors" in capsys.readouterr().out
    assert {weight.dtype for weight in load(tmp_path / "out").backbone.model.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize(
    ("strategy", "change", "message"),
    [
        ("qlora_ddp", ["--model.lora=null", "--model.frozen=[vision_tower]"], "quantise: nf4 leaves a language model"),
        ("lora_fsdp2", ["--model.quantise=nf4"], "FullySharded cannot shard the weights of quantise: nf4"),
        ("lora_fsdp2", ["--model.optimizer=adamw8bit"], "FullySharded cannot shard the state of optimizer: adamw8bit"),
        ("qlora_ddp", ["--model.lora.rank=0"], "lora needs a rank of at least 1"),
    ],
)
def test_what_cannot_work_is_one_line(
    tmp_path: Path, strategy: str, change: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["fit", *options(tmp_path, strategy), *change])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1]
