"""What a pass computes and keeps, seen by running it on a model without weights.

Arithmetic is what torch's counter sees. A multiplication with its addition is two FLOP; norms, activation functions,
softmax and the optimiser are not counted. Causal attention can be counted whole or as the half that is not masked,
which is what a good kernel computes; that some kernels compute scores again in the backward pass is not counted, as it
is a way and not a need. Memory is that of tensors: what autograd keeps, what a layer holds while it runs; attention is
fused and keeps no scores.
"""

from __future__ import annotations

import bisect
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import fields
from typing import Any, Literal, NamedTuple, Self, TypeAlias

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, shape_wrapper
from torch.utils.weak import WeakIdKeyDictionary

from datamodules.batching.batch import RegionBatch
from lightning_modules.backbone import BackboneOutput
from lightning_modules.planning.memory import modules_of
from lightning_modules.planning.weightless import Autocast, Weightless, tensors
from lightning_modules.region_module import RegionModule
from lightning_modules.training.losses import pass_losses, step_counts
from lightning_modules.training.precision import MIXED

Attention: TypeAlias = Literal["whole", "half"]

CAUSAL, ADAPTERS, REST = "causal attention", "adapters", "rest"


class Work(NamedTuple):
    """FLOP of one part, attention counted whole.

    Attributes:
        part: Its name.
        forward: Of the forward pass.
        backward: Of the backward pass.
        again: What activation checkpointing runs once more.
    """

    part: str
    forward: int
    backward: int
    again: int = 0


def flops(works: Iterable[Work], backward: bool = True, attention: Attention = "half") -> float:
    """The sum over parts, of the forward pass or of both."""
    return sum((work.forward + backward * work.backward) * _share(work, attention) for work in works)


def recomputed(works: Iterable[Work], attention: Attention = "half") -> float:
    """What activation checkpointing adds."""
    return sum(work.again * _share(work, attention) for work in works)


def _share(work: Work, attention: Attention) -> float:
    return 0.5 if work.part == CAUSAL and attention == "half" else 1.0


# --- a pass ---------------------------------------------------------------------------------------------------------


def _loss(module: RegionModule, batch: RegionBatch, output: BackboneOutput) -> torch.Tensor:
    """L of a step of one pass."""
    language, guide = pass_losses(output, batch, step_counts([batch]))
    return language + module.guide_weight * guide


def _backward(loss: torch.Tensor) -> None:
    """`loss.backward()`, which would leave the modes that stand in for autocast and fused attention while it runs."""
    torch.autograd.graph._engine_run_backward(
        (loss,), (torch.ones_like(loss),), False, False, (), allow_unreachable=True, accumulate_grad=True
    )


@contextmanager
def _autocast(module: RegionModule, precision: str | None) -> Iterator[None]:
    """The Trainer's autocast, and the backbone's own; layers that run again in the backward pass are under both."""
    with Autocast() if precision in MIXED else nullcontext(), module.backbone.one_type():
        yield


# --- arithmetic -----------------------------------------------------------------------------------------------------


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    """Scores, and values weighed by them."""
    products: int = 2 * query[0] * query[1] * query[2] * key[2] * (query[3] + value[3])
    return products


def _attention_gradients(gradient: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    """A product more for each factor of the two."""
    return 2 * _attention(query, key, value)


ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: shape_wrapper(_attention),
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: shape_wrapper(_attention_gradients),
}


