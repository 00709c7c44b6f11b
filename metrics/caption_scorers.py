"""Each caption score: how a corpus is scored, and by what sums over its captions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from metrics.meteor import meteor
from metrics.nltk_meteor import nltk_meteor
from metrics.sample_sums import SampleSums, mean
from metrics.spice import spice

CaptionScore: TypeAlias = Literal["meteor", "cider", "bleu", "rouge_l", "spice", "meteor_nltk"]
"""A caption score; `bleu` stands for `bleu_1` to `bleu_4`, `meteor` is the Java program's, not nltk's."""

_BLEU_ORDERS = 4


class Corpus(NamedTuple):
    """Captions as pycocoevalcap wants them: sample -> one hypothesis, sample -> its references."""

    hypotheses: dict[str, list[str]]
    references: dict[str, list[str]]

    def part(self, ids: Sequence[str]) -> Corpus:
        """Some of its samples."""
        return Corpus(*({key: captions[key] for key in ids} for captions in self))

    def first(self) -> list[str]:
        """The hypotheses alone."""
        return [texts[0] for texts in self.hypotheses.values()]


class Scorer(NamedTuple):
    """A caption score.

    Attributes:
        function: Corpus -> raw numbers by name, as the metric's own program has them.
        sums: Corpus -> the same numbers as sums over its samples.
        protocol: What it is printed as.
        tokens: Whether it reads tokens, or the captions as they are.
    """

    function: Callable[[Corpus], dict[str, float]]
    sums: Callable[[Corpus], dict[str, SampleSums]]
    protocol: str
    tokens: bool = True


def _meteor(corpus: Corpus) -> dict[str, float]:
    return {"meteor": meteor().score(corpus.first(), list(corpus.references.values()))}


def _meteor_sums(corpus: Corpus) -> dict[str, SampleSums]:
    added = meteor().statistics(corpus.first(), list(corpus.references.values()))
    return {"meteor": SampleSums(added, meteor().scores)}


def _bleu(corpus: Corpus) -> dict[str, float]:
    from pycocoevalcap.bleu.bleu import Bleu

    values, _ = Bleu(_BLEU_ORDERS).compute_score(corpus.references, corpus.hypotheses, verbose=0)
    return {f"bleu_{order}": float(value) for order, value in enumerate(values, start=1)}


def _bleu_sums(corpus: Corpus) -> dict[str, SampleSums]:
    from pycocoevalcap.bleu.bleu_scorer import cook_refs, cook_test

    counts = [
        cook_test(hypothesis, cook_refs(texts, n=_BLEU_ORDERS), "closest", _BLEU_ORDERS)
        for hypothesis, texts in zip(corpus.first(), corpus.references.values(), strict=True)
    ]
    rows = [[*count["correct"], *count["guess"], count["testlen"], count["reflen"]] for count in counts]
    added = np.array(rows, np.float64)
    return {f"bleu_{order}": SampleSums(added, partial(_bleu_of, order=order)) for order in range(1, _BLEU_ORDERS + 1)}


def _bleu_of(sums: NDArray[np.float64], order: int) -> NDArray[np.float64]:
    """BLEU of sums of matches and n-grams of each order, and of both lengths; pycocoevalcap's guards against zero."""
    correct, guess, (length, reference) = np.split(sums.T, [_BLEU_ORDERS, 2 * _BLEU_ORDERS])
    precision = np.prod((correct[:order] + 1e-15) / (guess[:order] + 1e-9), axis=0) ** (1 / order)
    shortness = (length + 1e-15) / (reference + 1e-9)
    return np.asarray(precision * np.exp(np.minimum(0, 1 - 1 / shortness)))


def _cider(corpus: Corpus) -> NDArray[np.float64]:
    """Of each caption; how rare a word is, the whole corpus says, also where samples are drawn anew."""
    from pycocoevalcap.cider.cider import Cider

    if not any(chain.from_iterable(corpus.references.values())):
        return np.zeros(len(corpus.hypotheses))  # nothing but punctuation, of which Cider cannot count documents
    return np.asarray(Cider().compute_score(corpus.references, corpus.hypotheses)[1], np.float64)


def _rouge_l(corpus: Corpus) -> NDArray[np.float64]:
    from pycocoevalcap.rouge.rouge import Rouge

    return np.asarray(Rouge().compute_score(corpus.references, corpus.hypotheses)[1], np.float64)


def _spice(corpus: Corpus) -> NDArray[np.float64]:
    return spice(corpus.first(), list(corpus.references.values()))


def _meteor_nltk(corpus: Corpus) -> NDArray[np.float64]:
    return nltk_meteor(corpus.first(), list(corpus.references.values()))


def _mean_of(name: str, of_each: Callable[[Corpus], NDArray[np.float64]], protocol: str, tokens: bool = True) -> Scorer:
    """A score that is the mean of its captions' own."""
    return Scorer(
        lambda corpus: {name: float(np.mean(of_each(corpus)))},
        lambda corpus: {name: mean(of_each(corpus))},
        protocol,
        tokens,
    )


SCORERS: Mapping[CaptionScore, Scorer] = {
    "meteor": Scorer(_meteor, _meteor_sums, "METEOR 1.5 (Java, -l en -norm), PTB tokens, corpus score"),
    "cider": _mean_of("cider", _cider, "CIDEr-D, PTB tokens, document frequencies of the references scored, raw"),
    "bleu": Scorer(_bleu, _bleu_sums, "corpus BLEU, PTB tokens, closest reference length"),
    "rouge_l": _mean_of("rouge_l", _rouge_l, "ROUGE-L, beta 1.2, PTB tokens, mean over samples"),
    "spice": _mean_of("spice", _spice, "SPICE 1.0 (Java), PTB tokens, mean F-score over samples"),
    "meteor_nltk": _mean_of(
        "meteor_nltk",
        _meteor_nltk,
        "METEOR of nltk, split at blanks without ',' and '.', best reference, mean over samples",
        False,
    ),
}
