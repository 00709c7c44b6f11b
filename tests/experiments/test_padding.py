"""The padding benchmark, at a small size: its shares are those of a count by hand, and the goals are met."""

from __future__ import annotations

import pytest

from experiments.benchmarks import padding


def test_shares_by_hand() -> None:
    """Passes of lengths (2, 4) and (3, 3), one a rank: 2 of 14 computed tokens are padding, and one rank waits for 2.

    In rows of 7 at most both have 6 tokens."""
    steps, split = [[2, 4, 3, 3]], [[[[0, 1]], [[2, 3]]]]
    assert padding.measure("x", steps, split) == ("x", pytest.approx(2 / 14), 2.0, 8, 12 / 16, 12 / 16)
    row = padding.measure("x", steps, split, budget=7, packed=True)
    assert row == ("x", 0, 2.0, 6, 1.0, pytest.approx(12 / 14))


def test_half_are_images_with_the_stated_text() -> None:
    lengths = padding.draw_lengths(4000, seed=1)
    images = lengths[lengths < padding.VIDEO]
    text = images - padding.IMAGE - padding.PROMPT
    assert len(images) == 2000
    assert sorted(text)[1000] == pytest.approx(padding.MEDIAN, rel=0.1)


def test_budgets_pad_less_than_a_twentieth_and_random_batches_more(capsys: pytest.CaptureFixture[str]) -> None:
    random, grouped, packed = padding.compare(256, 64, 2, budgets=[8192], sizes=[4], seed=0)
    assert random.padding > 0.2
    assert grouped.padding < 0.05
    assert packed.padding == 0
    assert random.used < grouped.used < packed.used
    assert max(grouped.largest, packed.largest) <= 8192
    padding.main(["--samples", "64", "--steps", "32", "--ranks", "2", "--budgets", "8192", "--sizes", "4"])
    printed = capsys.readouterr().out
    assert "32 samples a step on 2 ranks" in printed
    assert "token budget 8,192" in printed and "packed rows of 8,192" in printed
