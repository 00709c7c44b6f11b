"""The page in a real browser: a video is dropped, a region drawn, a question asked, and a file that is none."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from lightning.fabric.plugins.environments.lightning import find_free_network_port

from browsers import browser, shown  # noqa: F401  # a fixture
from datamodules.shapes.encode import write_video
from helpers import tiny_module
from lightning_modules.checkpoints.description import DESCRIPTION

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

ROOT = Path(__file__).parents[3]


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Of a page that a process of its own serves."""
    pytest.importorskip("gradio")
    module = tiny_module(tmp_path)
    torch.save({"state_dict": module.state_dict(), DESCRIPTION: module.describe()}, tmp_path / "last.ckpt")
    port = find_free_network_port()
    command = [sys.executable, "cli.py", "demo", "--ckpt_path", str(tmp_path / "last.ckpt"), "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=os.environ) as served:
        assert served.stdout is not None
        yield served.stdout.readline().strip()
        served.terminate()


@pytest.mark.slow
def test_a_region_is_drawn_and_asked_about(address: str, browser: Chrome, tmp_path: Path) -> None:  # noqa: F811  # the fixture
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.wait import WebDriverWait

    write_video(tmp_path / "clip.mp4", np.random.default_rng(0).integers(0, 256, (6, 32, 48, 3), dtype=np.uint8))
    (tmp_path / "broken.mp4").write_bytes(b"no video at all")
    browser.get(address)
    shown(browser, "//*[@id='canvas']//button[@data-tool='box']")
    upload = "//*[@id='media']//input[@type='file']"
    browser.find_element(By.XPATH, upload).send_keys(str(tmp_path / "clip.mp4"))
    canvas = shown(browser, "//*[@id='canvas']//canvas")
    WebDriverWait(browser, 60).until(lambda _: abs(canvas.size["width"] - 1.5 * canvas.size["height"]) < 3)  # is drawn
    browser.execute_script(
        "arguments[0].scrollIntoView({block: 'center'})", canvas
    )  # its middle is that of what is seen
    # from the middle to a quarter of the way to a corner; offsets are from the middle
    width, height = canvas.size["width"], canvas.size["height"]
    drag = ActionChains(browser).move_to_element(canvas).click_and_hold()
    drag.move_to_element_with_offset(canvas, width // 4, height // 4).release().perform()
    shown(browser, "//*[@id='canvas']//button[@class='insert'][.='0']").click()
    question = browser.find_element(By.CSS_SELECTOR, "#question textarea")
    assert question.get_attribute("value") == "<region0>"
    question.send_keys(" is what")
    browser.find_element(By.ID, "ask").click()
    shown(browser, "//*[@id='chat']//span[.='[0]']")
    heat = shown(browser, "//*[@id='strip']//img")
    assert heat.size["width"] > 30
    browser.save_screenshot(str(tmp_path / "page.png"))
    shown(browser, "//*[.='The same elsewhere']").click()
    record = shown(browser, "//*[@id='record']//*[contains(@class, 'cm-content')]").text
    box = [float(number) for number in record.split('"box": [')[1].split("]")[0].split(",")]
    assert box == pytest.approx([24, 16, 36, 24], abs=1)

    browser.find_element(By.XPATH, "//*[@id='media']//button[@aria-label='Clear']").click()
    WebDriverWait(browser, 60).until(lambda at: at.find_elements(By.XPATH, upload))[0].send_keys(
        str(tmp_path / "broken.mp4")
    )
    assert "broken.mp4" in shown(browser, "//*[contains(@class, 'toast-body')]").text
