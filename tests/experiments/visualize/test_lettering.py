from __future__ import annotations

import warnings
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from rendering import rendered

from experiments.visualize.lettering import DPI, MONO, lines_of, readable, width_of, wrapped

WORDS = "Größe «что это?» Ελλάδα \U0001f600 x² ∑ $5 → ✓ עברית العربية"


def short(line: str) -> bool:
    return len(line) <= 10


def test_wrapping_by_hand() -> None:
    assert wrapped("one two three four", short) == ["one two", "three four"]
    assert wrapped("one\n\n  two", short) == ["one", "", "  two"]
    assert wrapped("a abcdefghijklmnopqrstuvwxyz z", short) == ["a", "abcdefghij", "klmnopqrst", "uvwxyz z"]
    assert wrapped("", short) == [""]
    assert wrapped("one two\u00a0three", short) == ["one", "two\u00a0three"]


@given(st.text(st.characters(exclude_categories=["Cc", "Zl", "Zp", "Cs"])))
def test_wrapping_loses_nothing_but_blanks(text: str) -> None:
    lines = wrapped(text, short)
    assert all(map(short, lines))
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_a_line_too_narrow_for_a_character_still_fills() -> None:
    assert wrapped("abc", lambda line: False) == ["a", "b", "c"]


@pytest.mark.parametrize("width", [1.0, 2.5, 6.4])
def test_lines_are_as_wide_as_they_are_drawn(width: float) -> None:
    """No line is drawn wider than it may be, and none has room for the next word."""
    text, font = readable(f"{WORDS} " * 5, 9.0)
    lines = lines_of(text, width, font)
    assert " ".join(lines).split() == text.split()
    figure = Figure((10, 1), DPI)
    drawn = [figure.text(0, 0, line, fontproperties=font, parse_math=False) for line in lines]
    rendered(figure)
    assert max(text.get_window_extent().width for text in drawn) <= width * DPI
    for line, following in pairwise(lines):
        assert width_of(f"{line} {following.split()[0]}", font) > width


def test_what_the_fonts_have_is_drawn_as_it_is() -> None:
    text, font = readable(WORDS, 9.0)
    assert text == WORDS
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of a character that is in none of its fonts
        width_of(text, font)


def test_characters_that_no_font_has_are_written_as_their_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.visualize.lettering._other_fonts", list)
    text, font = readable("a\u65e5\tb\x07\nc\ud800", 9.0)
    assert text == "a\\u65e5  b\\x07\nc\\ud800"
    assert font.get_family() == list(MONO)


def test_a_font_of_the_machine_fills_in(monkeypatch: pytest.MonkeyPatch) -> None:
    fonts = [("Useless", "a"), ("Kanji", "b"), ("Too late", "b")]
    monkeypatch.setattr("experiments.visualize.lettering._other_fonts", lambda: fonts)
    monkeypatch.setattr(
        "experiments.visualize.lettering._characters", {"a": frozenset("x"), "b": frozenset("\u65e5")}.get, raising=True
    )
    monkeypatch.setattr("experiments.visualize.lettering._path", lambda name: "a")
    text, font = readable("x\u65e5", 9.0)
    assert text == "x\u65e5"
    assert font.get_family() == [*MONO, "Kanji"]
