"""Rehearsal servers, and prompts like the pipeline's, that tests share."""

from __future__ import annotations

import base64
import io
import json
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import openai
from PIL import Image

import cli
from datamodules.regvid.completions import answer_in
from datamodules.regvid.models import Received
from datamodules.regvid.output import JOURNAL, REGIONS, SAMPLES
from datamodules.shapes.writer import write_shapes
from experiments.rehearsal.scenes import Scenes, Sight
from experiments.rehearsal.server import RehearsalServer
from experiments.rehearsal.truthful import TruthfulModels

ROOT = Path(__file__).parent.parent
VIDEO = "video-test-00001"
SCENES = 4
SHOWN_SIDE = 64
"""Pixels of the images in prompts: twice as many as a scene has."""


def shapes_folder(path: Path, scenes: int = SCENES) -> Path:
    """A small built-in data set."""
    write_shapes(path, seed=0, val_scenes=2, test_scenes=scenes, workers=1)
    return path


def region_lines(sight: Sight) -> list[str]:
    """As a prompt lists them: '[1] red triangle'."""
    figures = [sight.scene.figures[number] for number in sight.order]
    return [f"[{place}] {figure.name}" for place, figure in enumerate(figures, start=1)]


def describe_prompt(scenes: Scenes, video: str = VIDEO) -> str:
    return "\n".join([f"Video: {video}", *region_lines(scenes.find(video))])


def picture() -> str:
    file = io.BytesIO()
    Image.new("RGB", (SHOWN_SIDE, SHOWN_SIDE)).save(file, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def client(server: RehearsalServer, **options: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=server.base_url, api_key="any", **{"max_retries": 0, "timeout": 10, **options})


def say(
    server: RehearsalServer, role: str, text: str, images: int = 0, limit: int = 2000, **options: Any
) -> openai.types.chat.ChatCompletion:
    """One call through the real client."""
    parts: list[Any] = [{"type": "image_url", "image_url": {"url": picture()}} for _ in range(images)]
    messages: list[Any] = [
        {"role": "system", "content": "You look closely."},
        {"role": "user", "content": [*parts, {"type": "text", "text": text}] if images else text},
    ]
    with client(server, **options) as api:
        return api.chat.completions.create(model=f"rehearsal-{role}", messages=messages, max_tokens=limit)


def text_of(completion: openai.types.chat.ChatCompletion) -> str:
    said = completion.choices[0].message.content
    assert said is not None
    return said


def models(shapes: Path, **options: Any) -> TruthfulModels:
    return TruthfulModels(Scenes(shapes), **options)


# --- the whole pipeline -------------------------------------------------------------------------------------------


class Made(NamedTuple):
    """The files of a run, byte for byte."""

    samples: bytes
    regions: bytes


def options_of(url: str, to: Path, shapes: Path, *further: str) -> list[str]:
    """The command line of a run on the small set's test split, against a server."""
    source = {"root": str(shapes), "kind": "video", "split": "test", "val_scenes": 2, "test_scenes": SCENES}
    named = {"shapes": {"class_path": "datamodules.shapes.ShapesFiles", "init_args": source}}
    return [
        "regvid",
        f"--config={ROOT / 'experiments' / 'regvid' / 'shapes.yaml'}",
        f"--vars.server={url}",
        f"--regvid.to={to}",
        f"--data.train={json.dumps(named)}",
        f"--regvid.templates={ROOT / 'experiments' / 'regvid' / 'stand_ins'}",
        "--mark.side=64",
        "--regvid.patience.first_wait=0.01",
        *further,
    ]


def run(server: RehearsalServer, to: Path, shapes: Path, *further: str) -> Made:
    """One run in this process; what it wrote."""
    cli.main(options_of(server.base_url, to, shapes, *further))
    return made(to)


def made(folder: Path) -> Made:
    return Made((folder / SAMPLES).read_bytes(), (folder / REGIONS).read_bytes())


def journalled(folder: Path) -> Counter[tuple[str, str]]:
    """Model and text of every answer in the journal, and how often each is there."""
    answered = "calls JOIN responses ON responses.call = id JOIN charges ON charges.call = id WHERE failure IS NULL"
    with closing(sqlite3.connect(folder / JOURNAL)) as journal:
        bodies = journal.execute(f"SELECT model, body FROM {answered}").fetchall()
    return Counter((model, answer_in(Received(200, {}, body)).text) for model, body in bodies)


def sent(server: RehearsalServer) -> Counter[tuple[str, str]]:
    """The same of the answers that the server sent whole."""
    return Counter((exchange.model, exchange.text) for exchange in server.exchanges.sent())
