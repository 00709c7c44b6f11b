"""Forms of answers that are read, and those that must not be."""

from __future__ import annotations

import json
import random
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamodules.regvid.parsing import UnreadableError, read_list, read_object, read_prose, seen

WANTED = {1: "A ball, it's red.", 2: None}

READ = {
    "json": '{"1": "A ball, it\'s red.", "2": null}',
    "fenced": 'Sure!\n```json\n{"1": "A ball, it\'s red.", "2": null}\n```\nAnything else?',
    "text around": 'Here {as asked} it is: {"1": "A ball, it\'s red.", "2": null} Hope it helps {:',
    "python": '{1: "A ball, it\'s red.", 2: None}',
    "python quotes": "{'1': 'A ball, it\\'s red.', '2': None,}",
    "python with null": "{'1': \"A ball, it's red.\", '2': null}",
    "index in brackets": '{"[1]": "A ball, it\'s red.", "Region 2": null}',
    "two objects": '{"1": "A ball, it\'s red."}\n{"2": null}',
    "thought": '<think>{"1": "no"}</think>{"1": "A ball, it\'s red.", "2": null}',
    "newline in a string": '{"1": "A ball,\nit\'s red.", "2": null}',
}


@pytest.mark.parametrize("form", READ)
def test_an_object_is_read_in_every_form(form: str) -> None:
    read = read_object(READ[form])
    assert {index: seen(value, "it") for index, value in read.items()} == WANTED


LINES = {
    "brackets": "[1]: A ball, it's red.\n[2]: null",
    "markdown": "Here you are:\n\n**[1]**: A ball,\n it's red.\n\n**[2]:** None",
    "list": "1. A ball, it's red.\n2. not visible\n\nThat is all.",
    "bullets": "- [1] - A ball, it's red.\n- [2] - N/A",
}


@pytest.mark.parametrize("form", LINES)
def test_lines_are_read(form: str) -> None:
    read = read_object(LINES[form])
    assert {index: seen(value, "it") for index, value in read.items()} == WANTED


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "I'm sorry, I can't help with that.",
        '{"1": "A ball", "2": "cut o',
        '{"1": "A ball", "1": "A box"}',
        '{"1": "a"}\n{"1": "b"}',
        '{"ball": "A ball"}',
        '{"1": "the "red" one"}',
        "[1] ball\n[2] box",
        "{" * 5000,
        "[1]: one\n[1]: two",
        "{1: __import__('os').getcwd()}",
    ],
)
def test_what_is_ambiguous_or_broken_is_not_guessed(answer: str) -> None:
    with pytest.raises(UnreadableError):
        read_object(answer)


ITEM = {"claim": "it is [red]", "question": "Is it red?"}


@pytest.mark.parametrize(
    "answer",
    [
        json.dumps([ITEM]),
        f"```\n{[ITEM]}\n```",
        f"The claims: {json.dumps([ITEM])} Done [1].",
        json.dumps({"claims": [ITEM]}),
        f"About [1]: {json.dumps([ITEM])}",
    ],
)
def test_a_list_is_read_in_every_form(answer: str) -> None:
    assert read_list(answer) == [ITEM]


@pytest.mark.parametrize(
    "answer",
    [json.dumps([ITEM, ITEM])[:-10], "none", json.dumps(ITEM), f"{json.dumps([ITEM])} {json.dumps([ITEM, ITEM])}", ""],
)
def test_a_list_that_may_lack_items_is_not_read(answer: str) -> None:
    with pytest.raises(UnreadableError):
        read_list(answer)


@pytest.mark.parametrize("answer", ['"A ball\nrolls."', "```\nA ball rolls.\n```", "<think>{}</think> A  ball rolls."])
def test_prose_is_put_on_one_line(answer: str) -> None:
    assert read_prose(answer) == "A ball rolls."


@pytest.mark.parametrize("answer", ["", '{"text": "A ball"}', "It is left of [2].", "See <region0>.", "```\n\n```"])
def test_what_is_no_prose_is_refused(answer: str) -> None:
    with pytest.raises(UnreadableError):
        read_prose(answer)


VALUES = st.dictionaries(st.integers(1, 99), st.text(alphabet="ab\"'{}[]:,\\\n 1", max_size=20), min_size=1, max_size=4)


