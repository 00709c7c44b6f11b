"""What cannot work, alone or together, refused in one sentence before anything is loaded."""

from __future__ import annotations

from collections.abc import Collection

from lightning.pytorch.strategies import FSDPStrategy, ModelParallelStrategy, Strategy

from datamodules.errors import DataError, at_least
from lightning_modules.training.lora import LoraOptions
from lightning_modules.training.quantisation import Quantisation
from lightning_modules.training.sharding import FullySharded


def check_numbers(
    max_length: int | None,
    max_new_tokens: int,
    guide_weight: float,
    learning_rate: float,
    betas: tuple[float, float],
    weight_decay: float,
    warmup: float,
) -> None:
    """Refuses options of a `RegionModule` that would train otherwise than they read, or not at all.

    Raises:
        DataError: One is out of range.
    """
    at_least(1, max_length=max_length, max_new_tokens=max_new_tokens)
    at_least(0, guide_weight=guide_weight, learning_rate=learning_rate, weight_decay=weight_decay)
    if not 0 <= warmup <= 1:
        raise DataError(f"warmup is {warmup:g}; it is a share of the steps, in [0, 1]")
    if not all(0 <= beta < 1 for beta in betas):
        raise DataError(f"betas are {list(betas)}; both have to be in [0, 1)")


def check_options(quantise: Quantisation | None, lora: LoraOptions | None, frozen: Collection[str]) -> None:
    """Refuses to train weights that are only there in 4 or 8 bits, and adapters that are none.

    Raises:
        DataError: The language model is quantised, has no adapter and is not frozen; or numbers are out of range.
    """
    if lora and (lora.rank < 1 or not 0 <= lora.dropout < 1 or not lora.targets):
        raise DataError(
            f"lora needs a rank of at least 1, a dropout in [0, 1) and targets: rank is {lora.rank}, dropout "
            f"{lora.dropout}, targets {list(lora.targets)}"
        )
    if quantise and lora is None and "language_model" not in frozen:
        raise DataError(
            f"quantise: {quantise} leaves a language model that cannot learn: add language_model to frozen, or set lora"
        )


def check_strategy(strategy: Strategy, quantise: Quantisation | None, optimizer: str) -> None:
    """Refuses to shard what cannot be sharded, and by a strategy that does not know where this model is cut.

    Raises:
        DataError: The strategy shards weights and is not `FullySharded`, or the weights or the optimiser's state are
            bitsandbytes'.
    """
    if not isinstance(strategy, FSDPStrategy | ModelParallelStrategy):
        return
    name = type(strategy).__name__
    if not isinstance(strategy, FullySharded):
        raise DataError(f"trainer.strategy {name}: the model is sharded by lightning_modules.FullySharded (FSDP2)")
    if quantise:
        raise DataError(
            f"{name} cannot shard the weights of quantise: {quantise}: take lora with {name}, or quantise and lora "
            "with ddp"
        )
    if optimizer == "muon":
        raise DataError(f"{name} shards the matrices that optimizer: muon needs whole: take adamw with {name}")
    if optimizer == "adamw8bit":
        raise DataError(f"{name} cannot shard the state of optimizer: adamw8bit: take adamw, whose state it shards")
