"""Messages of "human" and "gpt" by turns, as LLaVA and what follows it write conversations."""

from __future__ import annotations

from datamodules.errors import DataError
from datamodules.reading.fields import array, filled, mapping, member, text

_SPEAKERS = ("human", "gpt")


def parse_messages(value: object, where: str, *, loose_ends: bool = False) -> list[tuple[str, str]]:
    """Question and answer of every turn of [{"from": "human", "value": "..."}, {"from": "gpt", "value": "..."}, ...].

    Args:
        value: The messages.
        where: Their place in the record.
        loose_ends: Leave out a first message of "gpt", which answers nothing, and a last one of "human", which nobody
            answers; else both are errors.

    Raises:
        DataError: A message is malformed, the speakers do not alternate from "human" on, or the last has no answer.
    """
    items = array(value, where)
    first = int(loose_ends and bool(items) and _speaker(items[0], f"{where}[0]") == _SPEAKERS[1])
    messages = [
        _message(item, f"{where}[{first + index}]", _SPEAKERS[index % 2]) for index, item in enumerate(items[first:])
    ]
    if loose_ends and len(messages) % 2:
        messages.pop()
    if len(messages) % 2:
        raise DataError(f"{where}: {len(messages)} messages, human and gpt come in pairs")
    return list(zip(messages[::2], messages[1::2], strict=True))


def _message(value: object, where: str, speaker: str) -> str:
    said = _speaker(value, where)
    if said != speaker:
        raise DataError(f"{where}.from: expected {speaker!r}, got {said!r}")
    return text(member(mapping(value, where), "value", where), f"{where}.value")


def _speaker(value: object, where: str) -> str:
    return filled(member(mapping(value, where), "from", where), f"{where}.from")
