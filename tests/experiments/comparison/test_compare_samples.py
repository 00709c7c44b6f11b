from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from compared_runs import METRIC, answers, run, sharing

from datamodules.errors import DataError
from experiments.comparison.samples import judge
from metrics import Captioning, CausalVidQa, Evaluation, MultipleChoice, Prediction, Score, Vcr


def choice(name: str, right: bool, lengths: tuple[int, ...] = (), **meta: object) -> Prediction:
    scores = (-1.0, -2.0) if right else (-2.0, -1.0)
    return Prediction(name, "choice", "", "?", "", ("x",), ("x", "y"), 0, scores, lengths, meta=meta)


def test_accuracy_is_what_each_sample_got(tmp_path: Path) -> None:
    (other,) = answers("1", group="moves")
    made = run(tmp_path, "a", 0, [*answers("0110"), replace(other, id="x")])
    judged = judge(made, [METRIC, "answer/accuracy"])
    scores = judged[METRIC].scores
    assert scores is not None
    assert scores.added[:, 0].tolist() == [0, 1, 1, 0]
    assert list(judged[METRIC].asked) == ["s0", "s1", "s2", "s3"]
    overall = judged["answer/accuracy"].scores
    assert overall is not None
    assert overall.added[:, 0].tolist() == [0, 1, 1, 0, 1]
    assert "x" in judged["answer/accuracy"].asked


def test_predictions_are_of_as_many_samples_as_the_results(tmp_path: Path) -> None:
    """Predictions of another evaluation passed as those of the results where their value was the same by chance."""
    made = run(tmp_path, "a", 0, answers("0011"))
    (tmp_path / "a-seed0" / "predictions.jsonl").write_text("".join(f"{item.to_json()}\n" for item in answers("01")))
    with pytest.raises(DataError, match=r"a-seed0: predictions.jsonl has 2 samples of answer/what/accuracy, .* say 4"):
        judge(made, [METRIC])


def test_a_judges_number_is_not_split_into_samples(tmp_path: Path) -> None:
    """Its predictions were scored again by the metric of what is not judged yet, which knows no such number."""
    made = run(tmp_path, "a", 0, answers("0110", task="judge"))
    scores = {name: Score(0.5, 4, "by a judge") for name in ("judge/average", "judge/what/average", "judge/other/x")}
    judged = judge(replace(made, scores={**made.scores, **scores}), [*scores, "judge/answered"])
    assert [len(judged[name].asked) for name in scores] == [4, 4, 0]
    assert all(judged[name].reason == "predictions do not hold a judge's verdicts" for name in scores)
    assert judged["judge/answered"].scores is not None


def test_samples_are_in_the_order_of_their_ids_whatever_the_file_has(tmp_path: Path) -> None:
    made = run(tmp_path, "a", 0, answers("0111")[::-1])
    scores = judge(made, [METRIC])[METRIC].scores
    assert scores is not None
    assert scores.added[:, 0].tolist() == [0, 1, 1, 1]


def test_the_guide_head_is_a_ratio_over_tokens(tmp_path: Path) -> None:
    counts = [(3, 4), (0, 0), (1, 8)]
    metas = [{"guide_hits": hits, "guide_tokens": tokens} for hits, tokens in counts]
    made = run(tmp_path, "a", 0, [replace(item, meta=meta) for item, meta in zip(answers("111"), metas, strict=True)])
    judged = judge(made, ["guide/accuracy"])["guide/accuracy"]
    assert judged.scores is not None
    assert judged.scores.added[:, 1].tolist() == [4, 8]
    assert judged.scores.value == 4 / 12 == made.scores["guide/accuracy"].value
    assert list(judged.asked) == ["s0", "s2"]


def test_what_is_no_mean_has_no_scores_of_samples(tmp_path: Path) -> None:
    texts = [("yes", "yes"), ("no", "yes"), ("no", "no"), ("yes", "no"), ("no", "no")]
    asked = [Prediction(f"p{n}", "yes_no", "", "?", said, (truth,)) for n, (said, truth) in enumerate(texts)]
    judged = judge(run(tmp_path, "a", 0, asked), ["yes_no/accuracy", "yes_no/f1", "yes_no/yes_ratio"])
    accuracy, ratio = judged["yes_no/accuracy"].scores, judged["yes_no/yes_ratio"].scores
    assert accuracy is not None and accuracy.added[:, 0].tolist() == [1, 0, 1, 0, 1]
    assert ratio is not None and ratio.added[:, 0].tolist() == [1, 0, 0, 1, 0]
    assert (judged["yes_no/f1"].scores, judged["yes_no/f1"].reason) == (None, "no mean over samples")


def test_the_rule_is_that_of_the_configuration(tmp_path: Path) -> None:
    """Summed, the first option is likelier; per token, the second is."""
    configured = {
        "class_path": "metrics.Evaluation",
        "init_args": {
            "metrics": {
                "choice": {"class_path": "metrics.MultipleChoice", "init_args": {"rule": "likelihood_per_token"}}
            }
        },
    }
    evaluation = Evaluation({"choice": MultipleChoice("likelihood_per_token")})
    predictions = [choice("a", True, (1, 4)), choice("b", True, (1, 1))]
    made = run(tmp_path, "a", 0, predictions, evaluation=evaluation, configured=configured)
    scores = judge(made, ["choice/accuracy"])["choice/accuracy"].scores
    assert scores is not None
    assert scores.added[:, 0].tolist() == [0, 1]


