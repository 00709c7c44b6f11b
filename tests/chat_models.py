"""Chat models in memory, and videos for them to talk about, that tests share."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datamodules.formats.region_jsonl import RegionJsonl
from datamodules.regvid.accounts import STAGES, Stage
from datamodules.regvid.budget import Budget, Limits, seen_in
from datamodules.regvid.completions import completion
from datamodules.regvid.journal import Journal
from datamodules.regvid.kept import Kept, Painted
from datamodules.regvid.mark import MarkedVideo
from datamodules.regvid.models import ROLES, ChatModel, ChatRequest, Models, Pictures, Received, Role, Usage
from datamodules.regvid.options import Options
from datamodules.regvid.patience import Patience
from datamodules.regvid.prompts import Prompts
from datamodules.regvid.questions import Questions
from datamodules.regvid.run import Result, Run
from datamodules.regvid.transport import Transport
from datamodules.regvid.verify import Checks
from datamodules.regvid.videos import Videos, gather
from datamodules.regvid.wanted import Wanted
from datamodules.types import Box, Region, RegionSample

Reply: TypeAlias = "str | Received | BaseException | None"
Script: TypeAlias = Callable[[Role, ChatRequest, int], Reply]

NAMING = Path(__file__).parent.parent / "experiments" / "regvid" / "stand_ins"
"""Templates that hold the video's name, by which tests know it."""

ANY = Wanted(least_words=1)
FAST = Patience(retries=2, first_wait=0.0, longest_wait=0.0)
LIE = "it wears a hat"

USUAL: dict[str, Any] = {
    "patience": FAST,
    "templates": NAMING,
    "wanted": ANY,
    "checks": Checks(instructions=False),
}
"""Options of a run on these models."""


class Fake(ChatModel):
    """Answers as told, else properly: `script` gets role, request and the number of the role's call, from 0."""

    def __init__(self, role: Role, script: Script | None = None, delay: float = 0.0, **fields: Any) -> None:
        self.model = f"fake-{role}"
        self.role = role
        self.script = script
        self.delay = delay
        self.asked: list[ChatRequest] = []
        for name, value in fields.items():
            setattr(self, name, value)

    def estimated_tokens(self, request: ChatRequest) -> int:
        return 100

    async def send(self, request: ChatRequest) -> Received:
        number = len(self.asked)
        self.asked.append(request)
        # other videos' calls come in between
        await asyncio.sleep(self.delay * ((number * 7) % 5))
        reply = self.script(self.role, request, number) if self.script is not None else None
        if isinstance(reply, BaseException):
            raise reply
        if isinstance(reply, Received):
            return reply
        return completion(properly(self.role, request.text) if reply is None else reply, 100, 10)


def properly(role: Role, text: str) -> str:
    """What a well-behaved model says; every description holds one lie."""
    regions = re.findall(r"^(?:Region: )?\[(\d+)\] (.+)$", text, re.M)
    if role == "describe":
        return json.dumps({index: f"A {noun} rolls, {LIE}, and it stops." for index, noun in regions})
    if role == "split":
        parts = re.split(r", (?:and )?", _described(text))
        return json.dumps([{"claim": part, "question": f"Is it true: {part}?"} for part in parts])
    if role == "judge":
        asked = re.findall(r"^(\d+)\. (.+)$", text, re.M)
        return json.dumps({number: "definitely no" if LIE in question else "unsure" for number, question in asked})
    if role == "rewrite":
        return _described(text).replace(", and", " and")
    talk = {
        index: {
            "summary": f"A {noun} rolls.",
            "conversation": [{"question": f"What of [{index}]?", "answer": "It rolls."}],
        }
        for index, noun in regions
    }
    return json.dumps(talk)


def _described(text: str) -> str:
    said: list[str] = re.findall(r"^<description>\n(.+)$", text, re.M)
    return said[0]


def models(script: Script | None = None, **fields: Any) -> tuple[Models, dict[Role, Fake]]:
    fakes: dict[Role, Fake] = {role: Fake(role, script, **fields) for role in ROLES}
    return Models(**{role: fakes[role] for role in ROLES}), fakes


