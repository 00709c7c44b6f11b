"""RoI features by hand on a 4 x 4 grid."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from datamodules.types import Box, Region
from helpers import make_batch, sample, tiny_module
from lightning_modules.region_encoders.roi_feature import RoiFeature, RoiTokens

FIRST, SECOND = (0.0, 0.0, 8.0, 4.0), (6.0, 2.0, 12.0, 4.0)  # tokens 0 and 1; parts of tokens 1 and 2


def unprojected(tokens: RoiTokens = "average") -> RoiFeature:
    """Its linear layer changes nothing."""
    encoder = RoiFeature(tokens)
    encoder.build(3)
    with torch.no_grad():
        encoder.projection.weight.copy_(torch.eye(3))
        encoder.projection.bias.zero_()
    return encoder


def test_the_mean_of_the_tokens_under_a_region_by_its_share_of_each(tmp_path: Path) -> None:
    """Of token 1 an eighth belongs to both boxes: the first has 12 / 16 and half of 4 / 16, the second the other."""
    module = tiny_module(tmp_path, region_encoder=RoiFeature())
    batch = make_batch(module, sample(boxes=(FIRST, SECOND), question="<region0> and <region1>"))
    visual = torch.zeros(16, 3)
    visual[0], visual[1], visual[2] = torch.eye(3)
    visual[15] = 99
    made = unprojected()(batch, visual)
    expected = [[1 / 1.875, 0.875 / 1.875, 0.0], [0.0, 0.125 / 0.625, 0.5 / 0.625]]
    torch.testing.assert_close(made.text[0], torch.tensor(expected))
    assert made.visual is visual and made.marks is None


def test_only_the_prompted_frames_are_averaged(tmp_path: Path) -> None:
    """The region is known on all three frames and prompted on the first."""
    module = tiny_module(tmp_path, region_encoder=RoiFeature())
    batch = make_batch(module, sample(boxes=((4, 0, 8, 4),), frames=3), sample("bb", boxes=((0, 0, 4, 4),)))
    visual = torch.arange(4 * 16).view(-1, 1).expand(-1, 3).float()
    assert unprojected()(batch, visual).text[:, 0, 0].tolist() == [1.0, 48.0]
    # prompted on the third, too: both frames count, by the region's area on them
    batch.mark_weights[2 * 16 + 5, 0] = 0.5
    assert float(unprojected()(batch, visual).text[0, 0, 0]) == pytest.approx((1 + 0.5 * 37) / 1.5)


def test_a_placeholder_for_every_frame_on_which_the_region_is(tmp_path: Path) -> None:
    """The second of two regions moves, and is not there on the second of three frames."""
    module = tiny_module(tmp_path, region_encoder=RoiFeature("frame"))
    moving = sample(boxes=((0, 0, 4, 4), (4, 0, 8, 4)), question="<region1> or <region0>", frames=3)
    track = {1: None, 2: Box((12, 12, 16, 16))}
    moving = replace(moving, regions=(moving.regions[0], Region.at(moving.regions[1].prompts[0], track=track)))
    batch = make_batch(module, moving, sample("bb"))
    assert [region_text.slots for region_text in batch.region_texts[0]] == [(0, 1, 2), (3, 5)]
    assert batch.places.slots[batch.places.owner == 0].tolist() == [3, 5, 0, 1, 2]
    visual = torch.arange(4 * 16).view(-1, 1).expand(-1, 3).float()
    text = unprojected("frame")(batch, visual).text[..., 0]
    assert text[0, [0, 1, 2, 3, 5]].tolist() == [0.0, 16.0, 32.0, 1.0, 47.0]
    assert text[1, 0] == (48 + 49 + 52 + 53) / 4
    assert module.backbone(batch).logits.isfinite().all()


def test_a_placeholder_of_a_prompted_frame_shows_what_is_pointed_with(tmp_path: Path) -> None:
    """A box over two tokens, whether or not it is known that the region is in one of them; on the next it is known."""
    module = tiny_module(tmp_path, region_encoder=RoiFeature("frame"))
    later = {1: Box((8, 0, 12, 4))}
    for track in (later, later | {0: Box((4, 0, 8, 4))}):
        asked = replace(sample(frames=3), regions=(Region({0: Box((0, 0, 8, 4))}, track),))
        batch = make_batch(module, asked)
        assert batch.region_texts[0][0].slots == (0, 1)
        visual = torch.arange(3 * 16).view(-1, 1).expand(-1, 3).float()
        assert unprojected("frame")(batch, visual).text[0, :2, 0].tolist() == [0.5, 18.0]
