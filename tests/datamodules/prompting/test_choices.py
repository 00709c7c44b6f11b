"""Multiple choice by letter, as the model reads it."""

from __future__ import annotations

import pytest

from datamodules.errors import DataError
from datamodules.prompting.choices import LETTER_REQUEST, lettered
from helpers import sample

ASKED = sample(
    question="Who sits on <region0>?",
    boxes=((0, 0, 8, 8), (8, 8, 16, 16)),
    options=("<region1>", "{question}"),
    label=1,
)


def test_the_question_lists_the_options_and_the_answer_is_a_letter() -> None:
    letters = lettered(ASKED)
    [turn] = letters.conversation
    assert turn.question == f"Who sits on <region0>?\nA. <region1>\nB. {{question}}\n{LETTER_REQUEST}"
    assert (turn.answer, turn.references) == ("B", ("B",))
    assert (letters.answering, letters.options, letters.label) == ("letter", ASKED.options, 1)


def test_another_layout_and_a_label_that_nobody_knows() -> None:
    unknown = lettered(sample(question="<region>", options=("x", "y")), "[{options}] {question}")
    assert unknown.conversation[-1].question == "[A. x\nB. y] <region>"
    assert unknown.conversation[-1].answer == ""


def test_there_are_26_letters() -> None:
    assert "\nZ. o\n" in lettered(sample(options=("o",) * 26, label=0)).conversation[-1].question
    with pytest.raises(DataError, match="27 options, there are 26 letters"):
        lettered(sample(options=("o",) * 27, label=0))
