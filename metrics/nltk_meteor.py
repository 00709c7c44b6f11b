"""METEOR as nltk computes it, which BenSMOT's numbers are made with; a different metric from the Java program's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError

_DROPPED = str.maketrans("", "", ",.")


def nltk_meteor(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> NDArray[np.float64]:
    """The best reference's score of each caption, in [0, 1].

    Captions are split at blanks once ',' and '.' are deleted; no other punctuation is, and no tokenizer is run.

    Raises:
        DataError: The words' synonyms, which are WordNet's, are not installed. Nothing is downloaded.
    """
    from nltk.translate.meteor_score import meteor_score

    wordnet = _wordnet()
    scores = [
        meteor_score([_words(text) for text in texts], _words(hypothesis), wordnet=wordnet)
        for hypothesis, texts in zip(hypotheses, references, strict=True)
    ]
    return np.array(scores, np.float64)


def _words(caption: str) -> list[str]:
    return caption.translate(_DROPPED).split()


def _wordnet() -> Any:
    from nltk import corpus, data

    try:
        corpus.wordnet.ensure_loaded()
    except LookupError:
        folders = ", ".join(data.path)
        advice = "`python -m nltk.downloader wordnet` installs it"
        raise DataError(f"meteor_nltk needs WordNet, which is in none of {folders}; {advice}") from None
    return corpus.wordnet
