"""How an answer goes on token by token: what keeps the keys and values, and whether a step of it is compiled."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn
from torch.distributed.tensor import DTensor
from transformers import StaticCache

from datamodules.errors import DataError

if TYPE_CHECKING:
    from lightning_modules.bases.base import Base

LENGTHS = 128
"""A static cache has a multiple of so many places: batches of like lengths share one shape."""


@dataclass(frozen=True)
class GenerationOptions:
    """How answers are generated; the most likely one is the same, but for words that a 16-bit type cannot tell apart.

    A compiled step is compiled for the first batch, and again for the first of another number of samples and of another
    length of the cache: then it is compiled for any. What is told of regions is put in before it, in Python.

    Args:
        cache: Of keys and values: a `dynamic` one grows by a token a step, a `static` one has all its places from the
            beginning.
        compile: Compile the language model's steps (`torch.compile`); needs `cache: static`. The prompt is read as it
            is. Of sharded weights each layer is compiled for itself, between the hooks that gather it.
    """

    cache: Literal["dynamic", "static"] = "dynamic"
    compile: bool = False

    def check(self, base: Base | None = None, quantised: bool = False) -> None:
        """Refuses what a base cannot do.

        Args:
            base: The base, where it is there already.
            quantised: Whether its language model is.

        Raises:
            DataError: It does not compile, or has layers that keep something else than keys and values.
        """
        if self.compile and self.cache == "dynamic":
            raise DataError("generation.compile needs generation.cache: static: a cache that grows has no fixed shape")
        if self.compile and quantised:
            raise DataError("generation.compile cannot compile the layers of quantise: leave one of them out")
        if base is None or self.cache == "dynamic":
            return
        text = base.model.config.get_text_config()
        others = sorted(set(getattr(text, "layer_types", None) or ()) - {"full_attention", "sliding_attention"})
        if others:
            raise DataError(f"generation.cache: static: {base.model.config.model_type} has layers of {others[0]}")

    def inputs(self, base: Base, length: int) -> dict[str, Any]:
        """What transformers' `generate` is given for prompts and answers of `length` tokens together."""
        if self.cache == "dynamic":
            return {}
        self.check(base)
        places = -(-length // LENGTHS) * LENGTHS
        # transformers would compile the whole model on a GPU, and what is told of regions with it
        return {"past_key_values": OneTypeCache(base.model.config, places), "disable_compile": True}

    @contextmanager
    def steps(self, base: Base) -> Iterator[None]:
        """Within it, the language model's calls for one new token run compiled, if they are to."""
        with ExitStack() as stack:
            if self.compile:
                for place, part in enumerate(_parts(base)):
                    stack.enter_context(_compiled(part, place))
            yield


class OneTypeCache(StaticCache):
    """A static cache whose keys have the values' type.

    Under autocast rotary positions leave keys in float32, and attention narrows them again.
    """

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Arguments and what it returns: transformers'."""
        kept: tuple[torch.Tensor, torch.Tensor] = super().update(
            key_states.to(value_states.dtype), value_states, layer_idx, *args, **kwargs
        )
        return kept


def _parts(base: Base) -> list[nn.Module]:
    """What is compiled, each for itself: hooks of sharding stand between the layers and cannot be."""
    sharded = any(isinstance(weight, DTensor) for weight in base.language_model.parameters())
    return list(base.decoder_layers) if sharded else [base.language_model]


@contextmanager
def _compiled(part: nn.Module, place: int) -> Iterator[None]:
    before = vars(part).get("forward")
    plain: Callable[..., Any] = type(part).forward

    @functools.wraps(plain)
    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        embeddings = kwargs["inputs_embeds"] if "inputs_embeds" in kwargs else args[0]
        step = _compiled_forward(plain, place) if embeddings.shape[1] == 1 else plain
        return step(self, *args, **kwargs)

    part.forward = MethodType(forward, part)
    try:
        yield
    finally:
        del part.forward
        if before is not None:
            part.forward = before


@functools.cache
def _compiled_forward(plain: FunctionType, place: int) -> Callable[..., Any]:
    """What a module computes, compiled.

    It is a copy for each place: torch counts by the code how often something is compiled, and gives up after eight
    times; each layer reads a place of the cache of its own, and transformers' decorators share one code.
    """
    copied = FunctionType(
        plain.__code__.replace(), plain.__globals__, plain.__name__, plain.__defaults__, plain.__closure__
    )
    copied.__kwdefaults__ = plain.__kwdefaults__
    compiled: Callable[..., Any] = torch.compile(copied)
    return compiled
