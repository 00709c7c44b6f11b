from __future__ import annotations

import pytest

from datamodules.regvid.parsing import UnreadableError
from datamodules.regvid.quotations import Description, check_mended

SAID = "A brown dog with a red collar runs across the grass. It wears a hat. In the end, it stops, near a tree."
CLAIMS = ["a brown dog", "with a red collar", "Runs  across the grass", "it wears a hat.", "it stops", "near a tree"]


def cut(*denied: str) -> tuple[str, str]:
    left = Description(SAID).without(denied, [claim for claim in CLAIMS if claim not in denied])
    assert len(left.words) == len(left.fixed)
    return left.text, left.whole


def test_words_are_quoted_whatever_their_case_and_the_signs_between_them() -> None:
    description = Description(SAID)
    assert len(description.words) == 23
    assert len(description.quoted(CLAIMS)) == 20
    assert description.quoted(["brown cat", "dog red", "rown dog", "", "..."]) == set()
    assert description.quoted(["a"]) == {0, 4, 13, 21}
    assert description.unquoted(CLAIMS[:3]) == ["It wears a hat.", "In the end, it stops, near a tree."]


def test_what_is_denied_is_cut_by_hand() -> None:
    first, second, third = "A brown dog with a red collar runs across the grass.", "It wears a hat.", SAID[69:]
    assert cut("with a red collar")[0] == f"A brown dog runs across the grass. {second} {third}"
    assert cut("it wears a hat.") == (f"{first} {third}",) * 2
    assert cut("it stops") == (f"{first} {second} In the end, near a tree.", f"{first} {second}")
    assert cut("it stops", "near a tree") == (f"{first} {second}",) * 2
    assert cut("a brown dog")[0] == f"With a red collar runs across the grass. {second} {third}"
    assert cut(*CLAIMS) == ("", "")


MENDED = {
    "A ball rolls and it stops.": "",
    "The ball is rolling, and then it stopped.": "",
    "Rolls, and it stops.": "",
    "A ball rolls.": "it leaves out 'stops'",
    "A ball rolls, it wears a hat, and it stops.": "it says 'wears'",
    "A ball does not roll and it stops.": "it says 'does'",
    "A balloon rolls and it stops.": "it says 'balloon'",
    "It stops and a ball rolls.": "it ",
}


@pytest.mark.parametrize("text", MENDED)
def test_a_text_is_mended_or_it_is_another_one(text: str) -> None:
    left = Description("A ball rolls, it wears a hat, and it stops.").without(["it wears a hat"], ["rolls", "it stops"])
    assert left.text == "A ball rolls, and it stops."
    if not MENDED[text]:
        check_mended(text, left)
        return
    with pytest.raises(UnreadableError, match=MENDED[text]):
        check_mended(text, left)
