"""DLC-Bench: a description, judged by a language model that answers questions from nothing but it.

The judge is first asked whether the description is of an object of the right class, then each question of `qa.json`.
Its answers are given here; `metrics.judging` asks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from string import ascii_lowercase
from typing import NamedTuple

from datamodules.errors import DataError
from datamodules.reading.fields import array, mapping, member, number, text
from metrics.predictions import Score

RECOGNITION = ("Yes", "No")
"""The choices of the first question, whether the object was recognised."""

_RULE = "DLC-Bench, judge's answers as given, an answer that is no choice scores 0, at most 0 where not recognised"


class Question(NamedTuple):
    """A question about a description: whether what it asks for should be there, its choices, and what each is worth."""

    positive: bool
    choices: tuple[str, ...]
    scores: tuple[float, ...]


def dlc_scores(qa: Mapping[str, object], judged: Mapping[str, Sequence[str]], rule: str = _RULE) -> dict[str, Score]:
    """`positive`, `negative` and their mean `average`.

    An instance's score is the mean of its questions' of one kind, each what the judge's choice is worth; where the
    object was not recognised none counts more than 0. Instances are averaged; those without a negative question are
    left out of `negative`.

    Args:
        qa: Instance -> its questions, as `qa.json` has them: `{"question", "choices": [[text, score], ...], "type":
            "positive" or "negative"}`.
        judged: The same instances -> the judge's answers: whether the object was recognised, Yes or No, then one to
            each question.
        rule: What the protocol says first.

    Raises:
        DataError: Questions and answers are of different instances or do not match in number, a question is broken, an
            instance has no positive question or all of them no negative one, or the first answer is neither Yes nor No.
    """
    _check_same(qa, judged)
    means = {key: _instance(key, qa[key], judged[key]) for key in sorted(qa)}
    positive = [mean for mean, _ in means.values()]
    negative = [mean for _, mean in means.values() if mean is not None]
    if not negative:
        raise DataError(f"DLC-Bench: {len(means)} instances, 0 with a negative question")
    values = [sum(part) / len(part) for part in (positive, negative)]
    return {
        "positive": Score(values[0], len(positive), f"{rule}; mean over instances"),
        "negative": Score(values[1], len(negative), f"{rule}; mean over instances with negative questions"),
        "average": Score(sum(values) / 2, len(means), f"{rule}; mean of positive and negative"),
    }


def _check_same(qa: Mapping[str, object], judged: Mapping[str, Sequence[str]]) -> None:
    odd = qa.keys() ^ judged.keys()
    if odd or not qa:
        what = f": only one of them has {min(odd)!r}" if odd else ""
        raise DataError(f"DLC-Bench: questions about {len(qa)} instances, answers about {len(judged)}{what}")


def _instance(key: str, questions: object, answers: Sequence[str]) -> tuple[float, float | None]:
    """Mean score of the positive questions, and of the negative ones if there are any."""
    where = f"DLC-Bench instance {key!r}"
    asked = parse_questions(questions, where)
    if len(answers) != 1 + len(asked):
        raise DataError(f"{where}: {len(answers)} answers to {len(asked)} questions and to whether it was recognised")
    recognised = parse_choice(answers[0], RECOGNITION)
    if recognised is None:
        raise DataError(f"{where}: recognised has to be Yes or No, not {answers[0]!r}")
    limit = 0.0 if RECOGNITION[recognised] == "No" else float("inf")
    pairs = list(zip(asked, answers[1:], strict=True))
    positive, negative = (
        [min(limit, _worth(question, answer)) for question, answer in pairs if question.positive is kind]
        for kind in (True, False)
    )
    if not positive:
        raise DataError(f"{where}: {len(asked)} questions, 0 positive")
    return sum(positive) / len(positive), sum(negative) / len(negative) if negative else None


def parse_questions(value: object, where: str) -> list[Question]:
    """The questions of one instance, as `qa.json` has them; `DataError` if one is broken."""
    return [_question(question, f"{where}[{index}]") for index, question in enumerate(array(value, where))]


def _question(value: object, where: str) -> Question:
    question = mapping(value, where)
    kind = text(member(question, "type", where), f"{where}.type")
    if kind not in ("positive", "negative"):
        raise DataError(f"{where}.type: expected positive or negative, got {kind!r}")
    where = f"{where}.choices"
    pairs = [array(pair, where, 2) for pair in array(member(question, "choices", where), where)]
    texts, scores = (text(choice, where) for choice, _ in pairs), (number(score, where) for _, score in pairs)
    return Question(kind == "positive", tuple(texts), tuple(scores))


def _worth(question: Question, answer: str) -> float:
    index = parse_choice(answer, question.choices)
    return 0.0 if index is None else question.scores[index]


def parse_choice(answer: str, choices: Sequence[str]) -> int | None:
    """Index of the choice that a judge's answer means, by the first of these rules that finds one; None without one.

    It is the choice, its letter, or both as "a. choice"; only one choice is within it; it begins with a letter and
    '.'; of the choices within it, the one that begins last, of these the longest; of the choices that it is within, the
    longest; it begins with a letter on a line of its own. Neither case nor surrounding blanks matter. A letter beyond
    the choices is none.
    """
    said = answer.strip().lower()
    texts = [choice.strip().lower() for choice in choices]
    found = (rule(said, texts) for rule in _RULES) if said else ()
    return next((index for index in found if index is not None), None)


def _same(said: str, texts: Sequence[str]) -> int | None:
    spelt = (
        index
        for index, (letter, choice) in enumerate(zip(ascii_lowercase, texts, strict=False))
        if said in (choice, letter, f"{letter}. {choice}")
    )
    return next(spelt, None)


def _only_one_within(said: str, texts: Sequence[str]) -> int | None:
    within = _within(said, texts)
    return within[0] if len(within) == 1 else None


def _letter_and_stop(said: str, texts: Sequence[str]) -> int | None:
    return _letter(said, texts) if said[1:2] == "." else None


def _last_within(said: str, texts: Sequence[str]) -> int | None:
    return max(_within(said, texts), key=lambda index: (said.index(texts[index]), len(texts[index])), default=None)


def _longest_around(said: str, texts: Sequence[str]) -> int | None:
    around = [index for index, choice in enumerate(texts) if said in choice]
    return max(around, key=lambda index: len(texts[index]), default=None)


def _letter_alone(said: str, texts: Sequence[str]) -> int | None:
    return _letter(said, texts) if said[1:2] in ("", "\n") else None


def _within(said: str, texts: Sequence[str]) -> list[int]:
    return [index for index, choice in enumerate(texts) if choice in said]


def _letter(said: str, texts: Sequence[str]) -> int | None:
    index = ascii_lowercase.find(said[0])
    return index if 0 <= index < len(texts) else None


_RULES: tuple[Callable[[str, Sequence[str]], int | None], ...] = (
    _same,
    _only_one_within,
    _letter_and_stop,
    _last_within,
    _longest_around,
    _letter_alone,
)
