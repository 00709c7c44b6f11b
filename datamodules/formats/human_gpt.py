"""Messages of "human" and "gpt" by turns, as LLaVA and what follows it write conversations."""

from __future__ import annotations

from datamodules.formats.fields import array, filled, mapping, member, text
from datamodules.types import DataError

_SPEAKERS = ("human", "gpt")


def parse_messages(value: object, where: str) -> list[tuple[str, str]]:
    """Question and answer of every turn of [{"from": "human", "value": "..."}, {"from": "gpt", "value": "..."}, ...].

    Raises:
        DataError: A message is malformed, the speakers do not alternate from "human" on, or the last has no answer.
    """
    messages = [
        _message(item, f"{where}[{index}]", _SPEAKERS[index % 2]) for index, item in enumerate(array(value, where))
    ]
    if len(messages) % 2:
        raise DataError(f"{where}: {len(messages)} messages, human and gpt come in pairs")
    return list(zip(messages[::2], messages[1::2], strict=True))


def _message(value: object, where: str, speaker: str) -> str:
    fields = mapping(value, where)
    said = filled(member(fields, "from", where), f"{where}.from")
    if said != speaker:
        raise DataError(f"{where}.from: expected {speaker!r}, got {said!r}")
    return text(member(fields, "value", where), f"{where}.value")
