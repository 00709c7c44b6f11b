"""Multiple choice by letter: the question lists the options, the answer is the letter of one."""

from __future__ import annotations

import re
from dataclasses import replace
from string import ascii_uppercase

from datamodules.types import RegionSample, Turn

LETTER_REQUEST = "Answer with the option's letter from the given choices directly."
"""The words that peers' numbers were made with, from LLaVA-1.5 on."""


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
