"""What a forward pass leaves in memory, in bytes, counted from the sizes of the model and of the step.

Counted for samples of one length and torch's fused attention, which keeps no scores. Indices and masks of a few bytes a
token are not counted. Letters as in `costs`.
"""

from __future__ import annotations

from dataclasses import dataclass

from lightning_modules.costs import Decoder, Sizes, Step, Tower

FLOAT = 4  # bytes of the numbers that norms, softmax and cross-entropy are computed in


@dataclass(frozen=True, slots=True)
class Numbers:
    """Bytes of a number: of each part's weights, and of what autocast computes with.

    Attributes:
        tower: Of a weight of the vision tower, and of its hidden states between layers.
        projector: Of a weight of the projector.
        decoder: Of a weight of the language model, and of its hidden states between layers.
        beside: Of a weight of marks, guide head and adapters.
        autocast: Of what autocast has products read and write; None without it.
    """

    tower: int
    projector: int
    decoder: int
    beside: int
    autocast: int | None = None

    def product(self, weight: int) -> int:
        """What a product with weights of so many bytes reads and writes."""
        return weight if self.autocast is None else min(weight, self.autocast)

    def mixed(self, weight: int) -> bool:
        """Whether autocast converts such weights and their inputs on the way into a product, and keeps the copies."""
        return self.product(weight) != weight

    def copies(self, weight: int) -> int:
        """Bytes of the copy of such a weight that autocast keeps for the backward pass."""
        return self.product(weight) if self.mixed(weight) else 0

    @property
    def compute(self) -> int:
        """What the language model's products read and write."""
        return self.product(self.decoder)

    @property
    def key(self) -> int:
        """What a key of the cache is: rotated by angles of the hidden states' type, while a value is not."""
        return max(self.compute, self.decoder)


def activations(sizes: Sizes, step: Step, numbers: Numbers, checkpointed: bool = False) -> float:
    """What autograd keeps of a forward pass: of every layer gradients pass, what its backward pass reads.

    With checkpointing that is each layer's input, and everything of the one layer that is being run again. Logits and
    masks are counted elsewhere.
    """
    tokens = step.samples * step.length(sizes)
    frames = step.samples * step.frames
    in_decoder = float(_decoder_layer(sizes.decoder, numbers) * tokens + _decoder_copies(sizes.decoder, numbers))
    in_tower = 0.0
    if sizes.tower.learns:
        in_tower += _tower_layer(sizes.tower, numbers) * frames * (sizes.tower.patches + 1)
        in_tower += numbers.copies(numbers.tower) * sizes.tower.layer_weights
    outside = _outside(sizes, step, numbers)
    if not checkpointed:
        return outside + sizes.decoder.layers * in_decoder + sizes.tower.layers * in_tower
    inputs = sizes.decoder.layers * tokens * sizes.decoder.width * numbers.decoder
    if sizes.tower.learns:
        inputs += sizes.tower.layers * frames * (sizes.tower.patches + 1) * sizes.tower.width * numbers.tower
    return outside + inputs + max(in_decoder, in_tower)


def masks(sizes: Sizes, step: Step, numbers: Numbers, layers: int) -> float:
    """B * L * L booleans, and as many numbers a layer that torch makes of them, as soon as samples differ in length."""
    if step.samples == 1:
        return 0.0
    return float(step.samples * step.length(sizes) ** 2 * (1 + layers * numbers.compute))


def logits(sizes: Sizes, step: Step, numbers: Numbers) -> float:
    """At the supervised tokens alone: the logits, and two copies that cross-entropy works on."""
    copies = 2 * FLOAT + (numbers.compute if numbers.compute < FLOAT else 0)
    return float(step.samples * step.answer_tokens * sizes.decoder.vocabulary * copies)


def key_value_cache(sizes: Sizes, step: Step, numbers: Numbers, new_tokens: int) -> float:
    """Keys and values of every layer, of the prompts and of what is generated."""
    length = step.length(sizes) - step.answer_tokens + new_tokens
    width = sizes.decoder.key_width * (numbers.key + numbers.compute)
    return float(step.samples * length * sizes.decoder.layers * width)


def layer_work(sizes: Sizes, step: Step, numbers: Numbers) -> float:
    """An estimate of what one layer holds while it runs: its MLP's three inner tensors, its input and output."""
    wide = 3 * sizes.decoder.intermediate * numbers.compute + 2 * sizes.decoder.width * numbers.decoder
    return float(step.samples * step.length(sizes) * wide)


