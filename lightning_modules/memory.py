"""What a device holds, in bytes: what stays there, and what comes on top in a step and in evaluation.

Counted from sizes. Not counted: what a driver, libraries and fragmentation take, and buffers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from lightning_modules.activations import FLOAT, Numbers, activations, key_value_cache, layer_work, logits, masks
from lightning_modules.costs import Sizes, Step

if TYPE_CHECKING:
    from lightning_modules.backbone import TokenMarkBackbone
    from lightning_modules.optimizers import OptimizerName
    from lightning_modules.quantisation import Quantisation
    from lightning_modules.region_module import RegionModule

GIB = 2**30
NF4_BLOCK = 64  # weights that share a scale
ADAM_BLOCK = 256  # numbers that share a scale in bitsandbytes' AdamW
SMALLEST_IN_8_BITS = 4096  # tensors with fewer numbers stay in floating point there


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the model.

    Attributes:
        name: What it is.
        parameters: How many.
        trainable: Those that learn.
        weights: Bytes of all of them.
        gradients: Bytes of the gradients of those that learn.
        state: Bytes of what the optimiser remembers of them.
    """

    name: str
    parameters: int
    trainable: int
    weights: float
    gradients: float
    state: float


@dataclass(frozen=True, slots=True)
class Layout:
    """How a model lies on the devices.

    Attributes:
        devices: All of them.
        shards: Devices that hold one copy of the model together; 1 if each has its own.
        checkpointed: Whether layers are run again in the backward pass instead of keeping what is inside.
        buckets: Whether gradients are copied into buckets on their way between devices.
        travelling: Bytes of the numbers that shards are put together as, and that layers compute with; the weights' own
            if None.
    """

    devices: int = 1
    shards: int = 1
    checkpointed: bool = False
    buckets: bool = False
    travelling: int | None = None


@dataclass(frozen=True, slots=True)
class Units:
    """Bytes that sharding gathers at once.

    Attributes:
        layer: Weights of the largest layer.
        layer_gradients: Its gradients.
        root: Weights of all that is outside of layers.
        root_gradients: Its gradients.
    """

    layer: float
    layer_gradients: float
    root: float
    root_gradients: float


def parts_of(module: RegionModule) -> list[Part]:
    """The parts of a model; a weight that two share counts for the first."""
    backbone = module.backbone
    model = backbone.llava.model
    modules: dict[str, nn.Module | None] = {
        "vision tower": model.vision_tower,
        "projector": model.multi_modal_projector,
        "word embeddings": backbone.llava.get_input_embeddings(),
        "language model": model.language_model,
        "output head": backbone.llava.lm_head,
        "region reference": backbone.reference,
        "guide head": backbone.guide,
    }
    seen: set[int] = set()
    parts = []
    for name, part in modules.items():
        weights = [] if part is None else [weight for weight in part.parameters() if id(weight) not in seen]
        seen.update(map(id, weights))
        quantisation = module.quantise if name == "language model" else None
        parts.append(_part(name, weights, quantisation, module.optimizer))
    assert sum(part.parameters for part in parts) == sum(weight.numel() for weight in backbone.parameters())
    return parts


def _part(name: str, weights: list[nn.Parameter], quantisation: Quantisation | None, optimizer: OptimizerName) -> Part:
    learning = _learning(weights)
    return Part(
        name,
        sum(weight.numel() for weight in weights),
        sum(weight.numel() for weight in learning),
        sum(weight.numel() * bytes_per_parameter(weight, quantisation) for weight in weights),
        _bytes(learning),
        sum(state_bytes(weight, optimizer) for weight in learning),
    )


def units_of(backbone: TokenMarkBackbone, size: int | None = None) -> Units:
    """The largest layer, and all that is outside of layers.

    Args:
        backbone: The model.
        size: Bytes of the numbers that travel, while gradients are summed as float32; the weights' own if left out.
    """
    modules = [*backbone.used_layers, *backbone.llava.model.language_model.layers]
    layers = [list(module.parameters()) for module in modules]
    inside = {id(weight) for layer in layers for weight in layer}
    root = [weight for weight in backbone.parameters() if id(weight) not in inside]
    largest = max(layers, key=_bytes)
    return Units(
        _bytes(largest, size),
        _bytes(_learning(largest), None if size is None else FLOAT),
        _bytes(root, size),
        _bytes(_learning(root), size),
    )


