"""The 7B model on one GPU: `python -m experiments.benchmarks.gpu_7b --output table.md`.

The architecture of `experiments/models/llava-1.5-7b.yaml` with random weights, made on the device: frozen ones in
bfloat16, those that learn in float32, while layers compute in bfloat16. A sample has 4 frames of 576 tokens, 200 text
tokens, of which 60 are learnt, and one region; the vision tower is frozen. Trained by Lightning's Trainer on one batch
in memory, so that there is no loader to wait for:

- `full`: everything else learns, AdamW with its state in 8 bits;
- `lora`: adapters of rank 16 on every linear layer of the language model;
- `sharded`: as `full`, by FSDP2 on one device; AdamW's state is float32, as bitsandbytes' cannot be sharded.

Utilisation is the arithmetic that the model needs over what the device could do: 989 TFLOP/s, as an H100 and an H200
are stated for dense bfloat16. Causal attention counts as half, and layers that activation checkpointing runs again
count once. `compiled`: every layer of both towers by torch.compile. `nf4`: greedy generation with the language model in
4 bits; new tokens a second over all samples, the pass over frames and prompt included.

Every configuration runs in a process of its own: one that takes more memory than there is leaves a row that says so.
The table is written anew after each of them.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import torch
from lightning import Callback, Trainer
from torch.utils.data import DataLoader

from experiments.benchmarks.fresh_process import FailedProcessError, in_fresh_process
from experiments.benchmarks.markdown import table
from experiments.benchmarks.models import TINY, make_batch, make_module, yaml_architecture
from experiments.benchmarks.peak_memory import PeakMemory
from experiments.benchmarks.timing import seconds
from experiments.commands.plan import PEAK_FLOPS
from lightning_modules.bases.byte_tokenizer import BYTES
from lightning_modules.bases.loading import BaseModel
from lightning_modules.generation.decoding import generate
from lightning_modules.planning import step as planned
from lightning_modules.planning.measuring import arithmetic, flops
from lightning_modules.planning.step import Step
from lightning_modules.planning.weightless import prepare
from lightning_modules.region_module import RegionModule
from lightning_modules.training.lora import LoraOptions
from lightning_modules.training.sharding import FullySharded
from lightning_modules.video_region import VideoRegionModule

Method: TypeAlias = Literal["full", "lora", "sharded", "nf4"]

ARCHITECTURE = Path(__file__).parents[1] / "models" / "llava-1.5-7b.yaml"
DTYPE: Literal["bfloat16"] = "bfloat16"
NEW_TOKENS = 64
OPTIONS: dict[Method, dict[str, Any]] = {
    "full": {"optimizer": "adamw8bit"},
    "lora": {"lora": LoraOptions()},
    "sharded": {},
    "nf4": {"quantise": "nf4", "frozen": ("vision_tower", "language_model")},
}
HEADER = ("method", "batch", "compiled", "checkpointed", "samples/s", "utilisation", "new tokens/s", "peak GiB")
SWITCH = {"off": (False,), "on": (True,), "both": (False, True)}
WARM_UP = 3  # steps: the optimiser's state, the compiler and the allocator settle
GIB = 2**30


@dataclass(frozen=True, slots=True)
class Setting:
    """One row: what is run, and how.

    Attributes:
        method: What learns and by which optimiser, or that nothing does.
        batch: Samples of a step.
        compiled: Whether the layers are compiled.
        checkpointed: Whether a layer keeps its input alone and runs again in the backward pass.
        steps: Steps that are timed; passes, of generation.
        device: Where.
        tiny: A model of a moment in place of the 7B.
    """

    method: Method
    batch: int
    compiled: bool
    checkpointed: bool
    steps: int
    device: str
    tiny: bool

    @property
    def load(self) -> Step:
        """What a step works on."""
        return Step(self.batch, frames=4, text_tokens=200, answer_tokens=60, regions=1)

    @property
    def architecture(self) -> dict[str, Any]:
        """The shape of the model."""
        return TINY if self.tiny else yaml_architecture(ARCHITECTURE)

    def without_weights(self) -> RegionModule:
        """The model to count and to make batches for."""
        return make_module(self.architecture, "meta", DTYPE, **OPTIONS[self.method])


class Prepared(VideoRegionModule):
    """The model of a setting; its weights are drawn on the device.

    Args:
        setting: What is run, and how.
    """

    not_described = VideoRegionModule.not_described | {"setting"}

    def __init__(self, setting: Setting) -> None:
        base = BaseModel(architecture=setting.architecture, tokenizer=BYTES, dtype=DTYPE)
        super().__init__(
            base=base,
            prompt="plain",
            checkpoint_activations=setting.checkpointed,
            compile_layers=setting.compiled,
            **OPTIONS[setting.method],
        )
        self.setting = setting

    def configure_model(self) -> None:
        """Makes the weights once."""
        with torch.device(self.setting.device):
            super().configure_model()


# --- training -------------------------------------------------------------------------------------------------------


class StepTimes(Callback):
    """When each step ended, on the device too; `seconds` is the median step behind the warm-up."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        """Waits for the device."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())

    @property
    def seconds(self) -> float:
        """The median time from one end to the next, of those that are timed."""
        return statistics.median(later - end for end, later in itertools.pairwise(self.ends[WARM_UP - 1 :]))


