"""DLC-Bench: objects of pictures, each to be described in detail; a judge answers questions from the description.

::

    annotations.json      COCO instances, a subset of Objects365
    images/               its pictures
    qa.json               {"<annotation>": [{"question", "choices": [[text, score], ...], "type": "positive" or
                          "negative"}, ...]}
    class_names.json      {"<annotation>": "bus"}

Both JSON objects are about every annotation of single objects, and about no other. What the judge needs goes along in
`meta`, so that predictions can be judged without these files.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from datamodules.errors import DataError
from datamodules.prompting.placeholders import check_mentions
from datamodules.reading.coco_index import CocoIndex
from datamodules.reading.fields import array, filled
from datamodules.reading.json_index import JsonIndex
from datamodules.reading.prompts import Prompt
from datamodules.reading.records import located
from datamodules.reading.shown import shown
from datamodules.source import RegionSource
from datamodules.types import Frames, RegionSample, Turn


class _Files(NamedTuple):
    """What the three annotation files hold."""

    coco: CocoIndex
    questions: JsonIndex
    names: JsonIndex


class DlcBench(RegionSource):
    """One description of every annotated object; images come in the order of their ids.

    Args:
        root: Folder with the files above.
        prompt: Show the segmentation, as the benchmark does, or the box.
        question: What is asked; `<region>` is the object.
    """

    def __init__(self, root: Path, *, prompt: Prompt = "mask", question: str = "Describe <region> in detail.") -> None:
        check_mentions(question, num_regions=1, where="question")
        self.root = Path(root)
        self.prompt = prompt
        self.question = question

    def __len__(self) -> int:
        return len(self._files.coco.annotations)

    def __getitem__(self, index: int) -> RegionSample:
        coco, questions, names = self._files
        name = str(coco.annotations["id"][index])
        regions = (coco.region(index, self.prompt),)
        with located(f"{questions.path}: {name!r}"):
            asked = array(questions.find(name), "questions")
        with located(f"{names.path}: {name!r}"):
            class_name = filled(names.find(name), "class name")
        return RegionSample(
            id=name,
            media=Frames((self.root / "images" / coco.image(index).file_name,)),
            regions=regions,
            conversation=(Turn(self.question),),
            task="judge",
            protocol=f"DLC-Bench, {shown(regions, self.prompt)}",
            meta={"annotation_id": int(name), "class_name": class_name, "questions": asked},
            origin=str(coco.path),
        )

    @cached_property
    def _files(self) -> _Files:
        files = _Files(
            CocoIndex.load(self.root / "annotations.json"),
            JsonIndex.build(self.root / "qa.json"),
            JsonIndex.build(self.root / "class_names.json"),
        )
        annotated = {str(name) for name in files.coco.annotations["id"].tolist()}
        for beside in (files.questions, files.names):
            counts = f"{beside.path} is about {len(beside)} objects, {files.coco.path} has {len(annotated)}"
            if odd := annotated ^ set(beside.names):
                raise DataError(f"{counts}: only one of them has {min(odd)!r}")
            if len(beside) > len(annotated):
                raise DataError(f"{counts}: one of them is there twice")
        return files