def bytes_per_parameter(weight: nn.Parameter, quantisation: Quantisation | None = None) -> float:
    """What a number of a weight takes; in the frozen matrices of a quantised model its share of a scale is in it."""
    if quantisation is None or weight.requires_grad or weight.dim() != 2:
        return weight.element_size()
    return 0.5 + FLOAT / NF4_BLOCK if quantisation == "nf4" else 1 + FLOAT / weight.shape[1]


def state_bytes(weight: nn.Parameter, optimizer: OptimizerName) -> float:
    """AdamW's two moments: of the weight's type in torch; a byte each, and a scale a block, in bitsandbytes."""
    if optimizer == "adamw":
        return 2.0 * weight.numel() * weight.element_size()
    if weight.numel() < SMALLEST_IN_8_BITS:
        return 2.0 * weight.numel() * FLOAT
    return 2.0 * (weight.numel() + FLOAT * -(-weight.numel() // ADAM_BLOCK))


def _learning(weights: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    return [weight for weight in weights if weight.requires_grad]


def _bytes(weights: Iterable[nn.Parameter], size: int | None = None) -> float:
    return float(sum(weight.numel() * (size or weight.element_size()) for weight in weights))


# --- what stays -----------------------------------------------------------------------------------------------------


def resident(parts: Iterable[Part], layout: Layout) -> dict[str, float]:
    """Weights, gradients and the optimiser's state; they are there between steps, too."""
    parts = list(parts)
    gradients = sum(part.gradients for part in parts)
    held = {
        "weights": sum(part.weights for part in parts),
        "gradients": gradients,
        "optimiser state": sum(part.state for part in parts),
    }
    if layout.buckets:
        held["gradient buckets"] = gradients
    return {name: amount / layout.shards for name, amount in held.items()}


def gathered(units: Units, layout: Layout, backward: bool) -> dict[str, float]:
    """What sharding puts together of all devices: the root for the whole step, a layer and the next one fetched.

    In the backward pass the gradients of the root and of one layer lie there whole, too.
    """
    if layout.shards == 1:
        return {}
    gradients = units.root_gradients + units.layer_gradients if backward else 0.0
    return {"gathered from shards": units.root + 2 * units.layer + gradients}


# --- what a step adds -----------------------------------------------------------------------------------------------


def training(sizes: Sizes, step: Step, numbers: Numbers, checkpointed: bool) -> dict[str, float]:
    """What forward and backward pass put on top, at its peak."""
    return {
        "activations": activations(sizes, step, numbers, checkpointed),
        "attention masks": masks(sizes, step, numbers, 1 if checkpointed else sizes.decoder.layers),
        "logits": logits(sizes, step, numbers),
        "one layer's gradients": layer_work(sizes, step, numbers),
    }


def optimiser_step(parts: Iterable[Part], layout: Layout) -> dict[str, float]:
    """What torch's AdamW puts on top on a GPU, where it updates all weights at once: roots of the second moments."""
    return {"square roots": sum(part.gradients for part in parts) / layout.shards}


def evaluation(sizes: Sizes, step: Step, numbers: Numbers, new_tokens: int) -> dict[str, float]:
    """What generating answers puts on top: the cache of prompts and answers, and the pass before it."""
    return {
        "key-value cache": key_value_cache(sizes, step, numbers, new_tokens),
        "attention masks": masks(sizes, step, numbers, 1),
        "logits": logits(sizes, step, numbers),
        "one layer's output": layer_work(sizes, step, numbers),
    }


# --- what fits ------------------------------------------------------------------------------------------------------


def misfits(rows: Mapping[str, float], capacity: float) -> dict[str, float]:
    """The rows from the first on that goes over `capacity` bytes, and how much of each does."""
    over: dict[str, float] = {}
    total = 0.0
    for name, amount in rows.items():
        left = max(0.0, capacity - total)
        total += amount
        if amount > left:
            over[name] = amount - left
    return over
