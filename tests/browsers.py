"""A real browser for tests of pages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

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


def shown(browser: Chrome, path: str) -> WebElement:
    """The element, when it is there."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.expected_conditions import visibility_of_element_located
    from selenium.webdriver.support.wait import WebDriverWait

    found: WebElement = WebDriverWait(browser, SECONDS).until(visibility_of_element_located((By.XPATH, path)))
    return found
