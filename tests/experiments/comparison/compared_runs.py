"""Runs to compare, made up: folders as a test leaves them, and sweeps in an MLflow store."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import yaml
from mlflow import MlflowClient

from experiments.comparison.runs import Gathered, Run, read_run
from metrics import Evaluation, Prediction
from metrics.table import results

METRIC = "answer/what/accuracy"
SEEDS = (0, 1, 2)


def answers(right: str, task: str = "answer", **fields: object) -> list[Prediction]:
    """A prediction a character: `1` is right, `0` is wrong."""
    made = Prediction("", "answer", "what", "what is it", "", ("a cat",))
    return [
        replace(made, id=f"s{number}", task=task, prediction="a cat" if mark == "1" else "a dog", **fields)  # type: ignore[arg-type]  # fields of a prediction
        for number, mark in enumerate(right)
    ]


def sharing(predictions: Sequence[Prediction], clusters: str) -> list[Prediction]:
    """The predictions with a cluster each, named by one character; `-` for none."""
    return [replace(item, cluster=name.replace("-", "")) for item, name in zip(predictions, clusters, strict=True)]


def write_run(
    folder: Path,
    predictions: Sequence[Prediction],
    evaluation: Evaluation | None = None,
    split: str = "test",
    checkpoint: str = "checkpoints/last.ckpt",
    seed: int = 0,
    configured: Mapping[str, object] | None = None,
) -> Path:
    """What a test of these predictions leaves."""
    folder.mkdir(parents=True, exist_ok=True)
    scores = (evaluation or Evaluation()).score(sorted(predictions, key=lambda prediction: prediction.id))
    of = "-validate" if split == "val" else ""
    (folder / f"results{of}.json").write_text(json.dumps(results(split, scores, checkpoint)))
    (folder / f"predictions{of}.jsonl").write_text("".join(f"{prediction.to_json()}\n" for prediction in predictions))
    configuration = {"seed_everything": seed, "model": {"init_args": {"evaluation": configured}}}
    (folder / "config.yaml").write_text(yaml.safe_dump(configuration))
    return folder


def run(folder: Path, setting: str, seed: int, predictions: Sequence[Prediction], **options: object) -> Run:
    name = f"{setting}-seed{seed}"
    return read_run(write_run(folder / name, predictions, **options), name, setting, seed)  # type: ignore[arg-type]  # passed on


def gathered(*runs: Run) -> Gathered:
    settings = tuple(dict.fromkeys(run.setting for run in runs))
    return Gathered("made up", settings, settings[0], runs, metric=METRIC)


def sweep_file(folder: Path, name: str, **changes: object) -> Path:
    base = folder / "base.yaml"
    base.write_text("trainer: {}\n")
    content = {
        "base": [str(base)],
        "factors": {"model.region_encoder": ["TokenMark", "NoRegionEncoder"]},
        "seeds": list(SEEDS),
        "metric": METRIC,
        **changes,
    }
    path = folder / "sweep.yaml"
    path.write_text(f"# {name}\n{yaml.safe_dump(content, sort_keys=False)}")
    return path


class TrackedSweep:
    """A sweep in MLflow, by the names and tags that a sweep gives it."""

    def __init__(self, client: MlflowClient, folder: Path, name: str, **changes: object) -> None:
        self.client, self.folder, self.name = client, folder, name
        self.experiment = client.create_experiment(name, str(folder / "artifacts" / name))
        tags = {"sweep": name, "sweep.parent": "true"}
        self.parent: str = client.create_run(self.experiment, run_name=name, tags=tags).info.run_id
        client.log_artifact(self.parent, str(sweep_file(folder, name, **changes)))

    def point(
        self,
        settings: Mapping[str, str],
        seed: int,
        predictions: Sequence[Prediction] = (),
        status: str = "FINISHED",
        costs: Mapping[str, float] | None = None,
    ) -> str:
        """The id of a point's run; without predictions it was never tested."""
        name = ",".join([*(f"{factor}={text}" for factor, text in settings.items()), f"seed={seed}"])
        tags = {
            "mlflow.parentRunId": self.parent,
            "mlflow.source.git.commit": "c0ffee",
            "sweep": self.name,
            "seed": str(seed),
            "point": name,
            **{f"factor/{factor}": text for factor, text in settings.items()},
        }
        run_id: str = self.client.create_run(self.experiment, run_name=name, tags=tags).info.run_id
        for key, value in (costs or {}).items():
            self.client.log_metric(run_id, f"cost/{key}", value)
        if predictions:
            for file in write_run(self.folder / "points" / self.name / name, predictions, seed=seed).iterdir():
                self.client.log_artifact(run_id, str(file))
        self.client.set_terminated(run_id, status)
        return run_id
