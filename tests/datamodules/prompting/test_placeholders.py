"""Region numbers in text."""

import pytest

from datamodules.errors import DataError
from datamodules.prompting.placeholders import PLACEHOLDER, check_mentions, mentions


def test_mentions_keeps_order_and_repetitions() -> None:
    assert mentions("<region2> left of <region0>, <region2> above; <region1 > is text", 3) == [2, 0, 2]
    assert mentions("no region", 0) == []


def test_a_bare_placeholder_is_the_only_region() -> None:
    assert mentions("What is <region>? And <region0>?", 1) == [0, 0]


@pytest.mark.parametrize(
    ("text", "regions", "message"),
    [
        ("<region>", 0, "q: <region> has no region, there are 0, counted from 0"),
        ("<region>", 2, "q: <region> needs a number, there are 2 regions"),
        ("<region0>", 0, "q: <region0> has no region, there are 0, counted from 0"),
        ("<region0> and <region3>", 3, "q: <region3> has no region, there are 3, counted from 0"),
        ("<region10>", 10, "q: <region10> has no region, there are 10, counted from 0"),
    ],
)
def test_a_mention_without_its_region_is_refused(text: str, regions: int, message: str) -> None:
    with pytest.raises(DataError) as error:
        check_mentions(text, regions, "q")
    assert str(error.value) == message


def test_numbers_of_any_length() -> None:
    assert mentions("<region0012>", 13) == [12]
    with pytest.raises(DataError, match="has no region"):
        mentions(f"<region{'9' * 5000}>", 3)


def test_split_alternates_text_and_digits() -> None:
    assert PLACEHOLDER.split("a <region1> b <region>") == ["a ", "1", " b ", "", ""]
