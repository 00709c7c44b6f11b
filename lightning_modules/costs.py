"""What a step costs in arithmetic: the matrix products of the model, counted from its sizes alone.

A multiplication with its addition is two FLOP. Only matrix products are counted; norms, activation functions, softmax
and the optimiser are not. The gradient of a product takes as many FLOP again for each of its two factors that needs
one: a frozen weight needs none, nor does what comes before everything that learns. Causal attention can be counted
whole, as `torch.utils.flop_counter` does, or as the half that is not masked, which is what a good kernel computes; that
some kernels compute the scores again in the backward pass is not counted, as it is a way and not a need.

Letters: B samples, F frames of all samples, G side of the token grid, L text and visual tokens of a sample, N regions,
M marks, C width of a mark, D width of the language model, K supervised tokens of the batch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from datamodules.types import DataError

if TYPE_CHECKING:
    from lightning_modules.region_module import RegionModule

Attention: TypeAlias = Literal["whole", "half"]


@dataclass(frozen=True, slots=True)
class Tower:
    """Sizes of the vision tower, of the layers up to the one whose features are taken.

    Attributes:
        layers: How many.
        width: Of its hidden states.
        intermediate: Width inside an MLP.
        heads: Of an attention.
        patches: G * G, visual tokens of a frame; the class token comes on top.
        patch_values: Numbers that a patch of pixels consists of.
        quick_gelu: Whether its activation function is x * sigmoid(1.702 x), spelt out.
        learns: Whether it is trained.
    """

    layers: int
    width: int
    intermediate: int
    heads: int
    patches: int
    patch_values: int
    quick_gelu: bool
    learns: bool

    @property
    def layer_weights(self) -> int:
        """Weights in the matrices of one layer."""
        return 4 * self.width**2 + 2 * self.width * self.intermediate


@dataclass(frozen=True, slots=True)
class Decoder:
    """Sizes of the language model, of Llama's shape.

    Attributes:
        layers: How many.
        width: D.
        intermediate: Width inside a gated MLP.
        heads: Of the queries.
        query_width: Of all heads' queries together.
        key_width: Of all heads' keys together, and of the values.
        vocabulary: Rows of the output head.
        learns: Whether it is trained.
        rank: R, of the adapters that learn in its place; 0 without any.
        adapted: Names of the layers that have one.
    """

    layers: int
    width: int
    intermediate: int
    heads: int
    query_width: int
    key_width: int
    vocabulary: int
    learns: bool
    rank: int = 0
    adapted: tuple[str, ...] = ()

    @property
    def shapes(self) -> dict[str, tuple[int, int]]:
        """Inputs and outputs of each matrix of a layer, by its name."""
        width, queries, keys, inside = self.width, self.query_width, self.key_width, self.intermediate
        return {
            "q_proj": (width, queries),
            "k_proj": (width, keys),
            "v_proj": (width, keys),
            "o_proj": (queries, width),
            "gate_proj": (width, inside),
            "up_proj": (width, inside),
            "down_proj": (inside, width),
        }

    @property
    def layer_weights(self) -> int:
        """Weights in the matrices of one layer."""
        return sum(inputs * outputs for inputs, outputs in self.shapes.values())

    @property
    def adapter_weights(self) -> int:
        """Weights in the adapters of one layer."""
        return sum(self.rank * sum(self.shapes[name]) for name in self.adapted)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Everything that a count needs to know of a model.

    Attributes:
        tower: The vision tower.
        decoder: The language model.
        projector_learns: Whether the projector is trained.
        mark_dim: C; 0 if regions are not told by marks.
        guide_classes: M + 1; 0 without a guide head.
    """

    tower: Tower
    decoder: Decoder
    projector_learns: bool
    mark_dim: int
    guide_classes: int


@dataclass(frozen=True, slots=True)
class Step:
    """What a device works on at once; all samples of one length.

    Attributes:
        samples: B.
        frames: Of each sample.
        text_tokens: Of each sample, question and answer, beside the visual ones.
        answer_tokens: Those of them that are supervised.
        regions: N, of each sample.
    """

    samples: int
    frames: int
    text_tokens: int
    answer_tokens: int
    regions: int = 1

    def visual_tokens(self, sizes: Sizes) -> int:
        """F * G * G."""
        return self.samples * self.frames * sizes.tower.patches

    def length(self, sizes: Sizes) -> int:
        """L."""
        return self.frames * sizes.tower.patches + self.text_tokens


class Product(NamedTuple):
    """Matrix products of one kind.

    Attributes:
        part: What they belong to.
        flops: Of the forward pass, causal attention counted whole.
        gradients: How many times as much the backward pass takes.
        causal: Whether half of the result is masked.
        in_layer: Whether they are inside of what activation checkpointing runs again.
    """

    part: str
    flops: int
    gradients: int
    causal: bool = False
    in_layer: bool = False


