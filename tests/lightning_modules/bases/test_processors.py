"""LLaVA, Qwen-VL, Gemma and Molmo2: inputs and prompts as transformers' processors make them.

Video processors do not construct without torchvision: their parts are called one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from families import TINY, noise, seen
from smooth_frames import LEVEL, SIZES, smooth
from transformers import Gemma3Processor, Gemma4Processor, Molmo2Processor, Qwen2_5_VLProcessor, Qwen3VLProcessor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.gemma4 import image_processing_pil_gemma4
from transformers.models.molmo2.image_processing_molmo2 import Molmo2ImageProcessor, compute_crop_geometry
from transformers.models.molmo2.video_processing_molmo2 import Molmo2VideoProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize as image_canvas
from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor
from transformers.models.qwen3_vl.video_processing_qwen3_vl import smart_resize as video_canvas
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.video_utils import VideoMetadata

from datamodules.batching.visual_processor import Run, VisualProcessor, VisualPrompt
from datamodules.errors import DataError
from datamodules.types import Clip
from lightning_modules.bases.byte_tokenizer import byte_tokenizer
from lightning_modules.bases.gemma3 import Gemma3Vision
from lightning_modules.bases.gemma4 import Gemma4Vision
from lightning_modules.bases.llava import HALF, SquareVision
from lightning_modules.bases.molmo2 import MolmoVision
from lightning_modules.bases.qwen_vl import OLDER, QwenVision


def processed(process: Any, clip: Clip) -> dict[str, Any]:
    inputs: dict[str, Any] = process(list(clip.pixels), input_data_format="channels_last", return_tensors="pt")
    return inputs


def written(runs: Sequence[Run]) -> str:
    return "".join(run.text * run.count for run in runs)


def assert_close(ours: torch.Tensor, theirs: torch.Tensor, levels: float = 0.0) -> None:
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() < 1e-6 + levels * LEVEL


def assert_counted(process: VisualProcessor, prompt: VisualPrompt, clip: Clip) -> None:
    """What is known before decoding is enough for the prompt, each letter of its text a token."""
    size = clip.pixels.shape[1], clip.pixels.shape[2]
    length = sum(run.count * (1 if run.special else len(run.text)) for run in prompt.text)
    assert prompt.tokens < length <= process.prompt_tokens(len(clip.frames), size)


def settled(canvas: Callable[[tuple[int, int]], tuple[int, int]], size: tuple[int, int]) -> tuple[int, int]:
    """A size that is left as it is."""
    while canvas(size) != size:
        size = canvas(size)
    return size


def bare(kind: type, **attributes: Any) -> Any:
    """An instance that was never initialised: what it needs of a video processor that is not there is left out."""
    made = object.__new__(kind)
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


def expanded(processor: Any, text: str, images: Sequence[str] = (), videos: Sequence[str] = ()) -> str:
    found: str = processor.get_text_with_replacements([text], list(images), list(videos))[0][0]
    return found


def metadata(clip: Clip) -> VideoMetadata:
    return VideoMetadata(total_num_frames=clip.frames[-1] + 1, fps=clip.rate, frames_indices=list(clip.frames))


# --- LLaVA's form -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(32, 32), *SIZES], ids=str)
def test_squares_equal_those_of_clip_and_siglip(size: tuple[int, int]) -> None:
    clip = noise(*size) if size == (32, 32) else smooth(*size)
    levels = 0.0 if size == (32, 32) else 2.1
    square = {"height": 32, "width": 32}
    clips = CLIPImageProcessorPil(size=square, do_center_crop=False)
    assert_close(seen(SquareVision(32, 8), clip).inputs["pixel_values"], processed(clips, clip)["pixel_values"], levels)
    siglip = SquareVision(32, 8, image_mean=HALF, image_std=HALF)
    theirs = processed(SiglipImageProcessorPil(size=square), clip)["pixel_values"]
    assert_close(seen(siglip, clip).inputs["pixel_values"], theirs, levels)


# --- Qwen-VL ----------------------------------------------------------------------------------------------------------

QWEN = {
    "2.5": QwenVision(**{**OLDER, "patch_size": 14, "max_pixels": 28 * 28 * 12}),
    "3": QwenVision(patch_size=16, min_pixels=32 * 32, max_pixels=32 * 32 * 12),
}


@pytest.mark.parametrize("version", QWEN)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_qwen_images_equal_the_processors(version: str, size: tuple[int, int]) -> None:
    ours = QWEN[version]
    theirs = Qwen2VLImageProcessorPil(
        patch_size=ours.patch_size,
        min_pixels=ours.min_pixels,
        max_pixels=ours.max_pixels,
        image_mean=ours.image_mean,
        image_std=ours.image_std,
    )
    for clip, levels in ((smooth(*size), 4.1), (noise(*settled(partial(ours.canvas, 1), size)), 0.0)):
        prompt, inputs = seen(ours, clip), processed(theirs, clip)
        assert_close(prompt.inputs["pixel_values"], inputs["pixel_values"], levels)
        assert torch.equal(prompt.inputs["image_grid_thw"], inputs["image_grid_thw"])
        processor = bare(
            Qwen3VLProcessor, image_token="<|image_pad|>", image_processor=SimpleNamespace(merge_size=ours.merge_size)
        )
        text = expanded(processor, ours.placeholder, [processor.replace_image_token(inputs, 0)])
        assert written(prompt.text) == text
        assert_counted(ours, prompt, clip)


def test_qwen_canvases_equal_the_processors_at_every_size() -> None:
    rng = np.random.default_rng(0)
    sizes = [*rng.integers(1, 200, (150, 2)).tolist(), *rng.integers(200, 3000, (50, 2)).tolist()]
    for height, width in sizes:
        for ours in (QwenVision(), QwenVision(**{**OLDER, "patch_size": 14})):
            bounds = {"factor": ours.cell, "min_pixels": ours.min_pixels, "max_pixels": ours.max_pixels}
            theirs = image_canvas(height, width, **bounds)
            assert ours.canvas(1, (height, width)) == theirs, (height, width)
            bounds |= {"min_pixels": ours.min_video_pixels, "max_pixels": ours.max_video_pixels}
            for frames in (2, 3, 4, 5, 64):
                if ours.timestamps:
                    theirs = video_canvas(frames, height, width, **bounds)
                else:
                    theirs = image_canvas(height, width, **bounds)  # the same function, frame by frame
                assert ours.canvas(frames, (height, width)) == theirs, (frames, height, width)


@pytest.mark.parametrize("frames", [2, 3, 4])
@pytest.mark.parametrize("version", QWEN)
def test_qwen_videos_equal_the_processors(version: str, frames: int) -> None:
    ours = QWEN[version]
    clip = noise(*settled(partial(ours.canvas, frames), (90, 150)), frames)
    clip = Clip(clip.pixels, tuple(range(0, 35 * frames, 35)), rate=30.0)
    prompt = seen(ours, clip)
    assert prompt.views[0].placement.canvas == clip.pixels.shape[1:3]
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (ours.image_mean, ours.image_std))
    pixels = (torch.from_numpy(clip.pixels).permute(0, 3, 1, 2)[None] / 255 - mean) / std
    parts = {"patch_size": ours.patch_size, "merge_size": 2, "temporal_patch_size": 2}
    patches, *grid = Qwen3VLVideoProcessor.patchify(None, pixels, **parts)  # type: ignore[arg-type]  # reads nothing of itself
    assert_close(prompt.inputs["pixel_values_videos"], patches[0])
    assert prompt.inputs["video_grid_thw"].tolist() == [grid]
    kind = Qwen3VLProcessor if ours.timestamps else Qwen2_5_VLProcessor
    processor = bare(
        kind,
        video_token="<|video_pad|>",
        vision_start_token="<|vision_start|>",
        vision_end_token="<|vision_end|>",
        video_processor=SimpleNamespace(merge_size=2, temporal_patch_size=2),
    )
    inputs = {"video_grid_thw": torch.tensor([grid]), "video_metadata": [metadata(clip)]}
    text = "<|vision_start|><|video_pad|><|vision_end|>"
    assert written(prompt.text) == expanded(processor, text, videos=[processor.replace_video_token(inputs, 0)])
    assert_counted(ours, prompt, clip)
    if ours.timestamps:
        assert "second_per_grid_ts" not in prompt.inputs
    else:
        assert prompt.inputs["second_per_grid_ts"].tolist() == pytest.approx([2 * 35 / 30])


def test_a_frame_too_long_for_qwen_is_refused() -> None:
    with pytest.raises(DataError, match="a frame of 1 x 201 is over 200 times as long as it is narrow"):
        QwenVision()(noise(1, 201))


def test_bounds_of_images_and_of_videos_come_from_their_own_settings() -> None:
    base = TINY["qwen3_vl"].base()
    settings = {
        "size": {"shortest_edge": 65536, "longest_edge": 16777216},
        "video_processor": {"size": {"shortest_edge": 4096, "longest_edge": 25165824}},
    }
    read: Any = base.visual_processor(base.model.config, settings)
    assert (read.min_pixels, read.max_pixels) == (65536, 16777216)
    assert (read.min_video_pixels, read.max_video_pixels) == (4096, 25165824)
    told: Any = base.visual_processor(base.model.config, {**settings, "max_video_pixels": 5000, "max_pixels": 70000})
    assert (told.max_video_pixels, told.max_pixels) == (5000, 70000)


# --- Gemma 3 ----------------------------------------------------------------------------------------------------------


def tokenizer_of(**names: str) -> Any:
    """A token a byte, and special tokens by the names that processors call them."""
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": list(names.values())})
    for name, token in names.items():
        setattr(tokenizer, name, token)
        setattr(tokenizer, f"{name}_id", tokenizer.convert_tokens_to_ids(token))
    return tokenizer


@pytest.mark.parametrize("size", [(32, 32), *SIZES], ids=str)
@pytest.mark.parametrize("frames", [1, 3])
def test_gemma3_pictures_and_prompts_equal_the_processors(size: tuple[int, int], frames: int) -> None:
    ours = Gemma3Vision(side=32, cell=8)
    clip = noise(*size, frames) if size == (32, 32) else smooth(*size, frames, step=35)
    tokenizer = tokenizer_of(boi_token="<start_of_image>", image_token="<image_soft_token>", eoi_token="<end_of_image>")
    processor = Gemma3Processor(
        Gemma3ImageProcessorPil(size={"height": 32, "width": 32}), tokenizer, image_seq_length=16
    )
    theirs = processor(
        images=[list(clip.pixels)],
        text=[f"look{ours.placeholder * frames}so?"],
        input_data_format="channels_last",
        return_tensors="pt",
    )
    prompt = seen(ours, clip)
    assert_close(prompt.inputs["pixel_values"], theirs["pixel_values"], 0.0 if size == (32, 32) else 1.1)
    ids = tokenizer(f"look{written(prompt.text)}so?", return_tensors="pt").input_ids
    assert torch.equal(ids, theirs["input_ids"])
    types = (ids == tokenizer.image_token_id).int()
    assert torch.equal(types, theirs["token_type_ids"].int())
    assert_counted(ours, prompt, clip)


def test_gemma3_crops_are_refused() -> None:
    base = TINY["gemma3"].base()
    with pytest.raises(DataError, match="do_pan_and_scan is not supported"):
        base.visual_processor(base.model.config, {"do_pan_and_scan": True})


# --- Gemma 4 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_gemma4_images_equal_the_processors(size: tuple[int, int]) -> None:
    ours = Gemma4Vision(patch_size=4, pooling_kernel_size=2, max_soft_tokens=70)
    theirs = image_processing_pil_gemma4.Gemma4ImageProcessorPil(
        patch_size=4, pooling_kernel_size=2, max_soft_tokens=70
    )
    for clip, levels in ((smooth(*size), 1.1), (noise(*settled(partial(ours.canvas, most=70), size)), 0.0)):
        prompt, inputs = seen(ours, clip), processed(theirs, clip)
        assert_close(prompt.inputs["pixel_values"], inputs["pixel_values"].float(), levels)
        assert torch.equal(prompt.inputs["image_position_ids"], inputs["image_position_ids"])
        processor = bare(Gemma4Processor, boi_token="<|image>", image_token="<|image|>", eoi_token="<image|>")
        text = expanded(processor, ours.placeholder, [processor.replace_image_token(inputs, 0)])
        assert written(prompt.text) == text
        assert_counted(ours, prompt, clip)


def test_gemma4_canvases_equal_the_processors_at_every_size() -> None:
    rng = np.random.default_rng(0)
    ours = Gemma4Vision()
    refused = 0
    for height, width in [*rng.integers(1, 2000, (300, 2)).tolist(), [9, 3000], [3000, 9], [1, 300], [1, 1]]:
        for most in (1, 70, 280):
            try:
                theirs = image_processing_pil_gemma4.get_aspect_ratio_preserving_size(height, width, 16, 9 * most, 3)
            except ValueError:
                refused += 1
                with pytest.raises(DataError, match=f"a frame of {height} x {width} has no visual token"):
                    ours.canvas((height, width), most)
            else:
                assert ours.canvas((height, width), most) == theirs, (height, width, most)
    assert not refused


def test_gemma4_videos_equal_the_processors() -> None:
    ours = Gemma4Vision(patch_size=4, pooling_kernel_size=2, max_video_tokens=12)
    pixels = noise(16, 40, 3).pixels
    clip = Clip(pixels, (0, 1800, 3700), rate=30.0)  # into the second and the third minute
    prompt = seen(ours, clip)
    assert prompt.views[0].placement.canvas == (16, 40)
    for number in range(3):
        frame = image_processing_pil_gemma4.convert_image_to_patches(pixels[number].transpose(2, 0, 1) / 255, 4)
        assert_close(prompt.inputs["pixel_values_videos"][number, :40], torch.from_numpy(frame).float())
    assert not prompt.inputs["pixel_values_videos"][:, 40:].any()
    assert (prompt.inputs["video_position_ids"][:, 40:] == -1).all()
    assert (
        prompt.inputs["video_position_ids"][:, :12].tolist() == [[[x, y] for y in (0, 1) for x in range(10)][:12]] * 3
    )
    assert prompt.inputs["num_frames_per_video"].tolist() == [3]
    processor = bare(Gemma4Processor, boi_token="<|image>", video_token="<|video|>", eoi_token="<image|>")
    inputs = {"num_soft_tokens_per_video": [10], "video_metadata": [metadata(clip)]}
    text = processor.replace_video_token(inputs, 0)
    assert written(prompt.text) == text and " 01:00 <|image>" in text and " 02:03 <|image>" in text
    assert_counted(ours, prompt, clip)


# --- Molmo2 -----------------------------------------------------------------------------------------------------------

MOLMO = MolmoVision(side=28, patch_size=4, max_crops=6, overlap_margins=(2, 1))


def resize(image: torch.Tensor, size: Any, **options: Any) -> torch.Tensor:
    assert not options["antialias"]
    return F.interpolate(image, (size.height, size.width), mode="bilinear")


def rescale_and_normalize(image: torch.Tensor, *options: Any) -> torch.Tensor:
    return (image.float() / 255 - 0.5) / 0.5


def molmo_inputs(clips: Sequence[Clip]) -> dict[str, Any]:
    """transformers' image processor, with the two functions that it has from torchvision put in."""
    process = bare(Molmo2ImageProcessor, resize=resize, rescale_and_normalize=rescale_and_normalize)
    images = [torch.from_numpy(clip.pixels[0]).permute(2, 0, 1) for clip in clips]
    options = dict.fromkeys(("do_resize", "do_convert_rgb", "disable_grouping", "resample", "image_mean"))
    inputs: dict[str, Any] = process._preprocess(
        images,
        **options,
        image_std=None,
        do_rescale=True,
        rescale_factor=1 / 255,
        do_normalize=True,
        size=SimpleNamespace(height=28, width=28),
        max_crops=6,
        overlap_margins=[2, 1],
        patch_size=4,
        pooling_size=[2, 2],
        return_tensors="pt",
    )
    return inputs


