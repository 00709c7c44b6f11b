"""Which decoders can be joined to a tower in LLaVA's form without losing anything: read off their configurations.

In LLaVA's form a decoder begins behind its word embeddings and ends before one linear layer on its last hidden states.
One that needs more than that would load without an error and answer wrongly, so it is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from datamodules.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

DECODERS = (
    "apertus",
    "arcee",
    "cwm",
    "ernie4_5",
    "exaone4",
    "gemma",
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


def check_decoder(config: PreTrainedConfig) -> None:
    """Refuses a decoder that would be joined without an error and be another one than it is alone.

    Raises:
        DataError: It is of an untested type.
    """
    if config.model_type not in DECODERS:
        scales = [f"{name} {value:g}" for name in _SCALES if (value := getattr(config, name, None)) not in (None, 1)]
        left_out = f", whose {' and '.join(scales)} would be left out," if scales else ""
        raise DataError(
            f"a decoder of type {config.model_type!r}{left_out} cannot be joined in LLaVA's form; "
            f"tested are {', '.join(DECODERS)}"
        )


def check_rope(config: PreTrainedConfig) -> None:
    """Refuses rotary frequencies that depend on the longest row of a batch.

    Raises:
        DataError: They do.
    """
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
