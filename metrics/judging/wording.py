"""The words that a judge is asked with, from a file that may be edited; its fingerprint is part of the protocol."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Self

from datamodules.errors import DataError
from datamodules.regvid.parsing import clean
from datamodules.regvid.prompts import parsed, template_in, text_in

BUILT_IN = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True)
class Wording:
    """What a judge is told.

    Attributes:
        system: What it is and how it shall answer.
        texts: The parts of the questions by name.
        fingerprint: Of all of them: numbers of two wordings are not of one protocol.
    """

    system: str
    texts: Mapping[str, Template]
    fingerprint: str

    @classmethod
    def read(cls, name: str, texts: Mapping[str, frozenset[str]], folder: Path | None = None) -> Self:
        """The words of a file.

        Args:
            name: Of the file, without its ending.
            texts: What has to be in it beside `system`, and the fields of each.
            folder: Where it lies; that of the built-in files if left out.

        Raises:
            DataError: The file cannot be read, or a text is missing, lacks a field or has one that nobody knows.
        """
        path = (folder or BUILT_IN) / f"{name}.yaml"
        read = parsed(path)
        if unknown := sorted(read.keys() - texts.keys() - {"system"}):
            raise DataError(f"{path}: {unknown[0]}: no such text, there are system, {', '.join(sorted(texts))}")
        system = text_in(read, "system", path)
        templates = {text: template_in(read, path, fields, text) for text, fields in texts.items()}
        words = "\n".join([system, *(templates[text].template for text in sorted(templates))])
        return cls(system, templates, hashlib.sha256(words.encode()).hexdigest()[:8])

    def say(self, text: str, **fields: str) -> str:
        """One of the texts with its fields filled in."""
        return clean(self.texts[text].substitute(fields))