def assert_same(ours: Mapping[str, torch.Tensor], theirs: Mapping[str, Any]) -> None:
    assert set(ours) == set(theirs)
    for name, value in ours.items():
        assert_close(value.float(), theirs[name].float())


@pytest.mark.parametrize("columns", [True, False])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_molmo2_images_equal_the_processors(size: tuple[int, int], columns: bool) -> None:
    ours = MolmoVision(
        side=28, patch_size=4, max_crops=6, overlap_margins=(2, 1), use_single_crop_col_tokens=columns or None
    )
    clip = noise(*size)
    prompt, theirs = seen(ours, clip), molmo_inputs([clip])
    assert_same(prompt.inputs, theirs)
    processor = bare(
        Molmo2Processor,
        image_token=ours.placeholder,
        image_use_col_tokens=True,
        use_single_crop_col_tokens=columns or None,
        use_single_crop_start_token=True,
    )
    assert written(prompt.text) == expanded(processor, ours.placeholder, [processor.replace_image_token(theirs, 0)])
    assert_counted(ours, prompt, clip)


def test_molmo2_batches_of_images_equal_the_processors() -> None:
    clips = [noise(*size) for size in SIZES]
    assert_same(MOLMO.model_inputs(MOLMO.collate([MOLMO(clip) for clip in clips])), molmo_inputs(clips))


