"""Bodies of requests, and a server of a tiny model in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from starlette.testclient import TestClient

from datamodules.regvid.openai_model import data_url
from experiments.serving.app import make_app
from experiments.serving.service import Service
from lightning_modules.region_module import RegionModule

PICTURE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
BOX = [1, 2, 9, 9]
SENT = data_url(PICTURE, "png")
QUESTION = "What is <region>?"


def image(url: str | None = None) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url or SENT}}


def regions(*regions: dict[str, Any]) -> dict[str, Any]:
    return {"type": "regions", "regions": list(regions)}


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def asking(*parts: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A request; about one box of one picture if no parts are given."""
    content = list(parts) or [image(), regions({"box": BOX}), text(QUESTION)]
    return {"model": "tiny", "messages": [{"role": "user", "content": content}], **fields}


@contextmanager
def served(module: RegionModule, **options: Any) -> Iterator[TestClient]:
    with TestClient(make_app(Service(module, "tiny", **options))) as client:
        yield client


def answer(client: TestClient, body: dict[str, Any]) -> str:
    response = client.post("/v1/chat/completions", json=body)
    assert response.status_code == 200, response.text
    content = response.json()["choices"][0]["message"]["content"]
    assert isinstance(content, str)
    return content


def error(client: TestClient, status: int, **sent: Any) -> dict[str, Any]:
    """The error that a request gets, which has OpenAI's form."""
    response = client.post("/v1/chat/completions", **sent)
    assert response.status_code == status, response.text
    assert "Traceback" not in response.text and 'File "' not in response.text
    body: dict[str, Any] = response.json()
    assert list(body) == ["error"]
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert "\n" not in body["error"]["message"]
    return dict(body["error"])
