"""What a base model must be, so that joining its parts in LLaVA's form loses nothing: read off its configuration.

LLaVA's form is CLIP's features of one layer, a projector, a decoder that begins behind its word embeddings, and one
linear layer on its last hidden states. Parts that need more than that load without an error and answer wrongly, so
they are refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from datamodules.types import DataError

if TYPE_CHECKING:
    from transformers import LlavaConfig

DECODERS = (
    "apertus",
    "arcee",
    "cwm",
    "ernie4_5",
    "exaone4",
    "glm",
    "glm4",
    "helium",
    "hunyuan_v1_dense",
    "llama",
    "ministral",
    "mistral",
    "nemotron",
    "olmo",
    "olmo2",
    "olmo3",
    "phi3",
    "qwen2",
    "qwen3",
    "seed_oss",
    "smollm3",
    "stablelm",
    "starcoder2",
)
"""Decoders of transformers whose logits in LLaVA's form are their own, alone, padded and with a cache: that is a test.

Not among them: those that scale or cap their logits or scale their word embeddings (Cohere, Granite, Gemma, MiniCPM,
nanochat), whose head has a bias (Phi), that learn by a loss of their router as well (Mixtral and all mixtures of
experts), and that are built in another way (GPT-2, OPT, Mamba).
"""

_SCALES = (
    "logit_scale",
    "logits_scaling",
    "final_logit_softcapping",
    "lm_head_multiplier",
)
"""What configurations call a scale or cap between head and logits; those inside a decoder come with it."""


def check_base(config: LlavaConfig) -> None:
    """Refuses a base that would be built without an error and be another model than its parts.

    Raises:
        DataError: The vision tower is not CLIP's, its patches do not fill its image, or its features are those of
            several layers, of one that it does not have, or come with the class token; or the decoder is of an
            untested type, or has rotary frequencies that depend on the longest row of a batch.
    """
    _check_features(config)
    _check_decoder(config.text_config)


def _check_features(config: LlavaConfig) -> None:
    tower, layer = config.vision_config.model_type, config.vision_feature_layer
    if tower != "clip_vision_model" or not isinstance(layer, int):
        raise DataError(f"vision tower {tower!r} with features of layer {layer}: CLIP and one layer are needed")
    layers = config.vision_config.num_hidden_layers
    if not -layers - 1 <= layer <= layers:
        raise DataError(f"vision_feature_layer is {layer}, but the vision tower has {layers} layers")
    side, patch = config.vision_config.image_size, config.vision_config.patch_size
    if side % patch:
        raise DataError(f"patches of {patch} pixels leave {side % patch} of an image of {side} pixels unseen")
    strategy, grid = config.vision_feature_select_strategy, side // patch
    if strategy != "default":
        raise DataError(
            f"vision_feature_select_strategy is {strategy!r}: with the class token an image has {grid**2 + 1} tokens, "
            f"but regions lie on a grid of {grid} x {grid}"
        )


def _check_decoder(config: Any) -> None:
    if config.model_type not in DECODERS:
        scales = [f"{name} {value:g}" for name in _SCALES if (value := getattr(config, name, None)) not in (None, 1)]
        left_out = f", whose {' and '.join(scales)} would be left out," if scales else ""
        raise DataError(
            f"a decoder of type {config.model_type!r}{left_out} cannot be joined in LLaVA's form; "
            f"tested are {', '.join(DECODERS)}"
        )
    kinds = _rope_types(getattr(config, "rope_parameters", None))
    changing = sorted(kind for kind in kinds if "dynamic" in kind or kind == "longrope")
    if changing:
        raise DataError(
            f"a decoder with rotary frequencies of type {changing[0]!r}: they depend on the longest row of a batch, "
            "so that a sample would be answered otherwise in another batch"
        )


def _rope_types(parameters: Any) -> set[str]:
    """The types of rotary frequencies; some decoders have one for each type of layer."""
    if not isinstance(parameters, Mapping):
        return set()
    if "rope_type" in parameters:
        return {str(parameters["rope_type"])}
    return set().union(*map(_rope_types, parameters.values()))
