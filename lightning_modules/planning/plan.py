"""A run's model without its weights, how it lies on the devices, and what both of them take together."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy, Strategy

from datamodules.errors import DataError
from lightning_modules.bases import family_of
from lightning_modules.bases.byte_tokenizer import byte_tokenizer
from lightning_modules.bases.loading import (
    BaseModel,
    add_special_tokens,
    build,
    check_architecture,
    load_tokenizer,
    load_visual_processor,
)
from lightning_modules.planning import memory
from lightning_modules.planning.measuring import Work, arithmetic, evaluation, training, with_recomputed
from lightning_modules.planning.memory import Layout
from lightning_modules.planning.step import Step, make_batch
from lightning_modules.planning.weightless import Autocast, prepare
from lightning_modules.region_module import RegionModule
from lightning_modules.training.combinations import check_options, check_strategy
from lightning_modules.training.layers import layers_of, run_again
from lightning_modules.training.precision import check_precision
from lightning_modules.training.sharding import FullySharded

if TYPE_CHECKING:
    from datamodules.region_datamodule import RegionDataModule

KEPT, AGAIN = "training step", "training step, checkpointed"
EVALUATION = "evaluation"


class ConfiguredRun(NamedTuple):
    """What a run would be made of.

    Attributes:
        model: Without weights.
        data: Without sources.
        strategy: A name or a strategy, as the Trainer takes it.
        precision: As the Trainer takes it; None if the configuration has none.
    """

    model: RegionModule
    data: RegionDataModule
    strategy: str | Strategy
    precision: str | None


class Plan:
    """A run on so many devices; what it takes is measured when it is asked for.

    Args:
        run: The run.
        layout: How its model lies on the devices.
        sample: One sample of it.

    Attributes:
        parts: Of the model.
        length: Tokens of a sample.
        samples: Of a device's optimiser step, which may take several passes.
        train: What a device trains on in one pass.
        evaluation: What a device evaluates at once.

    Raises:
        DataError: Nobody has said what the architecture is, a sample is longer than the model's or the data's limit, or
            the base cannot be packed.
    """

    def __init__(self, run: ConfiguredRun, layout: Layout, sample: Step) -> None:
        self.layout = layout
        self._run = run
        self._sample = sample
        self._module = assembled(copy.deepcopy(run.model))
        self.parts = memory.parts_of(self._module)
        self._units = memory.units_of(self._module.backbone, layout.travelling)
        self._ready(self._module)
        self.length = make_batch(self._module, sample).input_ids.shape[1]
        most = run.model.max_length
        if most is not None and self.length > most:
            raise DataError(f"{self.length} tokens of a sample, but model.max_length is {most}")
        self.samples = run.data.batch_size
        if run.data.packing:
            self._module.check_packing()
        self.train = replace(sample, samples=samples_of_a_pass(run.data, self.length), packed=run.data.packing)
        self.evaluation = replace(sample, samples=run.data.eval_batch_size)

    @property
    def moment(self) -> str:
        """The name of the training step as the configuration has it."""
        return AGAIN if self.layout.checkpointed else KEPT

    @cached_property
    def works(self) -> list[Work]:
        """The arithmetic of one sample."""
        one = make_batch(self._module, self._sample)
        works = arithmetic(self._module, one)
        return with_recomputed(works, arithmetic(self._checkpointed, one)) if self.layout.checkpointed else works

    @cached_property
    def memory(self) -> dict[str, dict[str, float]]:
        """The bytes of one device by moment and name; what stays comes first and is the same in every moment."""
        return {moment: self.held(moment) for moment in (KEPT, AGAIN, EVALUATION)}

    def held(self, moment: str) -> dict[str, float]:
        """The bytes of one device at a moment, by name."""
        stays = memory.resident(self.parts, self.layout)
        added = self._evaluated() if moment == EVALUATION else self._trained(moment)
        added["batch"] *= 2  # the next one is there before this one's step begins
        if moment != EVALUATION and self.train.samples < self.samples:
            added |= memory.earlier_passes(self.parts, self.layout)
        return {**stays, **added, **memory.gathered(self._units, self.layout, backward=moment != EVALUATION)}

    def _trained(self, moment: str) -> dict[str, float]:
        module = self._checkpointed if moment == AGAIN else self._module
        rows = training(module, make_batch(module, self.train), self._precision)
        rows["batch"] *= self.samples / self.train.samples  # all passes of a step travel together
        return rows

    def _evaluated(self) -> dict[str, float]:
        batch = make_batch(self._module, self.evaluation)
        prompts = make_batch(self._module, self.evaluation.answering(self._run.model.max_new_tokens))
        return evaluation(self._module, batch, prompts, self._precision)

    @cached_property
    def _checkpointed(self) -> RegionModule:
        module = assembled(copy.deepcopy(self._run.model))
        self._ready(module)
        for layer in layers_of(module.backbone):
            run_again(layer)
        return module

    @property
    def _precision(self) -> str | None:
        return None if self.layout.travelling else self._run.precision

    def _ready(self, module: RegionModule) -> None:
        prepare(module.backbone, self.layout.travelling)
        # sharding has a policy of its own
        module.backbone.autocast = _nothing if isinstance(self._run.strategy, FullySharded) else Autocast


def plan(
    run: ConfiguredRun,
    devices: int,
    text_tokens: int = 200,
    answer_tokens: int = 60,
    regions: int = 1,
    frame_size: tuple[int, int] = (720, 1280),
) -> Plan:
    """Plans a configured run on so many devices.

    Raises:
        DataError: Something about the run cannot be planned, or its conversations are longer than the model's.
    """
    if not 0 < answer_tokens < text_tokens:
        raise DataError(f"{answer_tokens} answer tokens of {text_tokens} text tokens leave no prompt or no answer")
    check_options(run.model.quantise, run.model.lora, run.model.frozen)
    check_precision(run.precision)
    if not isinstance(run.strategy, str):
        check_strategy(run.strategy, run.model.quantise, run.model.optimizer)
    sample = Step(1, run.data.num_frames, text_tokens, answer_tokens, regions, frame_size)
    layout = replace(layout_of(run.strategy, devices), checkpointed=run.model.checkpoint_activations)
    return Plan(run, layout, sample)


def _nothing(*_: Any, **__: Any) -> AbstractContextManager[None]:
    return nullcontext()


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


def layout_of(strategy: str | Strategy, devices: int) -> Layout:
    """How a strategy lays a model on the devices.

    Raises:
        DataError: Another strategy than one device, DDP or `FullySharded`, or replicas that do not divide the devices.
    """
    if isinstance(strategy, FullySharded):
        if devices % strategy.replicas:
            raise DataError(f"{devices} devices cannot hold {strategy.replicas} replicas of equal size")
        shards, dtype = devices // strategy.replicas, strategy.compute_dtype
        travelling = None if dtype is None else getattr(torch, dtype)
        once, kept = shards > 1 and strategy.sync_gradients == "step", strategy.keep_gathered
        return Layout(devices, shards, travelling=travelling, once=once, kept=kept)
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


def assembled(module: RegionModule, device: str = "meta") -> RegionModule:
    """The module put together on a device; on `meta` every parameter has a shape and a type, and no memory.

    Its tokenizer stands in for the real one: special tokens are all that is looked up in it.

    Raises:
        DataError: Nobody has said what the architecture is.
    """
    architecture, settings = architecture_of(module.base)
    check_architecture(settings)
    with torch.device(device):
        model = build(architecture, vocabulary_of(module.base, architecture), module.base.dtype)
    family = family_of(model.config.model_type)
    stand_in = byte_tokenizer()
    add_special_tokens(stand_in, *family.visual_tokens)
    family.set_tokens(model.config, stand_in)
    module.prompt = "plain"  # the stand-in has no chat template
    with torch.device(device):
        module.assemble(family(model), stand_in, load_visual_processor(settings, model.config), learns=True)
        module.adapt()
    return module


def architecture_of(base: BaseModel) -> tuple[dict[str, Any], BaseModel]:
    """Arguments of the model's configuration, and what tells how it takes pictures.

    Both are the configuration's, or the checkpoints' where they are on this machine.

    Raises:
        DataError: Neither is there.
    """
    stated = {"vision_config", "text_config"} <= set(base.architecture)
    if stated or not (base.checkpoint or base.vision_tower):
        return base.architecture, BaseModel(architecture=base.architecture, vision=base.vision)
    if base.checkpoint:
        return {**_local(base.checkpoint), **base.architecture}, base
    assert base.vision_tower is not None and base.language_model is not None
    tower = _local(base.vision_tower)
    joined = {"vision_config": tower.get("vision_config", tower), "text_config": _local(base.language_model)}
    return {**base.architecture, **joined}, base


def _local(name: str) -> dict[str, Any]:
    from transformers import AutoConfig

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
