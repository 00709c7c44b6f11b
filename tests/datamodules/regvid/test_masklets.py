from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from datamodules.errors import DataError
from datamodules.regvid.masklets import MEAN, STD, Sam2Masklets, fill_gaps
from datamodules.types import Box, Clip, Geometry, Mask, Polygon, Region

SIDE = 64
FRAMES = (3, 6, 9, 12)
CONFIG = {
    "image_size": SIDE,
    "vision_config": {
        "backbone_config": {
            "model_type": "sam2_hiera_det_model",
            "hidden_size": 8,
            "image_size": [SIDE, SIDE],
            "embed_dim_per_stage": [8, 16, 32, 64],
            "blocks_per_stage": [1, 1, 2, 1],
            "num_attention_heads_per_stage": [1, 1, 1, 1],
            "window_size_per_stage": [4, 2, 2, 2],
            "global_attention_blocks": [3],
        },
        "backbone_channel_list": [64, 32, 16, 8],
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        "fpn_hidden_size": 128,
    },
    "prompt_encoder_config": {"hidden_size": 128, "image_size": SIDE, "patch_size": 16},
    "mask_decoder_config": {
        "hidden_size": 128,
        "mlp_dim": 64,
        "num_attention_heads": 2,
        "iou_head_hidden_dim": 16,
    },
    "num_maskmem": 3,
    # transformers builds memories of 64 channels, and splits pointers only if they are wider
    "memory_encoder_output_channels": 64,
    "memory_encoder_hidden_size": 128,
    "memory_attention_hidden_size": 128,
    "memory_attention_num_layers": 1,
    "memory_attention_feed_forward_hidden_size": 64,
    "memory_attention_rope_feat_sizes": [4, 4],
    "memory_fuser_embed_dim": 128,
    "memory_fuser_intermediate_dim": 64,
    "mask_downsampler_embed_dim": 128,
}
"""SAM 2 with a million random weights."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import Sam2VideoConfig, Sam2VideoModel

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("sam")
    Sam2VideoModel(Sam2VideoConfig(**CONFIG)).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def sam(folder: Path) -> Sam2Masklets:
    return Sam2Masklets(str(folder), device="cpu")


def clip(height: int = 48, width: int = 96) -> Clip:
    rng = np.random.default_rng(0)
    return Clip(rng.integers(0, 256, (len(FRAMES), height, width, 3), dtype=np.uint8), FRAMES)


def decoded(mask: Geometry | None) -> NDArray[np.bool_]:
    assert isinstance(mask, Mask)
    pixels: NDArray[np.uint8] = coco_mask.decode({"size": list(mask.size), "counts": mask.counts})
    return pixels.astype(np.bool_)


def iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    return float((first & second).sum() / (first | second).sum())


# --- SAM 2 ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prompted", FRAMES)
def test_a_region_is_followed_over_all_frames(sam: Sam2Masklets, prompted: int) -> None:
    (found,) = sam(clip(), (Region.at(Box((10, 10, 50, 40)), frame=prompted),))
    assert sorted(found) == list(FRAMES)
    assert {mask.size for mask in found.values() if mask is not None} == {(48, 96)}


def test_a_mask_that_is_given_lies_where_it_was_given(sam: Sam2Masklets) -> None:
    triangle = Polygon(((20.0, 4, 90, 24, 20, 44),))
    (found,) = sam(clip(), (Region.at(triangle, frame=6),))
    expected = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects([list(triangle.rings[0])], 48, 96)))
    assert iou(decoded(found[6]), expected.astype(np.bool_)) > 0.85


def test_all_prompts_of_a_region_are_given(sam: Sam2Masklets) -> None:
    """What is drawn on two frames lies on both where it was drawn."""
    shapes = {6: (20.0, 4, 90, 24, 20, 44), 12: (4.0, 4, 60, 4, 4, 40)}
    (found,) = sam(clip(), (Region({frame: Polygon((ring,)) for frame, ring in shapes.items()}),))
    assert sorted(found) == list(FRAMES)
    for frame, ring in shapes.items():
        expected = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects([list(ring)], 48, 96)))
        assert iou(decoded(found[frame]), expected.astype(np.bool_)) > 0.85


def test_regions_are_followed_independently(sam: Sam2Masklets) -> None:
    regions = (
        Region.at(Box((10, 10, 50, 40)), 6),
        Region.at(Box((60, 5, 90, 30)), 12),
        Region.at(Polygon(((1.0, 1, 9, 1, 9, 9),)), 3),
    )
    together = sam(clip(), regions)
    assert together == tuple(sam(clip(), (region,))[0] for region in regions)
    assert together[::-1] == sam(clip(), regions[::-1])


def test_a_box_is_found_as_transformers_finds_it(sam: Sam2Masklets, folder: Path) -> None:
    """The streaming interface of the model, given square frames and the box's corners in its pixels by hand."""
    from transformers import Sam2VideoInferenceSession, Sam2VideoModel

    frames = clip(SIDE, SIDE)
    (found,) = sam(frames, (Region.at(Box((10, 20, 50, 60)), frame=FRAMES[0]),))
    model = Sam2VideoModel.from_pretrained(folder).eval()
    pixels = (torch.from_numpy(frames.pixels).permute(0, 3, 1, 2) / 255 - torch.tensor(MEAN).view(3, 1, 1)) / (
        torch.tensor(STD).view(3, 1, 1)
    )
    session = Sam2VideoInferenceSession(video=pixels, video_height=SIDE, video_width=SIDE, dtype=torch.float32)
    corners = {"point_coords": torch.tensor([[[[10.0, 20.0], [50.0, 60.0]]]]), "point_labels": torch.tensor([[[2, 3]]])}
    session.add_point_inputs(session.obj_id_to_idx(5), 0, corners)
    session.obj_with_new_inputs = [5]
    for time, frame in enumerate(FRAMES):
        logits = model(session, frame_idx=time).pred_masks
        expected = torch.nn.functional.interpolate(logits, (SIDE, SIDE), mode="bilinear")[0, 0] > 0
        assert iou(decoded(found[frame]), expected.numpy()) > 0.99


