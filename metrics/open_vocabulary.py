"""Open-vocabulary recognition: how near a name in one's own words is to the right one, as Osprey measures it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, TypeAlias

from metrics.predictions import Prediction, PredictionMetric, Score, with_groups
from metrics.sample_sums import SampleSums, mean
from metrics.sentence_embeddings import embed

Normalisation: TypeAlias = Literal["pixelrefer", "osprey"]
"""How names are brought into plain words before they are compared."""

_NORMALISED: dict[Normalisation, str] = {
    "pixelrefer": "_ : , . ( ) as blanks, lower case",
    "osprey": "of an answer what stands between its first two ':', without : , . and of the truth without _ :",
}


class OpenVocabulary(PredictionMetric):
    """Similarity of sentence embeddings, and intersection over union of words, of what was said and what is right.

    `similarity` is the mean cosine in [-1, 1], `semantic_iou` the mean share of words in [0, 1]; each also by group, as
    `<group>/similarity`. Papers print both times 100.

    Args:
        model: Hub id or folder of the model that embeds; all published numbers are by all-MiniLM-L6-v2.
        normalisation: Of names: `pixelrefer`, both as plain lower-case words, or `osprey`, as its own script does.
    """

    def __init__(
        self,
        model: str = "sentence-transformers/all-MiniLM-L6-v2",
        normalisation: Normalisation = "pixelrefer",
    ) -> None:
        super().__init__()
        self.model = model
        self.normalisation: Normalisation = normalisation

    def score(self, predictions: Sequence[Prediction]) -> dict[str, Score]:
        """The two numbers.

        Raises:
            DataError: There is no such model.
        """
        protocol = f"names with {_NORMALISED[self.normalisation]}"
        rules = {
            "similarity": f"cosine of sentence embeddings by {self.model}, {protocol}",
            "semantic_iou": f"words in both names of those in any, {protocol}",
        }
        return {
            f"{prefix}{name}": Score.of(sum(values) / len(values), part, rules[name])
            for prefix, part in with_groups(predictions).items()
            for name, values in self._values(part).items()
        }

    def sample_sums(self, name: str, predictions: Sequence[Prediction]) -> SampleSums | None:
        """Both are means over samples; `name` is as in `score`, its group's part is scored."""
        group, _, plain = name.rpartition("/")
        part = [item for item in predictions if group in ("", item.group)]
        return mean(self._values(part)[plain]) if part and plain in ("similarity", "semantic_iou") else None

    def _values(self, predictions: Sequence[Prediction]) -> dict[str, list[float]]:
        """Each number of each prediction."""
        pairs = [(self._said(item.prediction), self._right(item.references[0])) for item in predictions]
        vectors = embed([name for pair in pairs for name in pair], self.model)
        return {
            "similarity": [float(vectors[said] @ vectors[right]) for said, right in pairs],
            "semantic_iou": [word_overlap(said, right) for said, right in pairs],
        }

    def _said(self, text: str) -> str:
        if self.normalisation == "pixelrefer":
            return _plain(text)
        return re.sub("[.:,]", " ", text.split(":")[1] if ":" in text else text)

    def _right(self, text: str) -> str:
        return _plain(text) if self.normalisation == "pixelrefer" else re.sub("[_:]", " ", text)


def _plain(text: str) -> str:
    return re.sub("[_:,.()]", " ", text).strip().lower()


def word_overlap(one: str, other: str) -> float:
    """Words that both have, of those that any has; case does not matter, nor how often. 0 where there is no word."""
    first, second = set(one.lower().split()), set(other.lower().split())
    return len(first & second) / len(first | second) if first | second else 0.0
