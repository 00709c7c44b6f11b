"""Steps within a token budget: every sample once, every rank as many passes, and lengths known before decoding."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from datamodules import VideoRegionDataModule
from datamodules.batching.batch import StepBatch
from datamodules.batching.collate import Collate
from datamodules.batching.dataset import RegionDataset
from datamodules.batching.processor import RegionProcessor
from datamodules.batching.sampling import SampleStream, TrainSampler
from datamodules.batching.token_budget import BudgetedSteps
from datamodules.errors import DataError
from datamodules.media.clips import most_frames
from datamodules.types import Frames, NoPicture, RegionSample, Video
from helpers import GRID, Listed, processor, sample, tiny_module

BUDGET, STEP = 170, 12
SAMPLES = tuple(sample("s" * number, answer="a" * (number % 5 + 1), frames=number % 4 + 1) for number in range(1, 37))


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> RegionProcessor:
    return processor(tiny_module(tmp_path_factory.mktemp("model")))


def epoch(process: RegionProcessor, ranks: int, packing: bool = False) -> list[list[StepBatch]]:
    """The micro-batches of every rank in every step of the second epoch."""
    source = Listed(*SAMPLES)
    data = RegionDataset({"train": source}, process)
    sampler = TrainSampler(SampleStream([source], [1.0], 0), len(SAMPLES))
    sampler.set_epoch(1)
    draws = list(sampler)
    steps = [draws[start : start + STEP] for start in range(0, len(draws), STEP)]
    readers = [BudgetedSteps(data, BUDGET, ranks, rank, packing) for rank in range(ranks)]
    groups = partial(Collate(process.vision).groups, packed=packing)
    return [[groups(reader.__getitems__(step)) for reader in readers] for step in steps]


@pytest.mark.parametrize(("ranks", "packing"), [(1, False), (2, False), (4, False), (1, True), (4, True)])
def test_an_epoch_has_every_sample_once_and_every_rank_as_many_passes(
    process: RegionProcessor, ranks: int, packing: bool
) -> None:
    seen = []
    for step in epoch(process, ranks, packing):
        assert len({len(of_rank) for of_rank in step}) == 1
        batches = [batch for of_rank in step for batch in of_rank]
        assert all(batch.input_ids.numel() <= BUDGET for batch in batches)
        assert not packing or all(batch.attention_mask.all() for batch in batches), "padding in a row"
        seen.append({one.id for batch in batches for one in batch.samples})
        assert len(seen[-1]) == sum(map(len, batches)) == STEP
    assert set().union(*seen) == {f"train/{one.id}" for one in SAMPLES}
    assert seen == [
        {one.id for of_rank in step for batch in of_rank for one in batch.samples} for step in epoch(process, 1)
    ]


def test_marks_do_not_depend_on_the_split(process: RegionProcessor) -> None:
    seeds = [
        {
            one.id: int(seed)
            for step in epoch(process, ranks)
            for of_rank in step
            for batch in of_rank
            for one, seed in zip(batch.samples, batch.mark_seeds, strict=True)
        }
        for ranks in (1, 4)
    ]
    assert seeds[0] == seeds[1] and len(seeds[0]) == len(SAMPLES)


@pytest.mark.parametrize("one", [*SAMPLES[:5], RegionSample("text", NoPicture(), (), sample().conversation[:0])])
def test_the_length_is_known_before_decoding(process: RegionProcessor, one: RegionSample) -> None:
    assert process.most_tokens(one) == len(process(one).rendered.ids)


@pytest.mark.parametrize(
    ("media", "frames"),
    [
        (Video(Path("nowhere.mp4")), 4),
        (Video(Path("nowhere.mp4"), (7, 9)), 2),
        (Frames((Path("nowhere.jpg"),)), 1),
        (Frames(tuple(map(Path, "abcdef"))), 4),
        (Frames(tuple(map(Path, "abcdef")), (1, 4)), 3),
        (NoPicture(), 0),
    ],
)
def test_frames_are_counted_without_a_file(media: Any, frames: int) -> None:
    assert most_frames(media, 4) == frames


def test_a_sample_longer_than_the_budget_is_an_error(process: RegionProcessor) -> None:
    source = Listed(sample("long", frames=4))
    length = process.most_tokens(source[0])
    assert length > 4 * GRID**2
    draws = list(SampleStream([source], [1.0], 0).draws(0, 1))
    data = RegionDataset({"train": source}, process)
    assert BudgetedSteps(data, length).__getitems__(draws)
    with pytest.raises(DataError, match=rf"'train/long': {length} tokens, but data.token_budget is {length - 1}"):
        BudgetedSteps(data, length - 1).__getitems__(draws)


def test_equal_parts_keep_the_order(process: RegionProcessor) -> None:
    parts = Collate(process.vision).in_parts([process(one) for one in SAMPLES[:6]], 2)
    assert [[one.id for one in part.samples] for part in parts] == [["s", "ss"], ["s" * 3, "s" * 4], ["s" * 5, "s" * 6]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"micro_batch_size": 3}, "micro_batch_size 3 does not divide batch_size 4"),
        ({"micro_batch_size": 0}, "micro_batch_size is 0; it has to be at least 1"),
        ({"micro_batch_size": 2, "token_budget": 99}, "micro_batch_size 2 and token_budget 99"),
        ({"packing": True}, r"data\.packing fills rows of data\.token_budget tokens, and that is not set"),
    ],
)
def test_splits_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        VideoRegionDataModule(batch_size=4, **options)