def sizes_of(module: RegionModule) -> Sizes:
    """The sizes of an assembled model.

    Raises:
        DataError: Its language model is not of Llama's shape, so that the formulas would be wrong.
    """
    backbone = module.backbone
    config, reference = backbone.llava.config, backbone.reference
    sizes = Sizes(
        tower=_tower_sizes(config.vision_config, len(backbone.used_layers), "vision_tower" not in module.frozen),
        decoder=_decoder_sizes(config.text_config, module),
        projector_learns="projector" not in module.frozen,
        mark_dim=module.mark_dim if reference.num_marks else 0,
        guide_classes=0 if backbone.guide is None else reference.num_marks + 1,
    )
    layers = backbone.llava.model.language_model.layers
    found = sum(weight.numel() for weight in layers.parameters() if weight.dim() == 2)
    expected = sizes.decoder.layers * (sizes.decoder.layer_weights + sizes.decoder.adapter_weights)
    if found != expected:
        raise DataError(
            f"the layers of {config.text_config.model_type!r} hold {found} weights in matrices, "
            f"layers of Llama's shape would hold {expected}: only those can be planned"
        )
    return sizes


def _tower_sizes(config: Any, layers: int, learns: bool) -> Tower:
    return Tower(
        layers=layers,
        width=config.hidden_size,
        intermediate=config.intermediate_size,
        heads=config.num_attention_heads,
        patches=(config.image_size // config.patch_size) ** 2,
        patch_values=config.num_channels * config.patch_size**2,
        quick_gelu=config.hidden_act == "quick_gelu",
        learns=learns,
    )


def _decoder_sizes(config: Any, module: RegionModule) -> Decoder:
    heads = config.num_attention_heads
    head_width = getattr(config, "head_dim", None) or config.hidden_size // heads
    return Decoder(
        layers=config.num_hidden_layers,
        width=config.hidden_size,
        intermediate=config.intermediate_size,
        heads=heads,
        query_width=heads * head_width,
        key_width=(getattr(config, "num_key_value_heads", None) or heads) * head_width,
        vocabulary=config.vocab_size,
        learns="language_model" not in module.frozen and module.lora is None,
        rank=module.lora.rank if module.lora else 0,
        adapted=tuple(module.lora.targets) if module.lora else (),
    )


# --- products -------------------------------------------------------------------------------------------------------


def products(sizes: Sizes, step: Step) -> list[Product]:
    """All matrix products of one forward pass over whole conversations, logits at the labels only."""
    return [
        *_tower(sizes.tower, step.samples * step.frames),
        *_projector(sizes, step.visual_tokens(sizes)),
        *_marks(sizes, step),
        *_decoder(sizes.decoder, step.samples, step.length(sizes)),
        Product(
            "output head",
            _linear(step.samples * step.answer_tokens, sizes.decoder.width, sizes.decoder.vocabulary),
            1 + sizes.decoder.learns,
        ),
        Product("guide head", _linear(step.visual_tokens(sizes), sizes.decoder.width, sizes.guide_classes), 2),
    ]


def flops(counted: Iterable[Product], backward: bool = True, attention: Attention = "half") -> float:
    """The sum over products, of the forward pass or of both."""
    return sum(
        product.flops
        * (0.5 if product.causal and attention == "half" else 1.0)
        * (1 + (product.gradients if backward else 0))
        for product in counted
    )


def recomputed(counted: Iterable[Product], attention: Attention = "half") -> float:
    """What activation checkpointing adds: the layers that gradients pass run forward once more."""
    again = [product for product in counted if product.in_layer and product.gradients]
    return flops(again, backward=False, attention=attention)


def _linear(rows: int, inputs: int, outputs: int) -> int:
    return 2 * rows * inputs * outputs


def _tower(tower: Tower, frames: int) -> list[Product]:
    tokens = tower.patches + 1
    patches = _linear(frames * tower.patches, tower.patch_values, tower.width)
    linear = 2 * frames * tokens * tower.layers * tower.layer_weights
    attention = 2 * 2 * frames * tokens**2 * tower.width * tower.layers
    gradients = 2 * tower.learns
    return [
        Product("vision tower", patches, int(tower.learns)),
        Product("vision tower", linear + attention, gradients, in_layer=True),
    ]


def _projector(sizes: Sizes, tokens: int) -> list[Product]:
    vision, width = sizes.tower.width, sizes.decoder.width
    first = int(sizes.projector_learns) + sizes.tower.learns
    second = int(sizes.projector_learns) + (sizes.projector_learns or sizes.tower.learns)
    return [
        Product("projector", _linear(tokens, vision, width), first),
        Product("projector", _linear(tokens, width, width), second),
    ]


def _marks(sizes: Sizes, step: Step) -> list[Product]:
    """W on the marks of all regions, and Eq. 1 as one product a frame, whose weights are data.

    What other references compute, at most a D x D product a region, is not counted.
    """
    if not sizes.mark_dim:
        return []
    width = sizes.decoder.width
    return [
        Product("region reference", _linear(step.samples * step.regions, sizes.mark_dim, width), 2),
        Product("region reference", _linear(step.visual_tokens(sizes), step.regions, width), 1),
    ]


def _decoder(decoder: Decoder, samples: int, length: int) -> list[Product]:
    """Marks always learn, so gradients pass all layers, whether these learn or not."""
    linear = 2 * samples * length * decoder.layers * decoder.layer_weights
    attention = 2 * 2 * samples * length**2 * decoder.query_width * decoder.layers
    adapters = 2 * samples * length * decoder.layers * decoder.adapter_weights
    return [
        Product("language model", linear, 1 + decoder.learns, in_layer=True),
        Product("adapters", adapters, 2, in_layer=True),
        Product("causal attention", attention, 2, causal=True, in_layer=True),
    ]
