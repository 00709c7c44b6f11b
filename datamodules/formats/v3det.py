"""V3Det: COCO instances of 13,204 classes, told by boxes alone.

::

    root/annotations/v3det_2023_v1_train.json    or _val, _train_ovd_base
    root/images/n07745046/7_12_3.jpg             one folder a class

A file is COCO's: images {id, file_name, width, height} with names like "images/n07745046/7_12_3.jpg", annotations
{id, image_id, category_id, bbox [x, y, width, height] in pixels} and categories {id, name, ...}. What categories say
besides (Chinese name, descriptions, an example, whether they are held back as novel) is not read. There are no masks.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from datamodules.formats.coco_instances import CocoInstances
from datamodules.reading.checks import check_sample
from datamodules.reading.records import located
from datamodules.types import RegionSample


class V3Det(CocoInstances):
    """Every object of a V3Det file, asked for its category; the answer is the class name in lower case.

    Args:
        root: Folder with `annotations` and `images`.
        split: Part of the data; `train_ovd_base` is train without the novel classes.
        annotations: The annotation file, if it lies elsewhere.
        question: What is asked; `<region>` is the object.
        balanced: Draw every class equally often in training instead of every object.
        min_area: Leave out objects whose box is smaller, in square pixels.
    """

    def __init__(
        self,
        root: Path,
        split: Literal["train", "val", "train_ovd_base"],
        *,
        annotations: Path | None = None,
        question: str = "What is the category of <region>?",
        balanced: bool = False,
        min_area: float = 0.0,
    ) -> None:
        file = Path(root, "annotations", f"v3det_2023_v1_{split}.json") if annotations is None else annotations
        super().__init__(file, root, prompt="box", question=question, balanced=balanced, min_area=min_area)
        self.split = split

    def __getitem__(self, index: int) -> RegionSample:
        sample = replace(super().__getitem__(index), protocol=f"V3Det v1 {self.split}, box")
        with located(sample.origin):
            check_sample(sample)
        return sample
