"""All tasks of an evaluation, gathered once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from datamodules.errors import DataError, nearest
from datamodules.types import RegionSample, Task
from metrics.accuracy import ExactMatch
from metrics.captioning import Captioning
from metrics.classification import RegionClassification
from metrics.guide import GuideTracking
from metrics.multiple_choice import MultipleChoice
from metrics.pope import Pope
from metrics.predictions import Prediction, PredictionMetric, Score
from metrics.referring import Referring
from metrics.unjudged import Unjudged


def _default_metrics() -> dict[Task, PredictionMetric]:
    return {
        "answer": ExactMatch(),
        "caption": Captioning(),
        "choice": MultipleChoice(),
        "refer": Referring(),
        "classify": RegionClassification(),
        "yes_no": Pope(),
        "judge": Unjudged(),
    }


class Evaluation(PredictionMetric):
    """Scores each prediction by the metric of its task; results are named `<task>/<name>`, the guide head's `guide/`.

    Args:
        metrics: Task -> the metric that scores it; a task may have a name of one's own. Left out: exact match for
            `answer`, METEOR and CIDEr for `caption`, the likeliest option or the generated letter for `choice` (`Vcr`
            or `CausalVidQa` score the parts of their questions), the exact region and its overlap for `refer`,
            accuracy and mAP for `classify`, POPE's counts for `yes_no`, the share with an answer for `judge`.
        only: Score by `metrics` alone: a sample of any other task is an error.

    Raises:
        DataError: Nothing could be scored.
    """

    def __init__(self, metrics: dict[Task, PredictionMetric] | None = None, only: bool = False) -> None:
        super().__init__()
        if only and not metrics:
            raise DataError("only: no metric is named, so that nothing could be scored")
        # Not submodules: only their rule of scoring is used, the one state is this metric's.
        self.metrics = {**({} if only else _default_metrics()), **(metrics or {})}

    def check_tasks(self, samples: Iterable[RegionSample | Prediction]) -> None:
        """Refuses samples that could not be scored, before anything is spent on them.

        Raises:
            DataError: The task of one has no metric.
        """
        for sample in samples:
            if sample.task not in self.metrics:
                near = nearest(sample.task, self.metrics)
                raise sample.error(f"no metric for task {sample.task!r}; there are {sorted(self.metrics)}{near}")

    def score(self, predictions: Sequence[Prediction]) -> dict[str, Score]:
        """The scores of every task that occurs, tasks in the order of `metrics`.

        Raises:
            DataError: A task has no metric, or its metric cannot score a prediction.
        """
        self.check_tasks(predictions)
        scores = {
            f"{task}/{name}": score
            for task, metric in self.metrics.items()
            if (part := [item for item in predictions if item.task == task])
            for name, score in metric.score(part).items()
        }
        # the guide head is watched on samples of any task
        return scores | {f"guide/{name}": score for name, score in GuideTracking().score(predictions).items()}
