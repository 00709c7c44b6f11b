"""What stands above a run's numbers on MLflow's page."""

from __future__ import annotations

from experiments.tracking.description import MOST, described
from metrics import Score

SCORES = {"answer/accuracy": Score(0.5, 4, "exact"), "answer/a/accuracy": Score(1.0, 2, "exact")}


def test_every_protocol_stands_in_full_in_the_section_of_its_split() -> None:
    """MLflow's page cuts a tag after 30 characters, and the protocol was nothing but tags."""
    long = "a protocol of many words " * 40
    once = described("typed by hand\n", "test", {**SCORES, "b": Score(0.0, 4, "exact"), "c": Score(0.0, 1, long)})
    assert once == (
        "typed by hand\n\n## Protocols of test\n\n- `answer/accuracy`, `b`: exact; n = 4\n"
        f"- `answer/a/accuracy`: exact; n = 2\n- `c`: {long}; n = 1\n"
    )
    both = described(described(once, "val", SCORES), "test", SCORES)
    assert both.count("## Protocols of test") == both.count("## Protocols of val") == 1
    assert both.startswith("typed by hand\n\n## Protocols of val\n") and long not in both
    assert described(both, "test", SCORES) == both


def test_what_mlflow_would_cut_is_named_instead() -> None:
    many = {f"answer/{number}/accuracy": Score(0.5, number, "exact") for number in range(400)}
    assert described("", "test", many) == "## Protocols of test\n\nIn `results.json`.\n"
    assert described("x" * MOST, "test", SCORES) == "x" * MOST