def test_molmo2_crops_equal_the_processors_at_every_size() -> None:
    rng = np.random.default_rng(0)
    ours = MolmoVision()
    for height, width in [*rng.integers(1, 3000, (200, 2)).tolist(), [378, 378], [112, 112], [644, 910]]:
        rows, columns, *canvas = compute_crop_geometry(height, width, 8, [4, 4], 378, 14)
        assert ours.tiling((height, width)) == (rows, columns), (height, width)
        assert ours._canvas((rows, columns)) == tuple(canvas)


@pytest.mark.parametrize("size", [(28, 28), (40, 70)], ids=str)
def test_molmo2_videos_equal_the_processors(size: tuple[int, int]) -> None:
    clip = smooth(*size, 3, step=35)
    prompt = seen(MOLMO, clip)
    process = bare(Molmo2VideoProcessor, resize=resize, rescale_and_normalize=rescale_and_normalize)
    theirs = process._preprocess(
        [torch.from_numpy(clip.pixels).permute(0, 3, 1, 2)],
        size=SimpleNamespace(height=28, width=28),
        resample=None,
        do_rescale=True,
        rescale_factor=1 / 255,
        do_normalize=True,
        image_mean=None,
        image_std=None,
        patch_size=4,
        pooling_size=[3, 3],
        return_tensors="pt",
    )
    assert_same(prompt.inputs, theirs)
    processor = bare(
        Molmo2Processor, video_token="<|video|>", video_use_col_tokens=False, use_frame_special_tokens=True
    )
    inputs = {**theirs, "video_metadata": [metadata(clip)]}
    assert written(prompt.text) == expanded(processor, "<|video|>", videos=[processor.replace_video_token(inputs, 0)])
    assert_counted(MOLMO, prompt, clip)