def test_a_box_is_given_in_the_models_own_pixels(sam: Sam2Masklets) -> None:
    """Frames of one grey are the same at any size, so that only the box can differ; every third row has its twin."""
    small, large = (Clip(np.full((4, *size, 3), 99, np.uint8), FRAMES) for size in ((64, 64), (192, 320)))
    (there,) = sam(small, (Region.at(Box((8, 16, 40, 60)), frame=3),))
    (here,) = sam(large, (Region.at(Box((40, 48, 200, 180)), frame=3),))
    for frame in FRAMES:
        assert iou(decoded(here[frame])[1::3, 2::5], decoded(there[frame])) > 0.99
    (other,) = sam(large, (Region.at(Box((8, 16, 40, 60)), frame=3),))
    assert iou(decoded(other[3])[1::3, 2::5], decoded(there[3])) < 0.9


def test_what_is_out_of_sight_has_no_mask(folder: Path, tmp_path: Path) -> None:
    from transformers import Sam2VideoModel

    model = Sam2VideoModel.from_pretrained(folder)
    torch.nn.init.constant_(model.mask_decoder.pred_obj_score_head.proj_out.bias, -1e4)
    model.save_pretrained(tmp_path)
    sam = Sam2Masklets(str(tmp_path), device="cpu")
    (found,) = sam(clip(), (Region.at(Polygon(((20.0, 4, 90, 24, 20, 44),)), frame=6),))
    assert {frame: mask is None for frame, mask in found.items()} == {3: True, 6: False, 9: True, 12: True}


def test_half_precision(folder: Path) -> None:
    (found,) = Sam2Masklets(str(folder), device="cpu", dtype="bfloat16")(clip(), (Region.at(Box((10, 10, 50, 40)), 6),))
    assert sorted(found) == list(FRAMES)


def test_an_image_has_one_frame(sam: Sam2Masklets) -> None:
    image = Clip(clip().pixels[:1], (0,))
    (found,) = sam(image, (Region.at(Box((10, 10, 50, 40))),))
    assert list(found) == [0]


def test_a_model_that_is_not_there_and_an_unknown_dtype(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"masklets: {tmp_path}: no SAM 2 to load"):
        Sam2Masklets(str(tmp_path))(clip(), (Region.at(Box((1, 1, 9, 9)), 3),))
    with pytest.raises(DataError, match="dtype 'float8' is neither"):
        Sam2Masklets(dtype="float8")


# --- gaps -------------------------------------------------------------------------------------------------------------


class Found:
    """Remembers what it is asked, and finds one mask everywhere."""

    mask = Mask((48, 96), b"found")
    options: Mapping[str, Any] = {}

    def __init__(self) -> None:
        self.asked: list[Region] = []

    def __call__(self, clip: Clip, regions: tuple[Region, ...]) -> tuple[Mapping[int, Mask | None], ...]:
        self.asked += regions
        return tuple(dict.fromkeys(clip.frames, self.mask) for _ in regions)


def test_only_what_is_not_known_is_filled() -> None:
    box = Box((1, 1, 9, 9))
    known = Region.at(box, 6, "cat", {3: box, 9: None, 12: box})
    partly = Region.at(box, 3, "dog", {9: None, 12: box, 40: box})
    masklets = Found()
    filled = fill_gaps(masklets, clip(), (known, partly))
    assert masklets.asked == [partly]
    assert filled == (known, Region.at(box, 3, "dog", {6: Found.mask, 9: None, 12: box, 40: box}))


def test_a_box_to_point_with_is_no_mask_among_masks() -> None:
    """The box of the prompted frame would be in the track beside masks of all others; it stays what is pointed with."""
    box = Box((1, 1, 9, 9))
    (filled,) = fill_gaps(Found(), clip(), (Region.at(box, 6, "cat", {9: None}),))
    assert filled == Region({6: box}, {3: Found.mask, 6: Found.mask, 9: None, 12: Found.mask}, "cat")
    (drawn,) = fill_gaps(Found(), clip(), (Region.at(Mask((48, 96), b"drawn"), 6),))
    assert drawn.track == dict.fromkeys(FRAMES, Found.mask) | drawn.prompts, "a mask was annotated"


def test_what_is_pointed_at_is_visible() -> None:
    class Lost(Found):
        mask = None  # type: ignore[assignment]  # finds nothing

    box = Box((1, 1, 9, 9))
    (filled,) = fill_gaps(Lost(), clip(), (Region.at(box, 6),))
    assert filled == Region.at(box, 6, track=dict.fromkeys((3, 9, 12)))
    (unknown,) = fill_gaps(Lost(), clip(), (Region({6: box}),))
    assert unknown == Region({6: box}, dict.fromkeys((3, 9, 12)))


def test_nobody_is_asked_where_all_is_known() -> None:
    masklets = Found()
    regions = (Region.at(Box((1, 1, 9, 9)), 3, track=dict.fromkeys(FRAMES[1:])),)
    assert fill_gaps(masklets, clip(), regions) == regions
    assert not masklets.asked
