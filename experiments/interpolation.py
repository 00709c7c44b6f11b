"""`${name}` in a configuration stands for the value of that name."""

from __future__ import annotations

from jsonargparse import ArgumentParser, Namespace
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from datamodules.types import DataError


def interpolated(parser: ArgumentParser, config: Namespace) -> Namespace:
    """The configuration with every `${name}` replaced by the value of that name.

    Raises:
        DataError: A name without a value, `???` that nobody has set included.
    """
    text = parser.dump(config, skip_none=False, skip_validation=True)
    try:
        resolved = OmegaConf.to_container(OmegaConf.create(text), resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise DataError(f"configuration: {str(error).splitlines()[0]}") from None
    complete: Namespace = parser.parse_object(resolved)
    return complete
