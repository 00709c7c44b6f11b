"""The names in `base.architecture`: transformers keeps one that it does not know, and builds something else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from datamodules.errors import DataError, nearest

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

READ_ALL_THE_SAME = frozenset({"head_dim", "projector"})
"""What models ask a configuration for that does not list it: decoders the first, LLaVA's form here the second."""


def check_names(architecture: Mapping[str, Any], config: PreTrainedConfig, where: str = "base.architecture") -> None:
    """Refuses a name that the configuration made of an architecture has kept without knowing it.

    Args:
        architecture: Arguments of the configuration; those of its parts are mappings in it.
        config: What they have made.
        where: What the architecture is called in the message.

    Raises:
        DataError: There is one.
    """
    from transformers import PreTrainedConfig

    names = {*vars(type(config)()), *config.attribute_map, *READ_ALL_THE_SAME}
    kept = vars(config).keys() - names - set(dir(type(config)))
    for name, value in architecture.items():
        if name in kept:  # what an older name stands for is read and not kept
            known = [key for key in names if not key.startswith("_")]
            raise DataError(f"{where} has no {name!r} in a {config.model_type}{nearest(name, known)}")
        part = vars(config).get(name)
        if isinstance(value, Mapping) and isinstance(part, PreTrainedConfig):
            check_names(value, part, f"{where}.{name}")
