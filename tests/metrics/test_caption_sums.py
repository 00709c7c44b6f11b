"""Caption scores as sums over captions, against corpora drawn anew and scored as a whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import pytest
from caption_corpus import corpus

from metrics import Captioning, Prediction, score_captions
from metrics.caption_scorers import CaptionScore

Predict: TypeAlias = Callable[..., Prediction]
ALL: tuple[CaptionScore, ...] = ("meteor", "cider", "bleu", "rouge_l")


def _predictions(predict: Predict, hypotheses: dict[str, str], references: dict[str, list[str]]) -> list[Prediction]:
    return [
        predict(key, task="caption", prediction=said, references=tuple(references[key]))
        for key, said in hypotheses.items()
    ]


def test_a_corpus_drawn_anew_scores_as_the_sums_over_its_captions_say(predict: Predict) -> None:
    """Captions repeated and left out, against that corpus scored as a whole; some are a reference from end to end."""
    hypotheses, references = corpus()
    hypotheses["sample 00"] = references["sample 00"][0]
    hypotheses["sample 01"], references["sample 01"] = "the car stops", ["the automobile stops"]  # by synonyms
    hypotheses["sample 02"], references["sample 02"] = "a dog", ["a dog sits", "a dog"]
    hypotheses["sample 03"] = ""
    made = _predictions(predict, hypotheses, references)
    names = ("meteor", "bleu_1", "bleu_4", "rouge_l")
    sums = {name: Captioning(ALL).sample_sums(name, made) for name in names}
    generator = np.random.default_rng(0)
    for _ in range(20):
        drawn = generator.choice(sorted(hypotheses)[: generator.integers(2, 31)], 12).tolist()
        counts = np.array([[drawn.count(key) for key in sorted(hypotheses)]], np.float64)
        said, truths = ({f"{n:02}": texts[key] for n, key in enumerate(drawn)} for texts in (hypotheses, references))
        scores = score_captions(said, truths, ["meteor", "bleu", "rouge_l"])  # type: ignore[arg-type]  # one of each
        for name in names:
            known = sums[name]
            assert known is not None
            assert known.number(counts @ known.added).tolist() == [pytest.approx(scores[name], abs=1e-12)]


def test_cider_of_a_corpus_drawn_anew_keeps_its_document_frequencies(predict: Predict) -> None:
    hypotheses, references = corpus()
    sums = Captioning().sample_sums("cider", _predictions(predict, hypotheses, references))
    assert sums is not None
    assert sums.value == pytest.approx(score_captions(hypotheses, references, ["cider"])["cider"], abs=1e-12)
    half = sums.added[:15].sum(0, keepdims=True)
    assert sums.number(half) == pytest.approx(sums.added[:15, 0].mean())


def test_a_groups_sums_are_its_own(predict: Predict) -> None:
    hypotheses, references = corpus()
    made = [replace(item, group="ab"[int(item.id[-1]) % 2]) for item in _predictions(predict, hypotheses, references)]
    metric = Captioning(["cider", "bleu"])
    scores = metric.score(made)
    for name in ("a/cider", "b/bleu_2", "cider"):
        sums = metric.sample_sums(name, made)
        assert sums is not None and len(sums.added) == scores[name].n
        assert sums.value == pytest.approx(scores[name].value, abs=1e-12)
    assert metric.sample_sums("meteor", made) is None
