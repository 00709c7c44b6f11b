"""`${name}` in a configuration stands for the value of that name."""

from __future__ import annotations

import re
from collections.abc import Sequence

from jsonargparse import ArgumentParser, Namespace
from omegaconf import OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from datamodules.errors import DataError


def interpolated(parser: ArgumentParser, config: Namespace, parts: Sequence[str] | None = None) -> Namespace:
    """The configuration with every `${name}` replaced by the value of that name.

    Args:
        parser: The configuration's.
        config: What it has read.
        parts: The groups that are wanted; what else there is may lack a value. Everything if left out.

    Raises:
        DataError: A name without a value, `???` that nobody has set included.
    """
    text = parser.dump(config, skip_none=False, skip_validation=True)
    try:
        tree = OmegaConf.create(text)
        resolved = (
            OmegaConf.to_container(tree, resolve=True, throw_on_missing=True)
            if parts is None
            else {part: OmegaConf.to_container(tree[part], resolve=True, throw_on_missing=True) for part in parts}
        )
    except OmegaConfBaseException as error:
        raise DataError(_told(error)) from None
    complete: Namespace = parser.parse_object(resolved)
    return complete


def _told(error: OmegaConfBaseException) -> str:
    text = str(error).splitlines()[0]
    used = re.search(r"interpolation: Missing mandatory value: ([\w.]+)|Interpolation key '([\w.]+)' not found", text)
    if used:
        return f"--{used[1] or used[2]} is not set; {error.full_key} of the configuration uses it"
    if isinstance(error, MissingMandatoryValue):
        return f"--{error.full_key} is not set, and the configuration asks for it"
    return f"configuration: {text}"
