"""Caption scores of the COCO evaluation (METEOR, CIDEr, BLEU, ROUGE-L, SPICE), and the METEOR of nltk.

METEOR, CIDEr and BLEU are scores of a corpus: CIDEr weighs words by how many of the samples scored have them in a
reference, the others count over all captions. They may not be averaged over batches or ranks. Values are
raw: papers print CIDEr 1.097 as 109.7 and METEOR 0.170 as 17.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice
from typing import NamedTuple

from datamodules.errors import DataError
from metrics.caption_scorers import SCORERS, CaptionScore, Corpus
from metrics.predictions import Prediction, PredictionMetric, Score, by_group, spell_regions, with_groups
from metrics.ptb import ptb_tokenise
from metrics.sample_sums import SampleSums


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
        corpora = _Corpora.of_predictions(predictions, self.scores)
        parts = with_groups(predictions) if len(by_group(predictions)) > 1 else {"": predictions}
        return {
            f"{prefix}{name}": Score.of(value, part, SCORERS[score].protocol)
            for prefix, part in parts.items()
            for score in self.scores
            for name, value in corpora.score(score, [item.id for item in part]).items()
        }

    def sample_sums(self, name: str, predictions: Sequence[Prediction]) -> SampleSums | None:
        """By what sums over samples one of these scores comes; `name` is as in `score`, its group's part is scored.

        Raises:
            DataError: As `score`.
            RuntimeError: Java failed.
        """
        group, _, plain = name.rpartition("/")
        part = [item for item in predictions if group in ("", item.group)]
        score = next((score for score in self.scores if score == re.sub(r"_\d$", "", plain)), None)
        if score is None or not part:
            return None
        sums = _Corpora.of_predictions(part, [score]).sums(score, [item.id for item in part])
        return sums.get(plain)


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


class _Corpora(NamedTuple):
    """The captions, as they are and as tokens; as they are, too, where no score wants tokens."""

    plain: Corpus
    tokens: Corpus

    @classmethod
    def of_predictions(cls, predictions: Sequence[Prediction], scores: Iterable[CaptionScore]) -> _Corpora:
        return cls.of(
            {item.id: item.prediction for item in predictions},
            {item.id: item.references for item in predictions},
            scores,
        )

    @classmethod
    def of(
        cls, hypotheses: Mapping[str, str], references: Mapping[str, Sequence[str]], scores: Iterable[CaptionScore]
    ) -> _Corpora:
        _check_captions(hypotheses, references)
        captions = {key: [hypotheses[key], *references[key]] for key in sorted(hypotheses)}
        spelt = {key: list(map(spell_regions, texts)) for key, texts in captions.items()}
        plain = _split(spelt)
        return cls(plain, _split(_tokenise(spelt)) if any(SCORERS[score].tokens for score in scores) else plain)

    def score(self, score: CaptionScore, ids: Sequence[str]) -> dict[str, float]:
        return SCORERS[score].function(self._read_by(score).part(ids))

    def sums(self, score: CaptionScore, ids: Sequence[str]) -> dict[str, SampleSums]:
        return SCORERS[score].sums(self._read_by(score).part(ids))

    def _read_by(self, score: CaptionScore) -> Corpus:
        return self.tokens if SCORERS[score].tokens else self.plain


def _split(captions: Mapping[str, Sequence[str]]) -> Corpus:
    """The first caption of a sample is its hypothesis, the rest are references."""
    return Corpus(
        {key: list(texts[:1]) for key, texts in captions.items()},
        {key: list(texts[1:]) for key, texts in captions.items()},
    )


def _tokenise(captions: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    lines = iter(ptb_tokenise(list(chain.from_iterable(captions.values()))))
    return {key: list(islice(lines, len(texts))) for key, texts in captions.items()}


def _check_names(names: Iterable[str]) -> None:
    if unknown := sorted(set(names) - set(SCORERS)):
        raise DataError(f"caption scores {unknown} are unknown; there are {sorted(SCORERS)}")


def _check_captions(hypotheses: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> None:
    if odd := hypotheses.keys() ^ references.keys():
        counts = f"captions of {len(hypotheses)} samples, references of {len(references)}"
        raise DataError(f"{counts}: sample {min(odd)!r} has only one of them")
    for key, texts in references.items():
        if not texts or not all(map(str.strip, texts)):
            raise DataError(f"sample {key!r}: {len(texts)} references, of which each needs text: {list(texts)}")