def counts(fakes: dict[Role, Fake]) -> dict[str, int]:
    return {role: len(fake.asked) for role, fake in fakes.items()}


def write_videos(folder: Path, names: Sequence[str] = ("a", "b", "c"), nouns: Sequence[str] = ("ball", "box")) -> Path:
    """Clips of two frames, 20 x 24, with a region for each noun; every region in a record of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for clip, name in enumerate(names):
        for frame in range(2):
            picture = np.full((20, 24, 3), 10 * clip + frame, np.uint8)
            Image.fromarray(picture).save(folder / f"{name}{frame}.png")
        for number, noun in enumerate(nouns):
            x, y = 8 * (number % 3), 2 + number // 3 / 10
            region = {"box": [x, y, x + 6, y + 8], "category": noun}
            record = {
                "id": f"{name}-{number}",
                "frames": [f"{name}0.png", f"{name}1.png"],
                "regions": [region],
                "conversation": [{"question": "what is <region>", "answer": noun}],
            }
            lines.append(json.dumps(record))
    path = folder / "videos.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def videos(folder: Path, **options: Any) -> Videos:
    return gather({"s": RegionJsonl(write_videos(folder, **options))}, folder)


def samples_in(folder: Path) -> list[RegionSample]:
    """What a run has written, as the data modules read it."""
    source = RegionJsonl(folder / "samples.jsonl")
    return [source[index] for index in range(len(source))]


def plainly(video: RegionSample, kept: Kept | None = None) -> MarkedVideo:
    """A stand-in for marking: the frames tell videos apart, and nothing is drawn."""
    frames = np.full((2, 20, 24, 3), sum(video.id.encode()) % 251, np.uint8)
    nouns = tuple(str(region.category) for region in video.regions)
    painted = Painted(frames, frames + 1)
    return MarkedVideo(video.id, (0, 1), video.regions, nouns, (20, 24), (20, 24), _key(video.id), lambda: painted)


def _key(video: str) -> str:
    """A file is named after it."""
    return video.replace("/", "-")


def marked_video(*nouns: str, frame: int = 0, frames: int = 2) -> MarkedVideo:
    regions = tuple(
        Region.at(Box((8 * number, 2, 8 * number + 6, 10)), frame=frame, category=noun)
        for number, noun in enumerate(nouns)
    )
    pictures = np.arange(frames, dtype=np.uint8)[:, None, None, None] * np.ones((1, 20, 24, 3), np.uint8)
    painted = Painted(pictures, pictures + 100)
    return MarkedVideo("s/v", tuple(range(frames)), regions, nouns, (20, 24), (20, 24), _key("s/v"), lambda: painted)


def shown(*images: NDArray[np.uint8], name: str = "some") -> Pictures:
    """Pictures for a request."""
    return Pictures(name, tuple((image.shape[0], image.shape[1]) for image in images), lambda: images)


@contextmanager
def calling(folder: Path, models: Models, limits: Limits | None = None, **fields: Any) -> Iterator[Questions]:
    with Journal(folder / "journal.sqlite") as journal:
        budget = Budget(limits or Limits(), journal.spent(), seen_in(journal.counted()))
        transport = Transport(journal, budget, fields.pop("patience", FAST), most=8)
        yield Questions(models, Prompts.read(NAMING), transport, fields.pop("stages", STAGES))


def carry_out(folder: Path, models: Models, made: Videos, stages: Sequence[Stage] = STAGES, **options: Any) -> Result:
    """A run into `folder`, with marking left out."""
    chosen = Options(**{"to": folder, "models": models, **USUAL, **options})
    return Run(chosen, plainly, stages).carry_out(made, unwatched)


@contextmanager
def unwatched(calls: Transport, number: int) -> Iterator[Callable[[], None]]:
    yield lambda: None


def spent(tokens: int) -> Usage:
    return Usage(tokens, 0, 0.0)
