"""A run's model without its weights, how it lies on the devices, and what both of them take together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy, Strategy
from torch import nn
from transformers import AutoConfig

from datamodules.types import DataError
from lightning_modules import memory
from lightning_modules.activations import FLOAT, Numbers
from lightning_modules.byte_tokenizer import byte_tokenizer
from lightning_modules.combinations import check_options, check_strategy
from lightning_modules.costs import Product, Sizes, Step, products, sizes_of
from lightning_modules.memory import Layout
from lightning_modules.precision import MIXED, check_precision
from lightning_modules.region_module import RegionModule
from lightning_modules.sharding import FullySharded
from lightning_modules.weights import BaseModel, add_special_tokens, build, load_tokenizer

if TYPE_CHECKING:
    from datamodules.region_datamodule import RegionDataModule
    from experiments.configured_run import ConfiguredRun

HALF = 2  # bytes of a number that autocast computes with
KEPT, AGAIN = "training step", "training step, checkpointed"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is counted of a run.

    Attributes:
        module: The model, without weights.
        sizes: Its sizes.
        numbers: Bytes of its numbers.
        layout: How it lies on the devices.
        samples: Of a device's optimiser step, which may take several passes.
        train: What a device trains on in one pass.
        evaluation: What a device evaluates at once.
    """

    module: RegionModule
    sizes: Sizes
    numbers: Numbers
    layout: Layout
    samples: int
    train: Step
    evaluation: Step

    @property
    def moment(self) -> str:
        """The name of the training step as the configuration has it."""
        return AGAIN if self.layout.checkpointed else KEPT

    def memory(self) -> dict[str, dict[str, float]]:
        """The bytes of one device by moment and name; what stays comes first and is the same in every moment."""
        numbers, layout, sizes = self.numbers, self.layout, self.sizes
        parts, units = memory.parts_of(self.module), memory.units_of(self.module.backbone, layout.travelling)
        stays = memory.resident(parts, layout)
        moments = {
            KEPT: memory.training(sizes, self.train, numbers, checkpointed=False),
            AGAIN: memory.training(sizes, self.train, numbers, checkpointed=True),
            "optimiser step": memory.optimiser_step(parts, layout) if self.module.optimizer == "adamw" else {},
            "evaluation": memory.evaluation(sizes, self.evaluation, numbers, self.module.max_new_tokens),
        }
        for name in (KEPT, AGAIN, "evaluation"):
            moments[name] |= memory.gathered(units, layout, backward=name != "evaluation")
        return {moment: {**stays, **added} for moment, added in moments.items()}

    def products(self) -> list[Product]:
        """The matrix products of one sample."""
        return products(self.sizes, replace(self.train, samples=1))


def plan(run: ConfiguredRun, devices: int, text_tokens: int = 200, answer_tokens: int = 60, regions: int = 1) -> Plan:
    """Counts a configured run on so many devices.

    Raises:
        DataError: Something about the run cannot be planned, or its conversations are longer than the model's.
    """
    if not 0 < answer_tokens < text_tokens:
        raise DataError(f"{answer_tokens} answer tokens of {text_tokens} text tokens leave no prompt or no answer")
    check_options(run.model.quantise, run.model.lora, run.model.frozen)
    check_precision(run.precision)
    if not isinstance(run.strategy, str):
        check_strategy(run.strategy, run.model.quantise, run.model.optimizer)
    module = without_weights(run.model)
    sizes, layout = sizes_of(module), layout_of(run.strategy, devices)
    numbers = number_sizes(module, run.precision, layout)
    sample = Step(1, run.data.num_frames, text_tokens, answer_tokens, regions)
    length, most = sample.length(sizes), module.max_length
    if most is not None and length > most:
        raise DataError(f"{length} tokens of a sample, but model.max_length is {most}")
    train = replace(sample, samples=samples_of_a_pass(run.data, length))
    evaluation = replace(sample, samples=run.data.eval_batch_size)
    return Plan(module, sizes, numbers, layout, run.data.batch_size, train, evaluation)


