"""The description on an MLflow run's page: what its scores stand on, in full, where the page cuts tags short."""

from __future__ import annotations

import re
from collections.abc import Mapping

from metrics import Score

NOTE = "mlflow.note.content"
"""The tag that MLflow shows as the run's description, in Markdown."""
MOST = 8000
"""Characters of a tag."""


def described(text: str, split: str, scores: Mapping[str, Score]) -> str:
    """A description with the section of a split's protocols put in, or in the place of an earlier one.

    Args:
        text: The description so far.
        split: Of the data.
        scores: Whose protocols it is about.
    """
    title = f"Protocols of {split}"
    # the first part is what stands above all sections
    parts = [part for part in re.split(r"^(?=## )", text, flags=re.MULTILINE) if not part.startswith(f"## {title}\n")]
    above = "".join(f"{part.rstrip()}\n\n" for part in parts if part.strip())
    for section in (_section(scores), "In `results.json`.\n"):
        made = f"{above}## {title}\n\n{section}"
        if len(made) <= MOST:
            return made
    return text  # of someone who has more to say


def _section(scores: Mapping[str, Score]) -> str:
    names: dict[tuple[str, int], list[str]] = {}
    for name, score in scores.items():
        names.setdefault((score.protocol, score.n), []).append(f"`{name}`")
    return "".join(f"- {', '.join(found)}: {protocol}; n = {n}\n" for (protocol, n), found in names.items())
