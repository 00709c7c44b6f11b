"""The benchmark scripts run, and both ways that they compare come to the same scores."""

from __future__ import annotations

import pytest

from experiments.benchmarks import option_scoring


def test_option_scoring_compares_equal_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(option_scoring, "SIDE", 56)
    module = option_scoring.make_model(width=32, layers=2)
    together, apart = option_scoring.make_batches(module, option_scoring.OPTIONS)
    assert len(apart) == 5
    assert option_scoring.shared(module, together) == pytest.approx(option_scoring.in_full(module, apart), abs=1e-3)
    line = option_scoring.compare(module, 4, repeats=1)
    assert line.startswith("4 options, 32 visual tokens: in full takes ")
