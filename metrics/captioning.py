"""Caption scores of the COCO evaluation: METEOR, CIDEr, BLEU and ROUGE-L.

All but ROUGE-L are scores of a corpus: CIDEr weighs words by how many of the samples scored have them in a
reference, METEOR and BLEU count over all captions. They may not be averaged over batches or ranks. Values are
raw: papers print CIDEr 1.097 as 109.7 and METEOR 0.170 as 17.0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, islice
from typing import Literal, NamedTuple, TypeAlias

from datamodules.types import DataError
from metrics.meteor import meteor
from metrics.predictions import Prediction, PredictionMetric, Score, by_group, spell_regions
from metrics.ptb import ptb_tokenise

CaptionScore: TypeAlias = Literal["meteor", "cider", "bleu", "rouge_l"]
"""A caption score; `bleu` stands for `bleu_1` to `bleu_4`."""


class Captioning(PredictionMetric):
    """Caption scores over all samples and, if there is more than one group, as `<group>/cider` within each.

    A group is a corpus of its own: its CIDEr counts the words of its own references. Regions in captions are
    read as their index text, `[2]`.

    Args:
        scores: Which ones: `meteor`, `cider`, `bleu` (gives `bleu_1` to `bleu_4`), `rouge_l`.

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
            DataError: A sample has no reference, or an empty one.
            RuntimeError: Java failed.
        """
        corpus = _tokenise(
            {item.id: item.prediction for item in predictions},
            {item.id: item.references for item in predictions},
        )
        groups = by_group(predictions)
        parts = {f"{name}/": group for name, group in groups.items()}
        return {
            f"{prefix}{name}": Score.of(value, part, _PROTOCOLS[score])
            for prefix, part in {"": predictions, **(parts if len(parts) > 1 else {})}.items()
            for score in self.scores
            for name, value in _SCORERS[score](corpus.part(item.id for item in part)).items()
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
        Score -> raw value: METEOR, BLEU and ROUGE-L in [0, 1], CIDEr in [0, 10]. CIDEr of a single sample is
        0: its words are in every sample.

    Raises:
        DataError: Hypotheses and references are of different samples, a sample has no reference or an empty
            one, or a score is unknown.
        RuntimeError: Java failed.
    """
    _check_names(scores)
    corpus = _tokenise(hypotheses, references)
    return {name: value for score in scores for name, value in _SCORERS[score](corpus).items()}


class _Corpus(NamedTuple):
    """Tokenised captions as pycocoevalcap wants them: sample -> one hypothesis, sample -> its references."""

    hypotheses: dict[str, list[str]]
    references: dict[str, list[str]]

    def part(self, ids: Iterable[str]) -> _Corpus:
        chosen = list(ids)
        return _Corpus(*({key: captions[key] for key in chosen} for captions in self))


def _tokenise(hypotheses: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> _Corpus:
    _check_captions(hypotheses, references)
    captions = {key: [hypotheses[key], *references[key]] for key in sorted(hypotheses)}
    spelt = [spell_regions(caption) for caption in chain.from_iterable(captions.values())]
    lines = iter(ptb_tokenise(spelt))
    tokens = {key: list(islice(lines, len(texts))) for key, texts in captions.items()}
    return _Corpus({key: texts[:1] for key, texts in tokens.items()}, {key: texts[1:] for key, texts in tokens.items()})


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
    hypotheses = [texts[0] for texts in corpus.hypotheses.values()]
    return {"meteor": meteor().score(hypotheses, list(corpus.references.values()))}


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


_SCORERS: dict[CaptionScore, Callable[[_Corpus], dict[str, float]]] = {
    "meteor": _meteor,
    "cider": _cider,
    "bleu": _bleu,
    "rouge_l": _rouge_l,
}

_PROTOCOLS: dict[CaptionScore, str] = {
    "meteor": "METEOR 1.5 (Java, -l en -norm), PTB tokens, corpus score",
    "cider": "CIDEr-D, PTB tokens, document frequencies of the references scored, raw",
    "bleu": "corpus BLEU, PTB tokens, closest reference length",
    "rouge_l": "ROUGE-L, beta 1.2, PTB tokens, mean over samples",
}
