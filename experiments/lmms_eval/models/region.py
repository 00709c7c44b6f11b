"""`lmms-eval --model region`: a model of this framework, which is told of regions as it was when it learnt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from lmms_eval.api.instance import Instance
from lmms_eval.api.model import lmms
from PIL import Image
from tqdm import tqdm

from datamodules.batching.collate import Collate
from datamodules.errors import DataError, at_least
from datamodules.types import Media, NoPicture, Pixels, RegionSample, Turn
from experiments.lmms_eval.documents import Documents
from lightning_modules import load
from lightning_modules.asking import as_media
from lightning_modules.checkpoints.configuration import USUAL
from lightning_modules.class_spec import class_path
from lightning_modules.generation.decoding import generate
from lightning_modules.region_module import RegionModule


class RegionModel(lmms):
    """Answers tasks of ours about marked regions, and any other task of lmms-eval that asks for text about a picture.

    Several pictures of one size are the frames of a video, as for `serve`.

    Args:
        pretrained: A checkpoint, an exported folder, or `user/name` on the Hugging Face hub.
        batch_size: Samples at a time.
        device: Where it runs; a GPU if there is one. Of several processes each has its own.
        num_workers: Loader processes of our tasks; as many as the benchmark's configuration says if left out.
        num_frames: Most frames of a video in tasks that are not ours; four for a video module, if left out.
        max_batch_size: Of lmms-eval, not looked at: `batch_size` is a number here.

    Raises:
        DataError: There is no such model, or a number is out of range.
    """

    is_simple = True
    takes_regions = True

    def __init__(
        self,
        pretrained: str,
        batch_size: int | str = 1,
        device: str | None = None,
        num_workers: int | None = None,
        num_frames: int | None = None,
        max_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        if not str(batch_size).isdecimal():
            raise DataError(f"--batch_size {batch_size}: a number is needed")
        self.batch_size = int(batch_size)
        at_least(1, batch_size=self.batch_size, num_frames=num_frames)
        at_least(0, num_workers=num_workers)
        self.accelerator = Accelerator()
        self._rank, self._world_size = self.accelerator.process_index, self.accelerator.num_processes
        self.device = self.accelerator.device
        if device is not None and self._world_size == 1:
            self.device = torch.device(device)
        self.num_workers = num_workers
        self.module = load(pretrained).to(self.device)
        self.num_frames = self.module.default_num_frames if num_frames is None else num_frames

    @torch.no_grad()
    def generate_until(self, requests: Sequence[Instance]) -> list[str]:
        """The likeliest answers; to a task of ours a whole prediction, as a line of JSON.

        Raises:
            DataError: Something is to be sampled, or cannot be read.
        """
        answers: list[str] = []
        with tqdm(total=len(requests), disable=self.rank != 0, desc="answers") as bar:
            for (task, split), part in groupby(requests, lambda request: request.args[4:6]):
                documents = self.task_dict[task][split]
                answer = self._about_regions if isinstance(documents, Documents) else self._about_pictures
                for said in answer(documents, list(part)):
                    answers += said
                    bar.update(len(said))
        return answers

    def loglikelihood(self, requests: Sequence[Instance]) -> list[tuple[float, bool]]:
        """Not answered: tasks of ours have the likelihoods of options in the predictions."""
        raise NotImplementedError("likelihoods are scored within the tasks of this framework only")

    def generate_until_multi_round(self, requests: Sequence[Instance]) -> list[str]:
        """Not answered."""
        raise NotImplementedError("one question is answered, not several rounds")

    def _about_regions(self, documents: Documents, requests: Sequence[Instance]) -> Iterable[list[str]]:
        module, options = self._answering(documents.module), requests[0].args[1]
        module.max_new_tokens = _longest(options, module.max_new_tokens)
        if options.get("until"):
            raise DataError(
                f"generation until {options['until']!r}: a benchmark's answers end where the model ends them"
            )
        if self.num_workers is not None:
            documents.data.num_workers = self.num_workers
        for batch in documents.batches(module, [request.args[3] for request in requests], self.batch_size):
            yield [prediction.to_json() for prediction in module.answer(batch.to(self.device)).predictions]

    def _answering(self, table: RegionModule) -> RegionModule:
        """The module that `test` makes: one of our classes, as the benchmark has it, on these weights; or one's own."""
        if class_path(type(self.module)) not in USUAL:
            return self.module
        for part in ("backbone", "renderer", "vision"):
            setattr(table, part, getattr(self.module, part))
        return table.eval()

    def _about_pictures(self, documents: Sequence[Any], requests: Sequence[Instance]) -> Iterable[list[str]]:
        process = self.module.processor(self.num_frames)
        collate = Collate(process.vision)
        for start in range(0, len(requests), self.batch_size):
            part = requests[start : start + self.batch_size]
            samples = [_sample(documents[request.args[3]], request) for request in part]
            longest = _longest(part[0].args[1], self.module.max_new_tokens)
            batch = collate([process(sample) for sample in samples]).to(self.device)
            texts = generate(self.module.backbone, self.module.renderer, batch, longest)
            yield [_until(text, request.args[1]) for text, request in zip(texts, part, strict=True)]


def _sample(document: Any, request: Instance) -> RegionSample:
    """A question of somebody else's task, about nothing that is marked."""
    question, _, doc_to_visual, number, task, _ = request.args
    visuals = doc_to_visual(document) or []
    sample = RegionSample(f"{task}/{number}", NoPicture(), (), (Turn(question),))
    try:
        media = _media(visuals)
    except DataError as error:
        raise sample.error(str(error)) from None
    return RegionSample(sample.id, media, (), sample.conversation)


def _media(visuals: Sequence[Any]) -> Media:
    if not visuals:
        return NoPicture()
    if len(visuals) == 1:
        return as_media(visuals[0])
    if not all(isinstance(visual, Image.Image) for visual in visuals):
        raise DataError(f"{len(visuals)} visuals, of which not all are pictures")
    sizes = {visual.size for visual in visuals}
    if len(sizes) > 1:
        raise DataError(
            f"{len(visuals)} pictures of {len(sizes)} sizes: several are the frames of a video, of one size"
        )
    return Pixels(np.stack([np.asarray(visual.convert("RGB")) for visual in visuals]))


def _longest(options: Mapping[str, Any], usual: int) -> int:
    """Most tokens of an answer; what would be sampled is refused."""
    if options.get("do_sample") or options.get("temperature") or (options.get("num_beams") or 1) != 1:
        told = {name: options.get(name) for name in ("do_sample", "temperature", "num_beams")}
        raise DataError(f"generation {told}: answers are the likeliest text, token by token")
    return int(options.get("max_new_tokens") or usual)


def _until(text: str, options: Mapping[str, Any]) -> str:
    """The text before the first of the task's ends."""
    ends = options.get("until") or []
    for end in [ends] if isinstance(ends, str) else ends:
        text = text.partition(end)[0] if end else text
    return text.strip()