@given(VALUES, st.booleans(), st.sampled_from(["", "Here: ", "So it's this:\n```json\n"]))
def test_every_literal_is_read_back(values: dict[int, Any], python: bool, before: str) -> None:
    """Whatever stands in the strings: brackets, quotation marks and backslashes of both notations."""
    text = repr(values) if python else json.dumps({str(index): value for index, value in values.items()})
    assert read_object(before + text) == values


@given(st.text(alphabet="ab\"'{}[]:,\\\n 12.null", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (read_object, read_list, read_prose):
        try:
            read(text)
        except UnreadableError:
            continue


PIECES = [
    "{",
    "}",
    "[",
    "]",
    "(",
    '"',
    "'",
    ":",
    ",",
    "\\",
    "\n",
    " ",
    "1",
    "a",
    "-",
    "[1]: ",
    "<region",
    "<think>",
    "region ",
]
PIECES += ["</think>", "```", "- ", "{a}", '{"1": "a"}', '{"', "{'", "\ud83d", "\0", "<|", "[1", "1. ", "\u2013", "**"]


def test_every_reader_takes_a_time_that_grows_as_the_text_does() -> None:
    """60,000 newlines took the square of that, and `{a}` 200,000 times never came to an end."""
    dice = random.Random(0)
    for number in range(24):
        parts = dice.choices(PIECES, k=1 if number < 8 else dice.randint(2, 4))
        took = []
        for length in (2_000, 20_000):
            text = dice.choice(["", "Here: ", '{"1": "']) + "".join(parts) * (length // len("".join(parts)))
            started = time.process_time()
            for reader in (read_object, read_list, read_prose):
                with suppress(UnreadableError):
                    reader(text)
            took.append(time.process_time() - started)
        # the square of ten times the length would be a hundred times as long
        assert took[1] < 30 * took[0] + 0.1, "".join(parts)


@pytest.mark.parametrize(
    ("answer", "left"),
    [
        ("I see a box. </think> A ball rolls.", "A ball rolls."),
        ("<think>a</think> no <think>b</think> A ball rolls.", "A ball rolls."),
        ("Hm. [/THINK] A ball rolls.", "A ball rolls."),
        ("Hm.</seed:think> A ball rolls.", "A ball rolls."),
        ("A ball\ud83d\0 rolls.\x1b", "A ball rolls."),
    ],
)
def test_what_is_no_part_of_the_answer_goes(answer: str, left: str) -> None:
    """With a closing tag alone, thoughts stood in 14 of 48 samples."""
    assert read_prose(answer) == left


@pytest.mark.parametrize("answer", ["<think> A ball rolls.", "A ball <thinking> rolls.", "A ball rolls.<|im_end|>"])
def test_thoughts_that_cannot_be_told_from_the_answer_are_no_answer(answer: str) -> None:
    with pytest.raises(UnreadableError, match="thoughts cannot be told"):
        read_prose(answer)


def test_an_answer_has_a_longest_length() -> None:
    with pytest.raises(UnreadableError, match="200001 characters, more than 200000"):
        read_prose("a" * 200_001)


@pytest.mark.parametrize("answer", ["A ball, region 1.", "Object #2 rolls.", "It is label 3."])
def test_a_region_that_is_named_by_a_number_is_no_prose(answer: str) -> None:
    with pytest.raises(UnreadableError, match="by its index"):
        read_prose(answer)


ODD = {
    "two braces": '{{"1": "a dog"}}',
    "a set": "The regions {[1], [2]} are here.",
    "digits": "1" * 5000,
    "a key of digits": '{"' + "1" * 5000 + '": "a dog"}',
    "lines": "Here:" + "\n" * 60_000 + "x",
    "braces": "{a}" * 60_000,
    "too many braces": "{a}" * 200_000,
    "thoughts": "<think>" * 20_000,
    "deep": "[" * 50_000,
    "deep and closed": "[" * 2000 + "]" * 2000,
    "a wide key": '{"' + " " * 50_000 + '": 1}',
    "signs": "-" * 100_000 + "1",
}


@pytest.mark.parametrize("form", ODD)
def test_an_odd_answer_is_unreadable_and_no_more(form: str) -> None:
    """All of these ended in another exception, or not at all."""
    started = time.process_time()
    for reader in (read_object, read_list):
        with pytest.raises(UnreadableError):
            reader(ODD[form])
    assert time.process_time() - started < 2
