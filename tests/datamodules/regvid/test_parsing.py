"""Forms of answers that are read, and those that must not be."""

from __future__ import annotations

import json
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
