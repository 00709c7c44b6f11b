"""Names in one's own words: embeddings against a loop over single sentences, words by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from datamodules.errors import DataError
from metrics import OpenVocabulary, Prediction
from metrics.open_vocabulary import word_overlap
from metrics.sentence_embeddings import MOST_TOKENS, embed
from sentence_model import write_sentence_model

SAID = ("A red Dog.", "leg (of a dog)", "", "dog: leg")
RIGHT = ("dog", "dog:leg", "bath_mat", "dog:leg")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_sentence_model(tmp_path_factory.mktemp("encoder"))


def predictions() -> list[Prediction]:
    made = Prediction("", "classify", "lvis", "what is it", "", ())
    return [
        replace(made, id=str(number), prediction=said, references=(right,))
        for number, (said, right) in enumerate(zip(SAID, RIGHT, strict=True))
    ]


def alone(sentence: str, folder: str) -> torch.Tensor:
    """The mean over one sentence's tokens, nothing padded."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    ids = tokenizer(sentence)["input_ids"][:MOST_TOKENS]
    with torch.no_grad():
        states = model(input_ids=torch.tensor([ids])).last_hidden_state[0]
    total = torch.zeros(states.shape[1])
    for state in states:
        total += state
    return total / len(ids)


def test_sentences_are_embedded_as_if_alone(encoder: str) -> None:
    """Padding counts for nothing, and what is too long is cut."""
    sentences = ["dog", "a much longer name of a dog", "", "x" * 300]
    vectors = embed(sentences, encoder)
    for sentence in sentences:
        expected = alone(sentence, encoder)
        torch.testing.assert_close(vectors[sentence], expected / expected.norm(), atol=1e-5, rtol=0)


def test_similarity_is_the_mean_cosine_of_plain_names(encoder: str) -> None:
    scores = OpenVocabulary(encoder).score(predictions())
    plain = [("a red dog", "dog"), ("leg  of a dog", "dog leg"), ("", "bath mat"), ("dog  leg", "dog leg")]
    cosines = [torch.cosine_similarity(alone(one, encoder), alone(other, encoder), 0) for one, other in plain]
    assert scores["similarity"].value == pytest.approx(float(sum(cosines)) / 4, abs=1e-5)
    assert scores["semantic_iou"].value == pytest.approx((1 / 3 + 2 / 4 + 0 + 1) / 4)
    assert scores["lvis/similarity"] == scores["similarity"]
    assert encoder in scores["similarity"].protocol and scores["similarity"].n == 4


def test_names_as_ospreys_own_script_reads_them(encoder: str) -> None:
    """Behind a colon alone: a part said as `object:part` lacks its object."""
    metric = OpenVocabulary(encoder, normalisation="osprey")
    assert metric.score(predictions())["semantic_iou"].value == pytest.approx((1 / 3 + 1 / 5 + 0 + 1 / 2) / 4)


@pytest.mark.parametrize(
    ("one", "other", "share"), [("a dog", "Dog", 0.5), ("dog dog", "dog", 1), ("", "", 0), ("", "dog", 0)]
)
def test_words_are_counted_once(one: str, other: str, share: float) -> None:
    assert word_overlap(one, other) == share


def test_both_are_sums_over_samples(encoder: str) -> None:
    metric = OpenVocabulary(encoder)
    for name, score in metric.score(predictions()).items():
        sums = metric.sample_sums(name, predictions())
        assert sums is not None and sums.value == pytest.approx(score.value)


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no model of sentence embeddings at"):
        OpenVocabulary(str(tmp_path / "none")).score(predictions())
