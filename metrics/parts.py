"""Questions that come in parts: parts of one item are brought together, and count where all of them are right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from metrics.multiple_choice import ChoiceRule, MultipleChoice
from metrics.predictions import Prediction, Score

Items: TypeAlias = dict[str, dict[str, Prediction]]
"""Item -> part -> the prediction of that part, items sorted."""


def by_item(predictions: Sequence[Prediction], key: str, parts: Sequence[str]) -> Items:
    """Brings the parts of each item together.

    Args:
        predictions: Each has in its meta the item's name under `key`, and which `part` of it this is.
        key: Where the item's name stands.
        parts: All parts there are.

    Raises:
        DataError: A meta lacks one of the two, a part is unknown, or an item has a part twice.
    """
    items: Items = {}
    for prediction in predictions:
        item, part = _name(prediction, key), _name(prediction, "part")
        if part not in parts:
            raise prediction.error(f"meta.part: expected one of {', '.join(parts)}, got {part!r}")
        first = items.setdefault(item, {}).setdefault(part, prediction)
        if first is not prediction:
            raise prediction.error(f"part {part!r} of {item!r}, which sample {first.id!r} is already")
    return {item: items[item] for item in sorted(items)}


def _name(prediction: Prediction, key: str) -> str:
    value = prediction.need(key)
    if not isinstance(value, str):
        raise prediction.error(f"meta.{key}: expected a string, got {value!r}")
    return value


def all_right(choice: MultipleChoice, rule: ChoiceRule, title: str, items: Items, parts: Sequence[str]) -> Score:
    """The share of items, which all have these parts, with every one of them right; `n` counts items.

    Args:
        choice: Tells what is right.
        rule: Which likely option is chosen.
        title: What the number is called in its protocol.
        items: At least one.
        parts: The parts that have to be right.
    """
    is_right = choice.judge(rule)
    right = sum(all(is_right(item[part]) for part in parts) for item in items.values())
    judged = [item[part] for item in items.values() for part in parts]
    score = Score.of(right / len(items), judged, f"{title}; {choice.protocol(rule, judged)}")
    return score._replace(n=len(items))
