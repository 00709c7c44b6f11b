"""One value deep within a dictionary: `--model.base.architecture.text_config.num_hidden_layers 2`.

jsonargparse sets one level of a dictionary and replaces what is below it: all other keys of `text_config` were gone,
and with them the model that was asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import wraps
from typing import Any

from jsonargparse import _typehints
from jsonargparse._typehints import NestedArg


def merge_nested_keys() -> None:
    """From here on, jsonargparse keeps what a dictionary holds beside the key that is set."""
    adapt = _typehints.adapt_typehints
    if hasattr(adapt, "__wrapped__"):
        return

    @wraps(adapt)
    def adapt_merged(val: Any, typehint: Any, *arguments: Any, **options: Any) -> Any:
        held = options.get("prev_val")
        if isinstance(val, NestedArg) and type(held) is dict:
            first, _, rest = val.key.partition(".")
            if rest and isinstance(held.get(first), dict):
                val = NestedArg(first, merged(held[first], rest, val.val))
        return adapt(val, typehint, *arguments, **options)  # type: ignore[no-untyped-call]  # jsonargparse's

    _typehints.adapt_typehints = adapt_merged


def merged(held: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """`held` with `value` at `key`, whose dots lead from one dictionary into the next."""
    first, _, rest = key.partition(".")
    below = held.get(first)
    return {**held, first: merged(below if isinstance(below, dict) else {}, rest, value) if rest else value}