def samples_of_a_pass(data: RegionDataModule, length: int) -> int:
    """How many samples of `length` tokens a device trains on at once.

    Raises:
        DataError: A single one is over the token budget.
    """
    if data.token_budget is None:
        return data.micro_batch_size or data.batch_size
    if length > data.token_budget:
        raise DataError(f"{length} tokens of a sample, but data.token_budget is {data.token_budget}")
    return min(data.batch_size, data.token_budget // length)


def number_sizes(module: RegionModule, precision: str | None, layout: Layout) -> Numbers:
    """Bytes of the numbers that layers see, under the Trainer's precision and the strategy's type of computation."""
    if layout.travelling is not None:
        return Numbers(*[layout.travelling] * 4)
    backbone = module.backbone
    model = backbone.llava.model
    beside = max((weight.element_size() for weight in backbone.reference.parameters()), default=FLOAT)
    return Numbers(
        _of_a_weight(model.vision_tower),
        _of_a_weight(model.multi_modal_projector),
        _of_a_weight(backbone.llava.get_input_embeddings()),  # quantised layers compute in the type of the words
        beside,
        HALF if precision in MIXED else None,
    )


def _of_a_weight(part: nn.Module) -> int:
    """Bytes; the first weight tells it, as the unused ones at the end of a tower that learns do not."""
    return next(part.parameters()).element_size()


def layout_of(strategy: str | Strategy, devices: int) -> Layout:
    """How a strategy lays a model on the devices.

    Raises:
        DataError: Another strategy than one device, DDP or `FullySharded`, or replicas that do not divide the devices.
    """
    if isinstance(strategy, FullySharded):
        if devices % strategy.replicas:
            raise DataError(f"{devices} devices cannot hold {strategy.replicas} replicas of equal size")
        shards, dtype = devices // strategy.replicas, strategy.compute_dtype
        travelling = None if dtype is None else int(getattr(torch, dtype).itemsize)
        return Layout(devices, shards, strategy.checkpoint_activations, travelling=travelling)
    single = isinstance(strategy, SingleDeviceStrategy)
    named = isinstance(strategy, str) and (strategy == "auto" or strategy.startswith("ddp"))
    if not (named or single or isinstance(strategy, DDPStrategy)) or (single and devices > 1):
        name = strategy if isinstance(strategy, str) else type(strategy).__name__
        known = "one device, DDP and FullySharded can"
        raise DataError(f"trainer.strategy {name!r} on {devices} devices cannot be planned: {known}")
    # Lightning hands these to DDP and offers no other way to see them
    options: dict[str, Any] = getattr(strategy, "_ddp_kwargs", {})
    return Layout(devices, buckets=devices > 1 and not options.get("gradient_as_bucket_view", False))


# --- the model without its weights ----------------------------------------------------------------------------------


def without_weights(module: RegionModule) -> RegionModule:
    """The module, assembled on the meta device: every parameter has a shape and a type, and no memory.

    Raises:
        DataError: Nobody has said what the architecture is.
    """
    architecture = architecture_of(module.base)
    vocabulary = vocabulary_of(module.base, architecture)
    stand_in = byte_tokenizer()  # nothing is read, so any tokenizer will do
    add_special_tokens(stand_in)
    with torch.device("meta"):
        module.assemble(build(architecture, vocabulary, module.base.dtype), stand_in, learns=True)
        module.adapt()
    return module


def architecture_of(base: BaseModel) -> dict[str, Any]:
    """Arguments of `LlavaConfig`: those of the configuration, or of the checkpoints where they are on this machine.

    Raises:
        DataError: Neither is there.
    """
    if {"vision_config", "text_config"} <= set(base.architecture) or not (base.llava or base.vision_tower):
        return base.architecture
    if base.llava:
        return {**_local(base.llava), **base.architecture}
    assert base.vision_tower is not None and base.language_model is not None
    tower = _local(base.vision_tower)
    joined = {"vision_config": tower.get("vision_config", tower), "text_config": _local(base.language_model)}
    return {**base.architecture, **joined}


def _local(name: str) -> dict[str, Any]:
    try:
        config: dict[str, Any] = AutoConfig.from_pretrained(name, local_files_only=True).to_dict()
    except (OSError, ValueError):
        raise DataError(
            f"{name!r} is not on this machine: add base.architecture with vision_config and text_config to plan "
            "without it, as experiments/models/ does, or name a local folder"
        ) from None
    return config


def vocabulary_of(base: BaseModel, architecture: dict[str, Any]) -> int | None:
    """Rows of the vocabulary where the tokenizer alone decides them."""
    if "vocab_size" in architecture.get("text_config", {}):
        return None
    return len(load_tokenizer(base))