class Watching(TorchDispatchMode):
    """Sees every operation."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's

    def __enter__(self) -> Self:
        entered: Self = super().__enter__()  # type: ignore[no-untyped-call]  # torch's
        return entered

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]  # torch's

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # see `Weightless`


def arithmetic(module: RegionModule, batch: RegionBatch) -> list[Work]:
    """The FLOP of a training pass by part; parts without any are left out."""
    with Weightless(), FlopsByPart(module) as counted:
        _backward(_loss(module, batch, module.backbone(batch)))
    return [Work(part, counted.forward[part], counted.backward[part]) for part in counted.forward]


def with_recomputed(works: Iterable[Work], checkpointed: Iterable[Work]) -> list[Work]:
    """The same works, and what was run once more where layers were checkpointed."""
    backward = {work.part: work.backward for work in checkpointed}
    return [work._replace(again=backward[work.part] - work.backward) for work in works]


class FlopsByPart(Watching):
    """Counts matrix products of both passes by the part of the model that they belong to.

    In the backward pass that is told by the number of the node that autograd is at: numbers ascend through the forward
    pass, so those of a module lie between the ones at which it begins and ends.

    Args:
        module: What runs within.

    Attributes:
        forward: FLOP of the forward pass by part.
        backward: FLOP of the backward pass by part.
    """

    def __init__(self, module: RegionModule) -> None:
        super().__init__()
        self.forward: Counter[str] = Counter()
        self.backward: Counter[str] = Counter()
        self._backbone = module.backbone
        self._entered = [REST]
        self._starts = [0]
        self._parts = [REST]

    def __enter__(self) -> Self:
        parts = [(part, module) for part, modules in modules_of(self._backbone).items() for module in modules]
        adapters = [
            (ADAPTERS, module)
            for name, module in self._backbone.named_modules()
            if name.rpartition(".")[0].endswith(("lora_A", "lora_B"))
        ]
        self._hooks = [hook for part, module in parts + adapters for hook in self._watch(part, module)]
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        for hook in self._hooks:
            hook.remove()

    def _watch(self, part: str, module: nn.Module) -> Iterator[Any]:
        def enter(*_: Any) -> None:
            self._entered.append(part)
            self._mark()

        def leave(*_: Any) -> None:
            self._entered.pop()
            self._mark()

        yield module.register_forward_pre_hook(enter)
        yield module.register_forward_hook(leave)

    def _mark(self) -> None:
        if torch._C._current_autograd_node() is None:  # not where a layer is run again
            self._starts.append(torch.autograd._get_sequence_nr())
            self._parts.append(self._entered[-1])

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        operation = func._overloadpacket
        count = ATTENTION.get(operation) or flop_registry.get(operation)
        if count is not None:
            node = torch._C._current_autograd_node()
            amounts, part = (self.forward, self._entered[-1]) if node is None else (self.backward, self._part(node))
            if operation in ATTENTION and part == "language model":
                part = CAUSAL
            amounts[part] += count(*args, **(kwargs or {}), out_val=output)
        return output

    def _part(self, node: Any) -> str:
        return self._parts[bisect.bisect_right(self._starts, node._sequence_nr()) - 1]


# --- memory ---------------------------------------------------------------------------------------------------------


class LiveMemory(Watching):
    """Bytes of all tensors made within and not yet freed, each storage once.

    Attributes:
        bytes: Now.
        peak: The most so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0
        self.peak = 0
        self._known = WeakIdKeyDictionary()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        for storage in _storages((args, kwargs)):
            self._known.setdefault(storage, None)  # what nothing within has made comes from outside, as weights do
        output = func(*args, **(kwargs or {}))
        for storage in _storages(output):
            if storage not in self._known:
                self._known[storage] = None
                self._add(storage.nbytes())
                weakref.finalize(storage, self._add, -storage.nbytes())
        return output

    def _add(self, size: int) -> None:
        self.bytes += size
        self.peak = max(self.peak, self.bytes)


def _storages(values: Any) -> list[torch.UntypedStorage]:
    return [tensor.untyped_storage() for tensor in tensors(values)]


def training(module: RegionModule, batch: RegionBatch, precision: str | None) -> dict[str, float]:
    """What forward and backward pass put on top of weights, gradients and the optimiser's state."""
    # a pass that is not the step's last runs backward while autocast still keeps its copies of weights
    with Weightless(), LiveMemory() as live, _autocast(module, precision):
        output = module.backbone(batch)
        before, logits = live.bytes, _bytes([output.logits, output.guide_logits])
        loss = _loss(module, batch, output)
        del output
        kept = live.bytes
        _backward(loss)
    losses = kept - before + logits
    return {
        "batch": float(batch_bytes(batch)),
        "activations": float(kept - losses),
        "logits and losses": float(losses),
        "one layer's work": float(live.peak - kept),
    }


@torch.no_grad()
def evaluation(
    module: RegionModule, batch: RegionBatch, prompts: RegionBatch, precision: str | None
) -> dict[str, float]:
    """What answering puts on top of weights: a pass over whole conversations, and prompts with their answers' cache.

    Args:
        module: The model.
        batch: What is evaluated.
        prompts: The same, with as many tokens as prompts and generated answers have.
        precision: The Trainer's.
    """
    backbone = module.backbone
    with Weightless(), LiveMemory() as live:
        with _autocast(module, precision):
            output = backbone(batch)
            with backbone.telling(prompts, prompts.places):
                cache = backbone.base.core(
                    input_ids=prompts.input_ids,
                    attention_mask=prompts.attention_mask,
                    **backbone.inputs(prompts, prompts.input_ids),
                    use_cache=True,
                ).past_key_values
        kept, logits = live.bytes, _bytes([output.logits, output.guide_logits])
        del output, cache
    return {
        "batch": float(batch_bytes(batch)),
        "key-value cache": float(kept - logits),
        "logits": float(logits),
        "one layer's work": float(live.peak - kept),
    }


def batch_bytes(batch: RegionBatch) -> int:
    """What a batch takes where the model is."""
    return _bytes([getattr(batch, field.name) for field in fields(batch)])


def _bytes(values: Any) -> int:
    return sum(storage.nbytes() for storage in _storages(values))
