"""The base models that regions are added to: one file a family, and here the table of them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from datamodules.errors import DataError

if TYPE_CHECKING:
    from lightning_modules.bases.base import Base

BASES: dict[str, str] = {
    "gemma3": "gemma3.Gemma3",
    "gemma4": "gemma4.Gemma4",
    "internvl": "internvl.InternVL",
    "llava": "llava.Llava",
    "llava_onevision": "llava_onevision.LlavaOnevision",
    "molmo2": "molmo2.Molmo2",
    "qwen2_5_vl": "qwen_vl.QwenVL",
    "qwen3_vl": "qwen_vl.QwenVL",
    "qwen3_5": "qwen_vl.QwenVL",
    "smolvlm": "smolvlm.SmolVLM",
}
"""transformers' `model_type` -> the file in this folder and the class in it."""


def family_of(model_type: str) -> type[Base]:
    """The family that reads models of this type.

    Raises:
        DataError: There is none.
    """
    if model_type not in BASES:
        raise DataError(f"no base for models of type {model_type!r}; there are {', '.join(sorted(BASES))}")
    file, _, name = BASES[model_type].partition(".")
    family: type[Base] = getattr(import_module(f"{__name__}.{file}"), name)
    return family