def _norm(width: int, numbers: Numbers, learns: bool) -> int:
    """A token's share in an RMS norm: its input as float, the root, and what its weight is multiplied with."""
    return FLOAT * width + FLOAT + learns * numbers.decoder * width


def _decoder_layer(decoder: Decoder, numbers: Numbers) -> int:
    """A token's share: two norms; queries, keys, values, the attention's output and its log-sum; gate and up.

    A weight that learns keeps the input of its product: one tensor for queries, keys and values, which under autocast
    are converted once for each of them; the same for gate and up; and the gated product.
    """
    inputs = 5 if numbers.mixed(numbers.decoder) else 2
    return (
        2 * _norm(decoder.width, numbers, decoder.learns)
        + numbers.compute * 2 * (decoder.query_width + decoder.key_width)
        + FLOAT * decoder.heads
        + numbers.compute * (3 + decoder.learns) * decoder.intermediate
        + decoder.learns * inputs * decoder.width * numbers.compute
        + _adapters(decoder, numbers)
    )


def _decoder_copies(decoder: Decoder, numbers: Numbers) -> int:
    """The copies of a layer's matrices, and of its adapters'."""
    own, beside = numbers.copies(numbers.decoder), numbers.copies(numbers.beside)
    return own * decoder.layer_weights + beside * decoder.adapter_weights


def _adapters(decoder: Decoder, numbers: Numbers) -> int:
    """A token's share: what the adapters read, and what is between their two matrices; dropout is not counted.

    An adapter of another type converts what it reads, each for itself; else the layers' inputs are kept, which
    several share, and the attention's output is there already.
    """
    adapted = set(decoder.adapted)
    if numbers.mixed(numbers.beside) or numbers.beside != numbers.compute:
        read = sum(decoder.shapes[name][0] for name in adapted)
    else:
        shared = [adapted & {"q_proj", "k_proj", "v_proj"}, adapted & {"gate_proj", "up_proj"}]
        read = decoder.width * sum(map(bool, shared)) + decoder.intermediate * ("down_proj" in adapted)
    return numbers.product(numbers.beside) * (read + len(adapted) * decoder.rank)


def _tower_layer(tower: Tower, numbers: Numbers) -> int:
    """A token's share, as above; a layer norm keeps its input and two moments, the activation function its parts."""
    inputs = 4 if numbers.mixed(numbers.tower) else 2
    compute = numbers.product(numbers.tower)
    return (
        2 * (tower.width * numbers.tower + 2 * numbers.tower)
        + compute * 4 * tower.width
        + FLOAT * tower.heads
        + compute * (3 if tower.quick_gelu else 2) * tower.intermediate
        + compute * inputs * tower.width
    )


def _outside(sizes: Sizes, step: Step, numbers: Numbers) -> float:
    """Patches, projector, rotations, last norm, inputs of both heads; under autocast a copy of every weight."""
    tower, decoder, visual = sizes.tower, sizes.decoder, step.visual_tokens(sizes)
    total = step.samples * step.length(sizes) * _norm(decoder.width, numbers, decoder.learns)
    total += 2 * step.length(sizes) * decoder.query_width // decoder.heads * numbers.decoder
    if decoder.learns:
        total += step.samples * step.answer_tokens * decoder.width * numbers.compute
    if sizes.guide_classes:
        total += visual * decoder.width * numbers.product(numbers.beside)
    if tower.learns:
        pixels = visual * tower.patch_values * numbers.product(numbers.tower)
        total += pixels + step.samples * step.frames * (tower.patches + 1) * tower.width * numbers.tower
    projected = numbers.product(numbers.projector)
    if sizes.projector_learns:
        total += visual * (tower.width + decoder.width) * projected
    if sizes.projector_learns or tower.learns:
        total += visual * decoder.width * projected
    return total + _outer_copies(sizes, numbers)


def _outer_copies(sizes: Sizes, numbers: Numbers) -> int:
    """The copies of matrices outside of layers that gradients pass."""
    tower, decoder = sizes.tower, sizes.decoder
    own, beside = numbers.copies(numbers.decoder), numbers.copies(numbers.beside)
    total = own * decoder.width * decoder.vocabulary + beside * decoder.width * (sizes.guide_classes + sizes.mark_dim)
    if sizes.projector_learns or tower.learns:
        total += numbers.copies(numbers.projector) * decoder.width * decoder.width
    if tower.learns:
        total += numbers.copies(numbers.projector) * tower.width * decoder.width
        total += numbers.copies(numbers.tower) * tower.width * tower.patch_values
    return total
