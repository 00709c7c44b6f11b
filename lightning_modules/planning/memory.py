"""What stays on a device between passes, in bytes: weights, gradients, optimiser state, and what sharding gathers.

Not counted: what a driver, libraries and fragmentation take, and buffers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from lightning_modules.training.layers import layers_of

if TYPE_CHECKING:
    from lightning_modules.backbone import TokenMarkBackbone
    from lightning_modules.region_module import RegionModule
    from lightning_modules.training.optimizers import OptimizerName
    from lightning_modules.training.quantisation import Quantisation

GIB = 2**30
FLOAT = 4  # bytes of a scale, and of a gradient that shards are summed as
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
        travelling: The type that shards are put together as, and that layers compute in; the weights' own if None.
        once: Whether gradients travel once a step, and lie whole on every device until then.
        kept: Whether an evaluation has all layers lie there whole while it answers.
    """

    devices: int = 1
    shards: int = 1
    checkpointed: bool = False
    buckets: bool = False
    travelling: torch.dtype | None = None
    once: bool = False
    kept: bool = False


@dataclass(frozen=True, slots=True)
class Units:
    """Bytes that sharding gathers at once.

    Attributes:
        layers: Weights of all layers.
        layer: Weights of the largest layer.
        layer_gradients: Its gradients.
        root: Weights of all that is outside of layers.
        root_gradients: Its gradients.
    """

    layers: float
    layer: float
    layer_gradients: float
    root: float
    root_gradients: float


def modules_of(backbone: TokenMarkBackbone) -> dict[str, Sequence[nn.Module]]:
    """The parts by name; one that lies inside another comes before it."""
    base = backbone.base
    return {
        "projector": base.projector,
        "vision tower": [base.vision_tower],
        "word embeddings": [base.model.get_input_embeddings()],
        "language model": [base.language_model],
        "output head": [base.output_head],
        "region encoder": [backbone.region_encoder],
        "guide head": [] if backbone.guide is None else [backbone.guide],
        "rest": [backbone],
    }


def parts_of(module: RegionModule) -> list[Part]:
    """The parts of a model that hold weights; a weight that two share counts for the first."""
    seen: set[int] = set()
    parts = []
    for name, modules in modules_of(module.backbone).items():
        weights = {id(weight): weight for part in modules for weight in part.parameters() if id(weight) not in seen}
        seen.update(weights)
        quantised = _quantised(modules) if module.quantise and name == "language model" else frozenset()
        if weights:
            parts.append(_part(name, list(weights.values()), module, quantised))
    return parts


def _quantised(modules: Sequence[nn.Module]) -> frozenset[int]:
    """The weights of all linear layers, which quantisation replaces."""
    layers = (layer for part in modules for layer in part.modules() if type(layer) is nn.Linear)
    return frozenset(id(layer.weight) for layer in layers if not layer.weight.requires_grad)


def _part(name: str, weights: list[nn.Parameter], module: RegionModule, quantised: frozenset[int]) -> Part:
    learning = _learning(weights)
    sizes = (bytes_per_parameter(one, module.quantise if id(one) in quantised else None) for one in weights)
    return Part(
        name,
        sum(weight.numel() for weight in weights),
        sum(weight.numel() for weight in learning),
        sum(weight.numel() * size for weight, size in zip(weights, sizes, strict=True)),
        _bytes(learning),
        sum(state_bytes(weight, module.optimizer) for weight in learning),
    )


def units_of(backbone: TokenMarkBackbone, travelling: torch.dtype | None = None) -> Units:
    """The largest layer, and all that is outside of layers.

    Args:
        backbone: The model.
        travelling: What weights travel as, while gradients are summed as float32; the weights' own if left out.
    """
    size = None if travelling is None else travelling.itemsize
    layers = [list(layer.parameters()) for layer in layers_of(backbone)]
    inside = {id(weight) for layer in layers for weight in layer}
    root = [weight for weight in backbone.parameters() if id(weight) not in inside]
    largest = max(layers, key=_bytes)
    return Units(
        sum(_bytes(layer, size) for layer in layers),
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
    """AdamW's two moments: of the weight's type in torch; a byte each, and a scale a block, in bitsandbytes.

    That is the most for Muon, which has one of a matrix.
    """
    if optimizer != "adamw8bit":
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

    An evaluation may keep all layers. In the backward pass gradients of the root and of one layer lie there whole, too.
    """
    if layout.shards == 1:
        return {}
    gradients = units.root_gradients + units.layer_gradients if backward else 0.0
    layers = units.layers if layout.kept and not backward else 2 * units.layer
    return {"gathered from shards": units.root + layers + gradients}


def earlier_passes(parts: Iterable[Part], layout: Layout) -> dict[str, float]:
    """What the passes of a step before its last leave where gradients travel with that: those of all that learns."""
    return {"gradients of earlier passes": sum(part.gradients for part in parts)} if layout.once else {}


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
