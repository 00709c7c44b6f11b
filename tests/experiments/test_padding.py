"""The padding benchmark, at a small size: its shares are those of a count by hand, and the goal is met."""

from __future__ import annotations

import pytest

from experiments.benchmarks import padding


def test_shares_by_hand() -> None:
    """Two passes of lengths (2, 4) and (3, 3): 2 of 14 computed tokens are padding."""
    row = padding.measure("x", [[2, 4, 3, 3]], [[[0, 1], [2, 3]]])
    assert row == ("x", pytest.approx(2 / 14), 2.0, 8)


def test_half_are_images_with_the_stated_text() -> None:
    lengths = padding.draw_lengths(4000, seed=1)
    images = lengths[lengths < padding.VIDEO]
    text = images - padding.IMAGE - padding.PROMPT
    assert len(images) == 2000
    assert sorted(text)[1000] == pytest.approx(padding.MEDIAN, rel=0.1)


def test_budgets_pad_less_than_a_twentieth_and_random_batches_more(capsys: pytest.CaptureFixture[str]) -> None:
    rows = padding.compare(256, 64, 2, budgets=[8192], sizes=[4], seed=0)
    assert rows[1].padding < 0.05
    assert rows[0].padding > 0.2
    assert rows[1].largest <= 8192
    padding.main(["--samples", "64", "--steps", "32", "--ranks", "2", "--budgets", "8192", "--sizes", "4"])
    printed = capsys.readouterr().out
    assert "32 samples a step on 2 ranks" in printed and "token budget 8,192" in printed