def train(setting: Setting) -> list[str]:
    """Samples a second, utilisation and peak memory."""
    memory = PeakMemory(setting.device)
    outline = setting.without_weights()
    batch = make_batch(outline, setting.load).to(setting.device)
    times, steps = StepTimes(), WARM_UP + setting.steps
    trainer = Trainer(
        accelerator=setting.device,
        devices=1,
        strategy=FullySharded(compute_dtype=DTYPE) if setting.method == "sharded" else "auto",
        precision="32-true" if setting.method == "sharded" else "bf16-mixed",  # sharding casts what it gathers
        max_steps=steps,
        callbacks=[times],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader: DataLoader[Any] = DataLoader([batch] * steps, batch_size=None)  # type: ignore[arg-type]  # a list is a data set
    trainer.fit(Prepared(setting), loader)
    prepare(outline.backbone)
    needed = flops(arithmetic(outline, planned.make_batch(outline, setting.load)))
    used = needed / times.seconds / PEAK_FLOPS["h100"]
    return [f"{setting.batch / times.seconds:.2f}", f"{100 * used:.1f} %", "", f"{memory.grown() / GIB:.1f}"]


# --- generation -----------------------------------------------------------------------------------------------------


@torch.no_grad()
def caption(setting: Setting) -> list[str]:
    """New tokens a second and peak memory."""
    memory = PeakMemory(setting.device)
    module = Prepared(setting)
    module.configure_model()
    module.eval().backbone.model.generation_config.eos_token_id = None  # all captions are equally long
    batch = make_batch(module, setting.load).to(setting.device)

    def answer() -> None:
        generate(module.backbone, module.renderer, batch, NEW_TOKENS)

    answer()
    taken = statistics.median(seconds(answer) for _ in range(setting.steps))
    return ["", "", f"{setting.batch * NEW_TOKENS / taken:.0f}", f"{memory.grown() / GIB:.1f}"]


# --- the table ------------------------------------------------------------------------------------------------------


def row(setting: Setting, limit: float) -> list[str]:
    """A row of the table; what failed says why in place of its numbers."""
    what = [setting.method, str(setting.batch), _yes(setting.compiled), _yes(setting.checkpointed)]
    try:
        return what + in_fresh_process(partial(caption if setting.method == "nf4" else train, setting), limit)
    except FailedProcessError as error:
        reason = "out of memory" if "OutOfMemoryError" in str(error) else str(error)[:60].replace("|", "/")
        return [*what, reason, "", "", ""]


def device_name(device: str) -> str:
    """The device and the versions that a number belongs to."""
    name = torch.cuda.get_device_name() if device == "cuda" else device
    return f"{name}, torch {torch.__version__}, transformers {version('transformers')}"


def settings(asked: argparse.Namespace) -> list[Setting]:
    """All combinations that are asked for; generation is neither compiled nor checkpointed."""
    chosen = itertools.product(asked.methods, SWITCH[asked.compiled], SWITCH[asked.checkpointed], asked.batches)
    return [
        Setting(method, batch, compiled, checkpointed, asked.steps, asked.device, asked.tiny)
        for method, compiled, checkpointed, batch in dict.fromkeys(
            (method, compiled and method != "nf4", checkpointed and method != "nf4", batch)
            for method, compiled, checkpointed, batch in chosen
        )
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the table, a row at a time."""
    asked = _parser().parse_args(arguments)
    title = in_fresh_process(
        partial(device_name, asked.device)
    )  # a context of this process would take the device's memory
    rows: list[list[str]] = []
    for setting in settings(asked):
        rows.append(row(setting, asked.limit))
        sys.stdout.write(f"{' | '.join(rows[-1])}\n")
        sys.stdout.flush()
        asked.output.write_text(f"{title}\n\n{table(HEADER, rows)}", encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    methods = get_args(Method)
    parser.add_argument("--output", type=Path, required=True, help="Markdown file")
    parser.add_argument("--methods", nargs="+", choices=methods, default=methods, help="(%(default)s)")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8, 16], help="samples (%(default)s)")
    parser.add_argument("--compiled", choices=sorted(SWITCH), default="both", help="(%(default)s)")
    parser.add_argument("--checkpointed", choices=sorted(SWITCH), default="both", help="(%(default)s)")
    parser.add_argument("--steps", type=int, default=7, help="that are timed (%(default)s)")
    parser.add_argument("--limit", type=float, default=600, help="seconds of a configuration (%(default)s)")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="(%(default)s)")
    parser.add_argument("--tiny", action="store_true", help="a model of a moment, to see that it runs")
    return parser


def _yes(value: bool) -> str:
    return "yes" if value else "no"


if __name__ == "__main__":
    main()
