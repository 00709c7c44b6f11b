"""What bases share in making inputs of frames, and batches of samples with and without a picture."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules.batching.batch import RegionBatch
from datamodules.batching.collate import Collate
from datamodules.batching.visual_processor import (
    Run,
    VisualProcessor,
    VisualPrompt,
    concatenated,
    configured,
    cut,
    fill_colour,
    most_tokens,
    normalise,
    resampling,
    side_of,
)
from datamodules.errors import DataError
from datamodules.regions.footprints import View
from datamodules.regions.placement import Placement, Resample
from datamodules.regions.region_weights import RegionWeights
from datamodules.types import Box, Clip, NoPicture, Region, RegionSample, Turn
from helpers import GRID, SIDE, processor, sample, tiny_module
from lightning_modules.region_module import RegionModule


def clip(frames: int) -> Clip:
    return Clip(np.zeros((frames, 4, 6, 3), np.uint8), tuple(range(frames)))


@dataclass(frozen=True, slots=True)
class Counting(VisualProcessor):
    """One visual token a frame, told apart as images and videos."""

    placeholder = "<image>"

    side: int = 8
    size: tuple[int, int] = (1, 2)
    resample: Resample = "bicubic"

    def image(self, clip: Clip) -> VisualPrompt:
        return self._prompt(clip, "image_values")

    def video(self, clip: Clip) -> VisualPrompt:
        return self._prompt(clip, "video_values")

    def prompt_tokens(self, frames: int, size: tuple[int, int]) -> int:
        return frames

    def _prompt(self, clip: Clip, name: str) -> VisualPrompt:
        count = len(clip.frames)
        placement = Placement.filling((4, 6), (4, 6))
        view = View.regular(placement, placement.canvas, [[time] for time in range(count)])
        return VisualPrompt({name: torch.full((count, 1), float(count))}, (Run("<image>", count),), (view,), count)


# --- a clip -----------------------------------------------------------------------------------------------------------


def test_one_frame_is_an_image_several_are_a_video_and_none_is_nothing() -> None:
    process = Counting()
    assert [list(process(clip(frames)).inputs) for frames in (1, 2, 0)] == [["image_values"], ["video_values"], []]
    nothing = process(clip(0))
    assert (nothing.text, nothing.views, nothing.tokens) == ((), (), 0)


def test_inputs_of_a_batch_stand_one_after_the_other_by_name() -> None:
    process = Counting()
    inputs = process.collate([process(clip(frames)) for frames in (1, 3, 1, 2)])
    assert inputs["image_values"].flatten().tolist() == [1, 1]
    assert inputs["video_values"].flatten().tolist() == [3, 3, 3, 2, 2]
    assert process.collate([]) == {}


def test_runs_are_counted_at_most() -> None:
    """A special token is one, text at most one a byte, and a space before it."""
    assert most_tokens([Run("<image>", 5), Run("<1.0 s>", special=False), Run("\u00e4\n", 2, special=False)]) == 20
    assert most_tokens([]) == 0


# --- settings ---------------------------------------------------------------------------------------------------------


def test_settings_stand_over_the_defaults_and_what_is_not_known_is_left() -> None:
    made = configured(Counting, {"side": 3, "size": [4, 5]}, {"side": 7, "size": None, "resample": 2, "rescale": True})
    assert made == Counting(side=7, size=(4, 5), resample="bilinear")
    assert configured(Counting, {}, {}) == Counting()
    assert pickle.loads(pickle.dumps(made)) == made


@pytest.mark.parametrize(("value", "name"), [(1, "lanczos"), (2, "bilinear"), (3, "bicubic"), ("bicubic", "bicubic")])
def test_resampling_by_number_and_by_name(value: object, name: Resample) -> None:
    assert resampling(value) == name


@pytest.mark.parametrize("value", [0, 5, "nearest"])
def test_another_resampling_is_refused(value: object) -> None:
    with pytest.raises(DataError, match=f"resample is {value!r}, but frames are resized by lanczos, bilinear, bicubic"):
        resampling(value)


@pytest.mark.parametrize(
    ("size", "side"),
    [
        ({"height": 336, "width": 336}, 336),
        ({"shortest_edge": 224}, 224),
        ({"longest_edge": 512}, 512),
        (384, 384),
        (None, None),
        ({"max_pixels": 9}, None),
        ({"shortest_edge": None, "longest_edge": 20}, 20),
    ],
)
def test_sides_however_they_are_written(size: dict[str, int] | int | None, side: int | None) -> None:
    assert side_of(size) == side


# --- pixels -----------------------------------------------------------------------------------------------------------


def test_frames_are_cut_into_tiles_in_raster_order() -> None:
    pixels = torch.arange(2 * 3 * 4 * 6).view(2, 3, 4, 6)
    tiles = cut(pixels, 2)
    assert tiles.shape == (12, 3, 2, 2)
    for number in range(12):
        frame, place = divmod(number, 6)
        row, column = divmod(place, 3)
        assert torch.equal(tiles[number], pixels[frame, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2])


def test_shorter_ones_are_filled_up_at_their_ends() -> None:
    joined = concatenated([torch.ones(1, 1, 2), torch.full((2, 3, 2), 2.0)], fill=-1)
    assert joined.tolist() == [[[1, 1], [-1, -1], [-1, -1]], [[2, 2]] * 3, [[2, 2]] * 3]


def test_the_colour_of_padding_is_zero_once_normalised() -> None:
    mean, std = (0.2, 0.5, 1.0), (0.1, 0.2, 0.5)
    assert fill_colour(mean) == (51, 128, 255)
    filled = torch.tensor(fill_colour(mean), dtype=torch.float32).view(1, 3, 1, 1)
    found, doubled = filled.clone(), filled.clone()
    normalise(found, mean, std)
    assert found.abs().max() < 0.51 / 255 / 0.2  # half a level
    normalise(doubled, (0.0, 0.0, 0.0), (0.5, 0.5, 0.5))
    assert doubled.flatten().tolist() == pytest.approx([0.4, 256 / 255, 2.0])


# --- a batch ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> RegionModule:
    return tiny_module(tmp_path_factory.mktemp("model")).eval()


def text(name: str = "text") -> RegionSample:
    return RegionSample(name, NoPicture(), (), (Turn("who?", "me"),))


def batch_of(module: RegionModule, *samples: RegionSample) -> RegionBatch:
    process = processor(module)
    return Collate(module.vision)([process(one) for one in samples])


def test_text_alone_has_no_visual_token_between_those_that_have(module: RegionModule) -> None:
    two = sample("v", boxes=((0, 0, 8, 8), (8, 8, 16, 16)), question="<region0> <region1>", frames=3)
    batch = batch_of(module, text(), sample("i"), text("more"), two)
    tokens = GRID**2
    assert batch.token_counts == (0, tokens, 0, 3 * tokens)
    assert batch.token_owner.tolist() == [1] * tokens + [3] * 3 * tokens
    assert batch.shows.tolist() == [[True, False, False]] * tokens + [
        [time == frame for frame in range(3)] for time in range(3) for _ in range(tokens)
    ]
    assert batch.mark_weights.shape == batch.guide_weights.shape == (4 * tokens, 2)
    assert not batch.mark_weights[:tokens, 1].any(), "the image has one region"
    assert batch.mark_weights[:tokens, 0].tolist() == batch.mark_weights[tokens : 2 * tokens, 0].tolist()
    assert batch.prompted.tolist() == [True] * 2 * tokens + [False] * 2 * tokens
    assert batch.region_counts.tolist() == [0, 1, 0, 2]
    assert batch.inputs["pixel_values"].shape == (4, 3, SIDE, SIDE)
    visual = batch.input_ids == module.backbone.model.config.image_token_id
    assert visual.sum(1).tolist() == list(batch.token_counts)
    assert [len(views) for views in batch.views] == [0, 1, 0, 1]
    assert batch.frames == ((), (0,), (), (0, 1, 2))


def test_text_alone_is_a_batch(module: RegionModule) -> None:
    """There is nothing to give the tower, and the logits are those of each sample alone."""
    batch = batch_of(module, text(), text("more"))
    assert batch.inputs == {} and batch.token_counts == (0, 0)
    assert batch.shows.shape == (0, 0) and batch.mark_weights.shape == (0, 0) and batch.guide_known.shape == (0,)
    assert batch.region_shape == (2, 0)
    with torch.no_grad():
        output = module.backbone(batch)
        alone = torch.cat([module.backbone(batch_of(module, one)).logits for one in (text(), text("more"))])
    torch.testing.assert_close(output.logits, alone)
    assert output.guide_logits is not None and len(output.guide_logits) == 0


def test_a_sample_is_the_same_beside_text(module: RegionModule) -> None:
    with torch.no_grad():
        alone = module.backbone(batch_of(module, sample("a"))).logits
        beside = module.backbone(batch_of(module, text(), sample("a"))).logits
    torch.testing.assert_close(beside[-len(alone) :], alone)


def test_parts_are_in_order_and_groups_as_they_are(module: RegionModule) -> None:
    process, collate = processor(module), Collate(module.vision)
    items = [process(one) for one in (sample("a"), text(), sample("b", frames=2), sample("c"), text("d"))]
    parts = collate.in_parts(items, 2)
    assert [[one.id for one in part.samples] for part in parts] == [["a", "text"], ["b", "c"], ["d"]]
    groups = collate.groups([items[3:], items[:1]])
    assert [[one.id for one in group.samples] for group in groups] == [["c", "d"], ["a"]]
    assert torch.equal(groups[1].inputs["pixel_values"], batch_of(module, sample("a")).inputs["pixel_values"])


def test_a_batch_moves_with_all_its_tensors(module: RegionModule) -> None:
    moved = batch_of(module, text(), sample("a")).to("meta")
    assert {tensor.device.type for tensor in moved.inputs.values()} == {"meta"}
    assert moved.token_owner.device.type == moved.shows.device.type == moved.prompted.device.type == "meta"
    assert {values.device.type for values in (*moved.places, moved.supervised, moved.marks)} == {"meta"}
    assert moved.views[1][0].tokens.shape == (1, GRID, GRID)


def test_tokens_without_a_cell_are_joined_with_those_that_have_one(module: RegionModule) -> None:
    """As of bases with newlines: columns are padded, the rows of samples stay apart."""
    process = processor(module)
    wide, narrow = process(sample("a", frames=2)), process(sample("b"))
    count = GRID**2 + 1
    unknown, unseen = np.zeros(count, np.bool_), np.zeros((count, 1), np.float32)
    weights = RegionWeights(unseen, unknown, unseen, unknown, unknown[:, None])
    newline = replace(narrow, visual=replace(narrow.visual, tokens=count), weights=weights)
    batch = Collate(module.vision)([newline, wide])
    assert batch.token_counts == (count, 2 * GRID**2)
    assert batch.shows.shape == (count + 2 * GRID**2, 2)
    assert not batch.shows[:count].any() and batch.shows[count:].any(1).all()


def test_what_is_known_does_not_begin_with_the_prompt_where_every_frame_sees_all(tmp_path: Path) -> None:
    """A base without causal attention says so to the processor."""
    module = tiny_module(tmp_path)
    box = Box((0, 0, 8, 8))
    late = replace(sample("a", frames=3), regions=(Region({2: box}, dict.fromkeys(range(3), box)),))
    known = []
    for causal in (True, False):
        module.backbone.base.causal = causal  # type: ignore[misc]  # of the family
        known.append(processor(module)(late).weights.known.reshape(3, -1).all(1).tolist())
    assert known == [[False, False, True], [True, True, True]]
