"""Judges behind real HTTP, and answers for them to judge, that tests share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from datamodules.regvid.openai_model import OpenAIModel
from datamodules.source import RegionSource
from datamodules.types import RegionSample
from experiments.rehearsal.reading import Prompt
from experiments.rehearsal.server import RehearsalServer
from metrics.predictions import Prediction

JUDGE = "judge-of-tests"


class Scripted:
    """A model that a rehearsal server can serve: `script` says what it answers to a text."""

    names = (JUDGE,)

    def __init__(self, script: Callable[[str], str]) -> None:
        self.script = script
        self.asked: list[Prompt] = []

    def answer(self, model: str, prompt: Prompt) -> str:
        self.asked.append(prompt)
        return self.script(prompt.text)


@contextmanager
def served(script: Callable[[str], str]) -> Iterator[tuple[Scripted, str]]:
    """The model, and the address of its server."""
    model = Scripted(script)
    with RehearsalServer(model) as server:  # type: ignore[arg-type]  # it answers as the stand-ins do
        yield model, server.base_url


def judge_at(address: str, **options: Any) -> OpenAIModel:
    return OpenAIModel(JUDGE, base_url=address, api_key_env=None, image_format="png", **options)


def answers(sources: Mapping[str, RegionSource], says: Callable[[RegionSample], str]) -> list[Prediction]:
    """What `test` would leave if a model said that to each sample."""
    samples = [source[place].with_id_prefix(name) for name, source in sources.items() for place in range(len(source))]
    return [
        Prediction(
            id=sample.id,
            task=sample.task,
            group=sample.group,
            prompt="",
            prediction=says(sample),
            references=sample.conversation[-1].references or (sample.conversation[-1].answer,),
            protocol=sample.protocol,
            meta=dict(sample.meta),
        )
        for sample in samples
    ]


def save(path: Path, predictions: list[Prediction]) -> Path:
    path.write_text("".join(f"{prediction.to_json()}\n" for prediction in predictions))
    return path


def within(tag: str, text: str) -> str:
    """What stands between tags of a request."""
    [found] = re.findall(rf"<{tag}>\n(.*)\n</{tag}>", text, re.S)
    return str(found)


def dlc_says(sample: RegionSample) -> str:
    """By thirds: all of it, too little, and another thing; never the same twice, which would be asked about once."""
    colour, number = sample.meta["class_name"].split()[0], int(sample.id.rpartition("/")[2])
    return (f"A {colour} square", "A square", "A house")[(50 - number) % 3] + f" of {number} pixels."


def dlc_script(text: str) -> str:
    """Knows squares, reads the colour, and sees no wheels."""
    description = within("description", text)
    if "of the class" in text:
        return "Yes" if "square" in description else "B. No"
    if "wheels" in text:
        return "B"
    colours = re.findall(r"^([A-Z])\. (\w+)$", text, re.M)
    return next((f"{letter}." for letter, name in colours if name.lower() in description), "It is not said")
