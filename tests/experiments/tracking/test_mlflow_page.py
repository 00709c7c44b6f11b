"""What a person sees in MLflow's page of a sweep, in a real browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from mlflow import MlflowClient
from mlflow_server import serving
from PIL import Image

import cli
from small_run import write_small

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

ROOT = Path(__file__).parents[3]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
SECONDS = 120


@pytest.fixture
def browser() -> Iterator[Chrome]:
    """Chromium or Chrome: that of the environment's REGION_BROWSER, else one on the PATH, which has its driver too."""
    pytest.importorskip("selenium")
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    program = os.environ.get("REGION_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("no Chromium or Chrome in REGION_BROWSER or on the PATH, or no chromedriver beside it")
    options = ChromeOptions()
    options.binary_location = program
    for option in ("headless=new", "disable-gpu", "window-size=1600,1000", "no-first-run", "disable-sync"):
        options.add_argument(f"--{option}")
    for option in ("background-networking", "component-update"):  # nothing from outside
        options.add_argument(f"--disable-{option}")
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # root has none
    opened = Chrome(options, ChromeService(driver))
    yield opened
    opened.quit()


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


def shown(browser: Chrome, path: str) -> WebElement:
    """The element, when it is there."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.expected_conditions import visibility_of_element_located
    from selenium.webdriver.support.wait import WebDriverWait

    found: WebElement = WebDriverWait(browser, SECONDS).until(visibility_of_element_located((By.XPATH, path)))
    return found


@pytest.mark.slow
def test_a_sweeps_parent_shows_its_children_and_the_plot(swept: Path, browser: Chrome, tmp_path: Path) -> None:
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
