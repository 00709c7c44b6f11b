from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from compared_runs import METRIC, answers, gathered, run, sharing

from datamodules.errors import DataError
from experiments.comparison.comparison import compare
from metrics import Prediction

Change = Callable[[list[Prediction]], list[Prediction]]


def refused(tmp_path: Path, change: Change, seed: int = 0, **options: str) -> str:
    one = run(tmp_path, "a", 0, answers("0110"))
    other = run(tmp_path, "b", seed, change(answers("0111")), **options)
    with pytest.raises(DataError) as caught:
        compare(gathered(one, other))
    return str(caught.value)


def of_first(**fields: object) -> Change:
    return lambda items: [replace(items[0], **fields), *items[1:]]  # type: ignore[arg-type]  # fields of a prediction


BOTH = f"{METRIC} of 'a-seed0' and 'b-seed0' cannot be compared: "


def test_another_split(tmp_path: Path) -> None:
    """As `validate` left it in this file before it had one of its own."""
    one, other = (run(tmp_path, name, 0, answers("0110")) for name in ("a", "b"))
    with pytest.raises(DataError, match=r"'a-seed0' and 'b-seed0' cannot be compared: split 'test' and 'val'$"):
        compare(gathered(one, replace(other, split="val")))


def test_another_kind_of_checkpoint(tmp_path: Path) -> None:
    message = refused(tmp_path, list, checkpoint="best/epoch=3-step=12.ckpt")
    assert message == f"{BOTH}checkpoint 'last.ckpt' and 'epoch=N-step=N.ckpt'"


def test_a_base_as_it_was_published_has_no_checkpoint(tmp_path: Path) -> None:
    """Nothing was chosen, so nothing differs; those that were trained are still held against each other."""
    base, last, best = (
        replace(run(tmp_path, name, 0, answers("0110")), checkpoint=checkpoint)
        for name, checkpoint in (("base", "none"), ("last", "last.ckpt"), ("best", "best.ckpt"))
    )
    assert len(compare(gathered(base, last))[0].rows) == len(compare(gathered(last, base))[0].rows) == 2
    with pytest.raises(DataError, match=r"'last-seed0' and 'best-seed0' cannot .* 'last.ckpt' and 'best.ckpt'$"):
        compare(gathered(base, last, best))


def test_another_number_of_samples(tmp_path: Path) -> None:
    assert refused(tmp_path, lambda items: items[:3]) == f"{BOTH}n 4 and 3"


def test_another_protocol(tmp_path: Path) -> None:
    rule = "exact match with any reference; case, whitespace and one trailing '.' ignored"
    message = refused(tmp_path, of_first(protocol="set B"))
    assert message == f'{BOTH}protocol "{rule}" and "{rule}; set B (1 of 4)"'


def test_seeds_of_one_setting_keep_their_protocol_where_settings_may_differ(tmp_path: Path) -> None:
    runs = [run(tmp_path, "a", seed, answers("01", protocol=f"set {seed}")) for seed in (0, 1)]
    with pytest.raises(DataError, match=r"'a-seed0' and 'a-seed1' cannot be compared: protocol .*set 0.* and .*set 1"):
        compare(replace(gathered(*runs), protocol_varies=True))


@pytest.mark.parametrize("seed", [0, 1])
def test_other_samples(tmp_path: Path, seed: int) -> None:
    message = refused(tmp_path, of_first(id="t0"), seed)
    assert message.endswith(f"'b-seed{seed}' cannot be compared: 4 and 4 samples, 's0' is only in 'a-seed0'")


def test_the_same_sample_with_another_answer(tmp_path: Path) -> None:
    message = refused(tmp_path, of_first(references=("a cow",)))
    assert message == f"{BOTH}sample 's0': references ('a cat',) and ('a cow',)"


@pytest.mark.parametrize("seed", [0, 1])
def test_samples_that_share_something_else(tmp_path: Path, seed: int) -> None:
    one = run(tmp_path, "a", 0, sharing(answers("0110"), "xxyy"))
    other = run(tmp_path, "b", seed, sharing(answers("0111"), "ppqp"))
    with pytest.raises(DataError) as caught:
        compare(gathered(one, other))
    message = f"'a-seed0' and 'b-seed{seed}' cannot be compared: sample 's3': cluster 'y' of 2 and 'p' of 3"
    assert str(caught.value) == f"{METRIC} of {message}"


def test_samples_may_be_drawn_anew_for_another_seed(tmp_path: Path) -> None:
    one = run(tmp_path, "a", 0, answers("0110"))
    other = run(tmp_path, "a", 1, of_first(references=("a cow",))(answers("0111")))
    (compared,) = compare(gathered(one, other))
    assert compared.rows[0].values == {0: 0.5, 1: 0.75}


def test_every_other_checkpoint_of_the_same_kind_is_fine(tmp_path: Path) -> None:
    runs = [
        run(tmp_path, name, 0, answers("01"), checkpoint=f"epoch=1-step={step}.ckpt")
        for name, step in (("a", 10), ("b", 7))
    ]
    assert compare(gathered(*runs))[0].checkpoint == "epoch=N-step=N.ckpt"


def test_a_metric_that_no_run_has(tmp_path: Path) -> None:
    one = run(tmp_path, "a", 0, answers("01"))
    with pytest.raises(DataError, match=r"metric map; its runs have answer/accuracy, answer/what/accuracy$"):
        compare(gathered(one), [METRIC, "map"])
    with pytest.raises(DataError, match="metric none given; its runs have"):
        compare(replace(gathered(one), metric=None))


def test_an_unknown_base(tmp_path: Path) -> None:
    runs = [run(tmp_path, name, 0, answers("01")) for name in ("a", "b")]
    with pytest.raises(DataError, match=r"made up has no setting 'c'; there are a \| b"):
        compare(gathered(*runs), base="c")
