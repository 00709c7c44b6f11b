"""Verdicts in a judge's answers: strict about what they say, so that what cannot be read is asked for again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import ascii_uppercase

from datamodules.regvid.parsing import UnreadableError
from metrics.dlc_bench import parse_choice

_NUMBER = r"(\d{1,3}(?:\.\d+)?)"
_TRUTH = re.compile(r"\W*(true|false)\W*", re.I)
_SINGLE = re.compile(rf"{_NUMBER}\.?")
_PAIR = re.compile(rf"\W*{_NUMBER}(?:\s*[,;/]\s*|\s+){_NUMBER}\W*")


def choice(answer: str, choices: Sequence[str]) -> str:
    """The answer, if it means one of the choices by the rules of DLC-Bench, and says it or its letter.

    Those rules alone find `No` in "I cannot tell".
    """
    index = parse_choice(answer, choices)
    if index is None or not _says(answer, choices[index], ascii_uppercase[index]):
        raise UnreadableError(f"it is none of the choices {', '.join(choices)}")
    return answer


def _says(answer: str, text: str, letter: str) -> bool:
    words = re.escape(text.strip())
    return re.search(rf"(?<!\w){words}(?!\w)|\A{letter}(?:\W|\Z)", answer, re.I) is not None


def truth(answer: str) -> bool:
    """Whether the answer is True; it has to be that or False, and nothing else."""
    found = _TRUTH.fullmatch(answer)
    if found is None:
        raise UnreadableError("it is neither True nor False alone")
    return found[1].lower() == "true"


def share(answer: str) -> float:
    """A number from 0 to 1, and nothing else."""
    found = _SINGLE.fullmatch(answer)
    if found is None or float(found[1]) > 1:
        raise UnreadableError("it is no number from 0 to 1 alone")
    return float(found[1])


def pair(answer: str) -> list[float]:
    """Two numbers from 1 to 10 on the first line that has words, alone there; what follows may say why."""
    line = next((line for line in answer.splitlines() if line.strip()), "")
    found = _PAIR.fullmatch(line)
    numbers = [float(number) for number in found.groups()] if found else []
    if not numbers or not all(1 <= number <= 10 for number in numbers):
        raise UnreadableError("its first line is not two numbers from 1 to 10")
    return numbers


def named_numbers(answer: str, names: Sequence[str], most: float) -> list[float]:
    """A number from 0 to `most` behind each name, in the order of the names.

    One that stands there several times has to be the same.
    """
    numbers = []
    for name in names:
        said = {float(number) for number in re.findall(rf"{re.escape(name)}[^\w\n-]*{_NUMBER}", answer, re.I)}
        if len(said) != 1 or max(said) > most:
            raise UnreadableError(f"{name} has {len(said)} numbers, expected one from 0 to {most:g} behind it")
        numbers.append(said.pop())
    return numbers
