"""Keys, and what hides them wherever they might be written."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable

from datamodules.errors import DataError

HIDDEN = "***"


def key_in(variable: str) -> str:
    """The key that an environment variable holds, without the blanks around it that a file leaves there.

    Raises:
        DataError: There is none, or it is nothing that a header can hold; its value is not said.
    """
    key = os.environ.get(variable, "").strip()
    if not key:
        raise DataError(
            f"the environment variable {variable} holds no API key; a server that wants none has api_key_env: null"
        )
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise DataError(f"the API key in {variable} holds blanks or characters that are not printable ASCII")
    return key


def forms_of(variable: str) -> tuple[str, ...]:
    """All in which the key of a variable may turn up: as it stands there, stripped, and as a program prints it."""
    whole = os.environ.get(variable, "")
    forms = {form for key in (whole, whole.strip()) for form in (key, repr(key)[1:-1], json.dumps(key)[1:-1])}
    return tuple(forms - {""})


def hide(text: str, secrets: Iterable[str]) -> str:
    """The text with nothing secret in it."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text
