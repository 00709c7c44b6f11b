"""Scores that come after a run has ended: into the MLflow run of its test, or one line why they cannot."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from datamodules.errors import DataError
from experiments.tracking.description import NOTE
from experiments.tracking.mlflow_runs import run_file
from experiments.tracking.mlflow_store import Store, store_address
from experiments.tracking.scores import log_to_test
from metrics import Score


def test_what_a_judge_says_later_is_in_the_run_of_the_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder, scores = tmp_path / "run", {"judge/average": Score(0.5, 9, "by a judge")}
    folder.mkdir()
    (folder / "results.json").write_text("{}")
    assert log_to_test(folder, scores, []) is None
    (folder / "config-test.yaml").write_text(yaml.safe_dump({"run": {"root": str(tmp_path), "tracking_uri": None}}))
    store = Store(store_address(tmp_path))
    client = store.client()
    run_id = client.create_run(store.experiment(client, "benchmark-x")).info.run_id
    (folder / run_file("test")).write_text(f"{run_id}\n")
    for _ in range(2):
        place = log_to_test(folder, scores, [folder / "results.json"])
    assert place is not None and f"/runs/{run_id} after " in place
    run = client.get_run(run_id)
    assert run.data.metrics == {"test/judge/average": 0.5}
    assert run.data.tags["protocol/test/judge/average"] == "n = 9: by a judge"
    assert run.data.tags[NOTE].count("by a judge; n = 9") == 1
    assert [file.path for file in client.list_artifacts(run_id)] == ["results.json"]
    client.delete_run(run_id)
    with pytest.raises(DataError, match=rf"mlflow_run-test names the MLflow run {run_id}, which sqlite:.* does not"):
        log_to_test(folder, scores, [])
