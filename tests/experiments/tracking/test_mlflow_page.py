"""What a person sees in MLflow's page of a sweep, in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from mlflow import MlflowClient
from mlflow_server import serving
from PIL import Image

import cli
from browsers import browser, shown  # noqa: F401  # a fixture
from small_run import write_small

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

ROOT = Path(__file__).parents[3]


@pytest.fixture
def swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of all runs after a sweep of two points and its comparison."""
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    sweep = {
        "base": ["experiments/quickstart.yaml", str(write_small(tmp_path))],
        "factors": {"model.region_encoder": ["TokenMark", "NoRegionEncoder"]},
        "seeds": [0],
        "metric": "answer/what/accuracy",
    }
    file = tmp_path / "pointing.yaml"
    file.write_text(yaml.safe_dump(sweep))
    cli.main(["sweep", str(file), "--root", str(tmp_path / "runs")])
    cli.main(["compare", "--sweep", "pointing", "--root", str(tmp_path / "runs")])
    return tmp_path / "runs"


@pytest.mark.slow
def test_a_sweeps_parent_shows_its_children_and_the_plot(
    swept: Path,
    browser: Chrome,  # noqa: F811  # the fixture
    tmp_path: Path,
) -> None:
    """In the list of runs, closed and opened, on the parent's page, and among its files."""
    client = MlflowClient(f"sqlite:///{swept / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("pointing")
    assert experiment is not None
    (parent,) = client.search_runs([experiment.experiment_id], "tags.`sweep.parent` = 'true'")
    children = [f"region_encoder={reference},seed=0" for reference in ("TokenMark", "NoRegionEncoder")]
    with serving(swept / "mlflow.db", swept / "artifacts") as address:
        runs = f"{address}/#/experiments/{experiment.experiment_id}/runs"
        browser.get(runs)
        cell = "//*[@role='gridcell'][.//a[.='pointing']]"
        shown(browser, f"{cell}//a")
        assert children[0] not in browser.page_source
        shown(browser, f"{cell}//button").click()
        for child in children:
            shown(browser, f"//*[@role='gridcell']//a[.='{child}']")
        browser.save_screenshot(str(tmp_path / "runs.png"))

        browser.get(f"{runs}/{parent.info.run_id}")
        for child in children:
            shown(browser, f"//a[starts-with(., '{child}')]")
        browser.save_screenshot(str(tmp_path / "parent.png"))

        browser.get(f"{runs}/{parent.info.run_id}/artifacts/comparison/plot.png")
        picture = shown(browser, "//img[@alt='comparison/plot.png']")
        width = browser.execute_script("return arguments[0].naturalWidth", picture)
        browser.save_screenshot(str(tmp_path / "plot.png"))
        assert width == Image.open(swept / "pointing" / "comparison" / "plot.png").width
