"""What the stages came to, as files: region_jsonl to train on, and an account of every region.

Videos stand in the files in the order of their sources, whatever the order in which they were finished, and a file is
put in place of the old one when it is complete.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from datamodules.regvid.accounts import Account, Exchange
from datamodules.regvid.instruct import MENTION, mentioned
from datamodules.regvid.prompts import Prompts, Wording
from datamodules.types import Region, RegionSample, Task, Turn

SAMPLES = "samples.jsonl"
REGIONS = "regions.jsonl"
FUNNEL = "funnel.json"
JOURNAL = "journal.sqlite"
KEPT = "marked.sqlite"
FRAMES = "frames"

SHEET_COLUMNS, SHEET_GAP = 4, 6

_ONLY = "<region0>"


def samples_of(video: RegionSample, accounts: Sequence[Account], prompts: Prompts) -> Iterator[RegionSample]:
    """Of each verified region a detailed sample, a brief one and a conversation, as far as there are such.

    Args:
        video: Its regions in the order of their indices.
        accounts: What is known about them.
        prompts: For the wordings of the requests.
    """
    for account in accounts:
        name = f"{video.id}/{account.index}"
        alone = (video.regions[account.index - 1],)
        said: Mapping[Wording, str | None] = {"detailed": account.verified, "brief": account.summary}
        for kind, text in said.items():
            if text is not None:
                turn = Turn(prompts.request(kind, f"{name}/{kind}", _ONLY), text)
                yield _sample(video, f"{name}/{kind}", kind, alone, (turn,))
        if account.conversation:
            yield _conversation(video, f"{name}/conversation", account.conversation)


def _conversation(video: RegionSample, name: str, exchanges: Sequence[Exchange]) -> RegionSample:
    """The regions are those that the questions point at, in the order of their indices."""
    indices = sorted({index for exchange in exchanges for index in mentioned(exchange)})
    number = {index: place for place, index in enumerate(indices)}
    turns = tuple(
        Turn(MENTION.sub(lambda said: f"<region{number[int(said[1])]}>", exchange.question), exchange.answer)
        for exchange in exchanges
    )
    return _sample(video, name, "conversation", tuple(video.regions[index - 1] for index in indices), turns)


def _sample(
    video: RegionSample, name: str, group: str, regions: tuple[Region, ...], turns: tuple[Turn, ...]
) -> RegionSample:
    task: Task = "answer" if group == "conversation" else "caption"
    meta = {"video": video.id}
    return replace(video, id=name, regions=regions, conversation=turns, task=task, group=group, meta=meta)


class OrderedFile:
    """A file of JSON lines whose parts may come in any order; a context that puts it in place if all went well.

    Args:
        path: The file; its folder is there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # one name, so that a killed run leaves no more than one behind: the journal keeps other runs away
        self._partial = path.with_name(f".{path.name}.partial")
        self._early: dict[int, list[Mapping[str, Any]]] = {}
        self._next = 0

    def __enter__(self) -> Self:
        self._file = self._partial.open("w", encoding="utf-8")
        return self

    def put(self, place: int, records: Sequence[Mapping[str, Any]]) -> None:
        """Gives the records of part `place` = 0, 1, ...; they are written when all before them are."""
        self._early[place] = list(records)
        while self._next in self._early:
            self._file.writelines(f"{json.dumps(record)}\n" for record in self._early.pop(self._next))
            self._next += 1

    def __exit__(self, kind: type[BaseException] | None, *raised: object) -> None:
        self._file.close()
        if kind is None:
            assert not self._early, f"part {self._next} is missing"
            self._partial.replace(self.path)
        else:
            self._partial.unlink()


def write_sheet(frames: NDArray[np.uint8], path: Path) -> None:
    """Frames (T, H, W, 3) beside and below each other in one JPEG file, each in its own pixels."""
    from PIL import Image

    time, height, width, _ = frames.shape
    columns = min(time, SHEET_COLUMNS)
    rows = -(-time // columns)
    sheet = np.full((rows, height + SHEET_GAP, columns, width + SHEET_GAP, 3), 255, np.uint8)
    for number, frame in enumerate(frames):
        sheet[number // columns, :height, number % columns, :width] = frame
    path.parent.mkdir(exist_ok=True)
    whole = sheet.reshape(rows * (height + SHEET_GAP), columns * (width + SHEET_GAP), 3)
    partial = path.with_name(f".{path.name}")
    Image.fromarray(whole).save(partial, "jpeg", quality=90)
    partial.replace(path)