def test_parts_of_an_item_stay_together(tmp_path: Path) -> None:
    configured = {
        "class_path": "metrics.Evaluation",
        "init_args": {"metrics": {"choice": {"class_path": "metrics.CausalVidQa"}}},
    }
    wrong = {("v1", "pr"), ("v2", "d")}
    parts = ("d", "e", "p", "pr", "c", "cr")
    predictions = [
        choice(f"{video}-{part}", (video, part) not in wrong, video=video, part=part)
        for video in ("v1", "v2", "v3")
        for part in parts
    ]
    evaluation = Evaluation({"choice": CausalVidQa()})
    made = run(tmp_path, "a", 0, predictions, evaluation=evaluation, configured=configured)
    judged = judge(made, ["choice/p_ar", "choice/all"])
    both, average = judged["choice/p_ar"].scores, judged["choice/all"].scores
    assert both is not None and both.added[:, 0].tolist() == [0, 1, 1]
    assert average is not None and np.allclose(average.added[:, 0], [0.75, 0.75, 1])


def test_parts_of_an_item_share_its_cluster(tmp_path: Path) -> None:
    configured = {
        "class_path": "metrics.Evaluation",
        "init_args": {"metrics": {"choice": {"class_path": "metrics.Vcr"}}},
    }
    clips = {"q1": "film", "q2": "film", "q3": "other"}
    predictions = [
        replace(choice(f"{name}-{part}", name != "q1", annot_id=name, part=part), cluster=clip)
        for name, clip in clips.items()
        for part in ("answer", "rationale")
    ]
    made = run(tmp_path, "a", 0, predictions, evaluation=Evaluation({"choice": Vcr()}), configured=configured)
    judged = judge(made, ["choice/q_ar"])["choice/q_ar"]
    assert judged.rows == ("q1-answer", "q2-answer", "q3-answer")
    assert [judged.clusters[row] for row in judged.rows] == ["film", "film", "other"]
    assert judged.scores is not None and judged.scores.added[:, 0].tolist() == [0, 1, 1]
    broken = [*predictions[:-1], replace(predictions[-1], cluster="film")]
    made = run(tmp_path, "b", 0, broken, evaluation=Evaluation({"choice": Vcr()}), configured=configured)
    with pytest.raises(DataError, match=r"'q3-rationale': cluster 'film' and 'other' of sample 'q3-answer', but both"):
        judge(made, ["choice/q_ar"])


def test_rows_are_named_by_their_samples(tmp_path: Path) -> None:
    """Those of sums as well, which come in the order of the predictions that are counted."""
    metas = [{"guide_hits": hits, "guide_tokens": tokens} for hits, tokens in ((3, 4), (0, 0), (1, 8))]
    tracked = [replace(item, meta=meta) for item, meta in zip(answers("110"), metas, strict=True)]
    (moving,) = answers("1", group="moves")
    made = run(tmp_path, "a", 0, sharing([*tracked[::-1], replace(moving, id="r")], "xy-x"))
    judged = judge(made, ["guide/accuracy", METRIC, "answer/accuracy"])
    assert judged["guide/accuracy"].rows == ("s0", "s2")
    assert judged["guide/accuracy"].clusters == {"s0": "s0", "s2": "x"}
    assert judged[METRIC].rows == ("s0", "s1", "s2")
    assert judged["answer/accuracy"].rows == ("r", "s0", "s1", "s2")


def test_captions_add_to_the_sums_of_their_score(tmp_path: Path) -> None:
    said = [replace(item, task="caption") for item in answers("1011")]
    evaluation = Evaluation({"caption": Captioning(["cider", "bleu"])})
    scores = {"class_path": "metrics.Captioning", "init_args": {"scores": ["cider", "bleu"]}}
    configured = {"class_path": "metrics.Evaluation", "init_args": {"metrics": {"caption": scores}}}
    made = run(tmp_path, "a", 0, said, evaluation=evaluation, configured=configured)
    judged = judge(made, ["caption/cider", "caption/bleu_1"])
    cider, bleu = judged["caption/cider"].scores, judged["caption/bleu_1"].scores
    assert cider is not None and cider.added.shape == (4, 2)
    assert bleu is not None and bleu.added[:, :4].tolist() == [[2, 1, 0, 0], [1, 0, 0, 0], [2, 1, 0, 0], [2, 1, 0, 0]]
    assert bleu.value == pytest.approx(7 / 8) == pytest.approx(made.scores["caption/bleu_1"].value)
    assert list(judged["caption/cider"].asked) == ["s0", "s1", "s2", "s3"]


def test_predictions_that_are_not_those_of_the_results_are_an_error(tmp_path: Path) -> None:
    made = run(tmp_path, "a", 0, answers("0111"))
    (tmp_path / "a-seed0" / "predictions.jsonl").write_text("".join(f"{item.to_json()}\n" for item in answers("0011")))
    with pytest.raises(DataError, match=r"a-seed0: predictions.jsonl gives answer/what/accuracy 0.5, .* say 0.75"):
        judge(made, [METRIC])


def test_a_run_without_predictions_says_so(tmp_path: Path) -> None:
    made = run(tmp_path, "a", 0, answers("01"))
    (tmp_path / "a-seed0" / "predictions.jsonl").unlink()
    judged = judge(made, [METRIC])[METRIC]
    assert (judged.scores, judged.reason) == (None, "a-seed0 kept no predictions.jsonl")
