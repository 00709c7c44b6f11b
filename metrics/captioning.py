"""Caption scores of the COCO evaluation (METEOR, CIDEr, BLEU, ROUGE-L, SPICE), and the METEOR of nltk.

METEOR, CIDEr and BLEU are scores of a corpus: CIDEr weighs words by how many of the samples scored have them in a
reference, the others count over all captions. They may not be averaged over batches or ranks. Values are
raw: papers print CIDEr 1.097 as 109.7 and METEOR 0.170 as 17.0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, islice
from typing import Literal, NamedTuple, TypeAlias

from datamodules.types import DataError
from metrics.meteor import meteor
from metrics.nltk_meteor import nltk_meteor
from metrics.predictions import Prediction, PredictionMetric, Score, by_group, spell_regions, with_groups
from metrics.ptb import ptb_tokenise
from metrics.spice import spice

CaptionScore: TypeAlias = Literal["meteor", "cider", "bleu", "rouge_l", "spice", "meteor_nltk"]
"""A caption score; `bleu` stands for `bleu_1` to `bleu_4`, `meteor` is the Java program's, not nltk's."""


class Captioning(PredictionMetric):
    """Caption scores over all samples and, if there is more than one group, as `<group>/cider` within each.

    A group is a corpus of its own: its CIDEr counts the words of its own references. Regions in captions are
    read as their index text, `[2]`.

    Args:
        scores: Which ones: `meteor` (the Java program), `cider`, `bleu` (gives `bleu_1` to `bleu_4`), `rouge_l`,
            `spice` (needs Stanford's models, which a user downloads) and `meteor_nltk` (another metric than
            `meteor`, by which BenSMOT is compared; needs WordNet).

    Raises:
        DataError: A score is unknown.
    """

    def __init__(self, scores: Sequence[CaptionScore] = ("meteor", "cider")) -> None:
        super().__init__()
        _check_names(scores)
        self.scores = tuple(scores)

    def score(self, predictions: Sequence[Prediction]) -> dict[str, Score]:
        """Raw caption scores.

        Raises:
            DataError: A sample has no reference, or an empty one, or what a score needs is not installed.
            RuntimeError: Java failed.
        """
        corpora = _Corpora.of(
            {item.id: item.prediction for item in predictions},
            {item.id: item.references for item in predictions},
            self.scores,
        )
        parts = with_groups(predictions) if len(by_group(predictions)) > 1 else {"": predictions}
        return {
            f"{prefix}{name}": Score.of(value, part, _SCORERS[score].protocol)
            for prefix, part in parts.items()
            for score in self.scores
            for name, value in corpora.score(score, [item.id for item in part]).items()
        }


def score_captions(
    hypotheses: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    scores: Sequence[CaptionScore] = ("meteor", "cider"),
) -> dict[str, float]:
    """Scores captions against their references as one corpus.

    Args:
        hypotheses: Sample -> its caption; an empty one scores nothing.
        references: The same samples -> at least one reference each.
        scores: Which ones.

    Returns:
        Score -> raw value in [0, 1], CIDEr in [0, 10]. CIDEr of a single sample is 0: its words are in every
        sample.

    Raises:
        DataError: Hypotheses and references are of different samples, a sample has no reference or an empty
            one, a score is unknown, or what it needs is not installed.
        RuntimeError: Java failed.
    """
    _check_names(scores)
    corpora = _Corpora.of(hypotheses, references, scores)
    return {name: value for score in scores for name, value in corpora.score(score, sorted(hypotheses)).items()}


class _Corpus(NamedTuple):
    """Captions as pycocoevalcap wants them: sample -> one hypothesis, sample -> its references."""

    hypotheses: dict[str, list[str]]
    references: dict[str, list[str]]

    def part(self, ids: Sequence[str]) -> _Corpus:
        return _Corpus(*({key: captions[key] for key in ids} for captions in self))

    def first(self) -> list[str]:
        return [texts[0] for texts in self.hypotheses.values()]


class _Corpora(NamedTuple):
    """The captions, as they are and as tokens; as they are, too, where no score wants tokens."""

    plain: _Corpus
    tokens: _Corpus

    @classmethod
    def of(
        cls, hypotheses: Mapping[str, str], references: Mapping[str, Sequence[str]], scores: Iterable[CaptionScore]
    ) -> _Corpora:
        _check_captions(hypotheses, references)
        captions = {key: [hypotheses[key], *references[key]] for key in sorted(hypotheses)}
        spelt = {key: list(map(spell_regions, texts)) for key, texts in captions.items()}
        plain = _split(spelt)
        return cls(plain, _split(_tokenise(spelt)) if any(_SCORERS[score].tokens for score in scores) else plain)

    def score(self, score: CaptionScore, ids: Sequence[str]) -> dict[str, float]:
        scorer = _SCORERS[score]
        return scorer.function((self.tokens if scorer.tokens else self.plain).part(ids))


def _split(captions: Mapping[str, Sequence[str]]) -> _Corpus:
    """The first caption of a sample is its hypothesis, the rest are references."""
    return _Corpus(
        {key: list(texts[:1]) for key, texts in captions.items()},
        {key: list(texts[1:]) for key, texts in captions.items()},
    )


def _tokenise(captions: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    lines = iter(ptb_tokenise(list(chain.from_iterable(captions.values()))))
    return {key: list(islice(lines, len(texts))) for key, texts in captions.items()}


def _check_names(names: Iterable[str]) -> None:
    if unknown := sorted(set(names) - set(_SCORERS)):
        raise DataError(f"caption scores {unknown} are unknown; there are {sorted(_SCORERS)}")


def _check_captions(hypotheses: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> None:
    if odd := hypotheses.keys() ^ references.keys():
        counts = f"captions of {len(hypotheses)} samples, references of {len(references)}"
        raise DataError(f"{counts}: sample {min(odd)!r} has only one of them")
    for key, texts in references.items():
        if not texts or not all(map(str.strip, texts)):
            raise DataError(f"sample {key!r}: {len(texts)} references, of which each needs text: {list(texts)}")


def _meteor(corpus: _Corpus) -> dict[str, float]:
    return {"meteor": meteor().score(corpus.first(), list(corpus.references.values()))}


def _cider(corpus: _Corpus) -> dict[str, float]:
    from pycocoevalcap.cider.cider import Cider

    if not any(chain.from_iterable(corpus.references.values())):
        return {"cider": 0.0}  # nothing but punctuation, of which Cider cannot count documents
    return {"cider": float(Cider().compute_score(corpus.references, corpus.hypotheses)[0])}


def _bleu(corpus: _Corpus) -> dict[str, float]:
    from pycocoevalcap.bleu.bleu import Bleu

    values, _ = Bleu(4).compute_score(corpus.references, corpus.hypotheses, verbose=0)
    return {f"bleu_{order}": float(value) for order, value in enumerate(values, start=1)}


def _rouge_l(corpus: _Corpus) -> dict[str, float]:
    from pycocoevalcap.rouge.rouge import Rouge

    return {"rouge_l": float(Rouge().compute_score(corpus.references, corpus.hypotheses)[0])}


def _spice(corpus: _Corpus) -> dict[str, float]:
    return {"spice": spice(corpus.first(), list(corpus.references.values()))}


def _meteor_nltk(corpus: _Corpus) -> dict[str, float]:
    return {"meteor_nltk": nltk_meteor(corpus.first(), list(corpus.references.values()))}


class _Scorer(NamedTuple):
    """How a score is computed, what it is printed as, and whether it reads tokens or the captions as they are."""

    function: Callable[[_Corpus], dict[str, float]]
    protocol: str
    tokens: bool = True


_SCORERS: dict[CaptionScore, _Scorer] = {
    "meteor": _Scorer(_meteor, "METEOR 1.5 (Java, -l en -norm), PTB tokens, corpus score"),
    "cider": _Scorer(_cider, "CIDEr-D, PTB tokens, document frequencies of the references scored, raw"),
    "bleu": _Scorer(_bleu, "corpus BLEU, PTB tokens, closest reference length"),
    "rouge_l": _Scorer(_rouge_l, "ROUGE-L, beta 1.2, PTB tokens, mean over samples"),
    "spice": _Scorer(_spice, "SPICE 1.0 (Java), PTB tokens, mean F-score over samples"),
    "meteor_nltk": _Scorer(
        _meteor_nltk, "METEOR of nltk, split at blanks without ',' and '.', best reference, mean over samples", False
    ),
}
