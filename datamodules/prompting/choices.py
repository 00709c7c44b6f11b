"""Multiple choice: what the right answer is, and questions that list their options to be answered by a letter."""

from __future__ import annotations

import re
from dataclasses import replace
from string import ascii_uppercase

from datamodules.errors import DataError
from datamodules.prompting.placeholders import PLACEHOLDER
from datamodules.types import RegionSample, Turn

LETTER_REQUEST = "Answer with the option's letter from the given choices directly."
"""The words that peers' numbers were made with, from LLaVA-1.5 on."""


def right_answer(sample: RegionSample) -> str | None:
    """What the last turn of a multiple choice has to say: the right option, or its letter; None where it is unknown.

    Raises:
        DataError: The label is no option's, or no letter's.
    """
    label, options = sample.label, len(sample.options)
    if label is None:
        return None
    if not 0 <= label < options:
        raise DataError(f"label: {label} of {options} options, counted from 0")
    if sample.answering == "likelihood":
        return sample.options[label]
    if label >= len(ascii_uppercase):
        raise DataError(f"label: {label} of {options} options, there are {len(ascii_uppercase)} letters")
    return ascii_uppercase[label]


def answered(sample: RegionSample) -> RegionSample:
    """The sample with its right option as the answer to the last turn, where it has one.

    An answer that was left out is filled in. One that is there has to say the same, a region by any of its names, and
    so has one of the references.

    Raises:
        DataError: The answer is not what the label says; both are named.
    """
    right = right_answer(sample)
    if right is None or not sample.conversation:
        return sample
    *earlier, last = sample.conversation
    named = f"but label {sample.label} is {right!r}"
    if last.answer.strip() and _spelled(last.answer) != _spelled(right):
        raise DataError(f"conversation[{len(earlier)}].answer: {last.answer!r}, {named}")
    if last.references and _spelled(right) not in map(_spelled, last.references):
        raise DataError(f"references[{len(earlier)}]: {list(last.references)}, {named}")
    return replace(sample, conversation=(*earlier, replace(last, answer=right)))


def _spelled(text: str) -> str:
    """The text with each region by its number: `<region>` and `<region00>` are `<region0>`."""
    return PLACEHOLDER.sub(lambda mention: f"<region{mention[1].lstrip('0') or 0}>", text).strip()


def lettered(sample: RegionSample, layout: str = "{question}\n{options}\n" + LETTER_REQUEST) -> RegionSample:
    """The sample with its last question listing the options as `A. ...`, one a line, and the right letter as answer.

    Args:
        sample: With options.
        layout: How question and list are put together; has `{question}` and `{options}`.

    Raises:
        DataError: More options than letters.
    """
    if len(sample.options) > len(ascii_uppercase):
        raise sample.error(f"{len(sample.options)} options, there are {len(ascii_uppercase)} letters")
    listed = "\n".join(f"{letter}. {option}" for letter, option in zip(ascii_uppercase, sample.options, strict=False))
    last = sample.conversation[-1]
    texts = {"question": last.question, "options": listed}
    question = re.sub(r"{(question|options)}", lambda slot: texts[slot[1]], layout)
    answer = "" if sample.label is None else ascii_uppercase[sample.label]
    turn = Turn(question, answer, (answer,) if answer else ())
    return replace(sample, conversation=(*sample.conversation[:-1], turn), answering="letter")
