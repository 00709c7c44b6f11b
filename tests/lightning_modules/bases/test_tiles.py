"""InternVL, SmolVLM and LLaVA-OneVision: inputs and prompts as transformers' processors make them; cells with gaps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from families import TINY, noise, seen
from numpy.typing import NDArray
from smooth_frames import LEVEL, SIZES, smooth
from torch import nn
from transformers import AutoConfig, InternVLProcessor, LlavaOnevisionConfig, LlavaOnevisionProcessor
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import LlavaOnevisionImageProcessorPil
from transformers.models.smolvlm import processing_smolvlm
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

from datamodules.batching.visual_processor import Run, VisualPrompt, most_tokens
from datamodules.errors import DataError
from datamodules.regions.footprints import View, between, check, resampled, tiles
from datamodules.regions.placement import Placement
from datamodules.types import Clip
from lightning_modules.bases.internvl import InternVL, TileVision
from lightning_modules.bases.llava_onevision import LlavaOnevision, OneVision
from lightning_modules.bases.loading import BaseModel, load_visual_processor
from lightning_modules.bases.smolvlm import SmolVLM, SplitVision, in_words, longest


def written(runs: Sequence[Run]) -> str:
    return "".join(run.text * run.count for run in runs)


def assert_close(ours: torch.Tensor, theirs: torch.Tensor, levels: float) -> None:
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() < 1e-6 + levels * LEVEL
    assert (ours - theirs).abs().mean() < 1e-6 + 0.2 * levels * LEVEL


# --- InternVL -------------------------------------------------------------------------------------------------------


def their_tiles(clip: Clip, side: int, most: int = 12) -> dict[str, torch.Tensor]:
    process = GotOcr2ImageProcessorPil(
        size={"height": side, "width": side}, max_patches=most, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    inputs: dict[str, torch.Tensor] = process(
        list(clip.pixels), crop_to_patches=True, input_data_format="channels_last", return_tensors="pt"
    )
    return inputs


INTERNVL = TileVision(side=16, cell=8, image_mean=(0.5,) * 3, image_std=(0.5,) * 3)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_internvl_images_equal_the_processors(size: tuple[int, int]) -> None:
    clip = smooth(*size)
    prompt, theirs = seen(INTERNVL, clip), their_tiles(clip, 16)
    assert_close(prompt.inputs["pixel_values"], theirs["pixel_values"], 1.1)
    names = SimpleNamespace(
        image_seq_length=4, image_token="<IMG_CONTEXT>", start_image_token="<img>", end_image_token="</img>"
    )
    assert written(prompt.text) == InternVLProcessor.replace_image_token(names, theirs, 0)
    assert most_tokens(prompt.text) == INTERNVL.prompt_tokens(1, size) == prompt.tokens + 2


def test_internvl_tiles_that_need_no_resizing_are_exact() -> None:
    clip = noise(48, 32)
    ours, theirs = seen(INTERNVL, clip).inputs["pixel_values"], their_tiles(clip, 16)["pixel_values"]
    assert len(ours) == 7
    assert_close(ours[:-1], theirs[:-1], 0)


@pytest.mark.parametrize("side", [16, 448])
def test_internvl_mosaics_equal_the_processors_at_every_aspect(side: int) -> None:
    rng = np.random.default_rng(0)
    for most in (1, 6, 12):
        ours = TileVision(side=side, cell=8, max_patches=most)
        theirs = GotOcr2ImageProcessorPil(size={"height": side, "width": side}, max_patches=most, crop_to_patches=True)
        for size in [*rng.integers(1, 3 * side, (200, 2)).tolist(), [side, 2 * side], [3 * side, 3 * side], [9, 9]]:
            count = math.prod(ours.mosaic((size[0], size[1])))
            assert count + (count > 1) == theirs.get_number_of_image_patches(*size), size


def test_internvl_videos_are_one_named_tile_a_frame() -> None:
    clip = smooth(20, 33, 3)
    prompt = seen(INTERNVL, clip)
    frames = [their_tiles(Clip(clip.pixels[[time]], (0,)), 16, most=1)["pixel_values"] for time in range(3)]
    assert_close(prompt.inputs["pixel_values"], torch.cat(frames), 1.1)
    names = SimpleNamespace(
        image_seq_length=4, image_token="<IMG_CONTEXT>", start_image_token="<img>", end_image_token="</img>"
    )
    theirs = {"pixel_values_videos": [torch.zeros(3, 3, 16, 16)]}
    assert written(prompt.text) == InternVLProcessor.replace_video_token(names, theirs, 0)
    assert written(prompt.text).startswith("Frame1: <img><IMG_CONTEXT>") and "</img>\nFrame2: <img>" in written(
        prompt.text
    )
    assert INTERNVL.prompt_tokens(3, (20, 33)) >= prompt.tokens + 3 * 2


# --- SmolVLM --------------------------------------------------------------------------------------------------------

SMOLVLM = SplitVision(side=16, cell=8, longest_edge=64, video_longest_edge=32)


def their_splits(images: list[NDArray[np.uint8]], splitting: bool = True) -> dict[str, torch.Tensor]:
    process = SmolVLMImageProcessorPil(
        size={"longest_edge": 64}, max_image_size={"longest_edge": 16}, do_image_splitting=splitting
    )
    inputs: dict[str, torch.Tensor] = process(
        [[image] for image in images],
        return_row_col_info=True,
        input_data_format="channels_last",
        return_tensors="pt",
    )
    return inputs


def their_text(rows: int, columns: int, tokens: int) -> str:
    text: str = processing_smolvlm.get_image_prompt_string(
        rows, columns, tokens, "<fake_token_around_image>", "<image>", "<global-img>"
    )
    return text


@pytest.mark.parametrize("splitting", [True, False])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_smolvlm_images_equal_the_processors(size: tuple[int, int], splitting: bool) -> None:
    clip = smooth(*size)
    process = SplitVision(side=16, cell=8, longest_edge=64, do_image_splitting=splitting)
    prompt, theirs = seen(process, clip), their_splits(list(clip.pixels), splitting)
    assert_close(prompt.inputs["pixel_values"], theirs["pixel_values"], 3.1)  # up to three resizes in a row
    assert torch.equal(prompt.inputs["pixel_attention_mask"], theirs["pixel_attention_mask"])
    assert prompt.inputs["pixel_attention_mask"].dtype == theirs["pixel_attention_mask"].dtype
    assert written(prompt.text) == their_text(theirs["rows"][0][0], theirs["cols"][0][0], 4)
    assert most_tokens(prompt.text) == process.prompt_tokens(1, size) >= prompt.tokens


def test_smolvlm_tiles_that_need_no_resizing_are_exact() -> None:
    clip = noise(32, 64)
    ours, theirs = seen(SMOLVLM, clip).inputs["pixel_values"], their_splits(list(clip.pixels))["pixel_values"]
    assert ours.shape[1] == 9
    assert_close(ours[:, :-1], theirs[:, :-1], 0)


def test_smolvlm_batches_are_padded_as_the_processors() -> None:
    clips = [smooth(48, 48), smooth(61, 200), smooth(20, 30)]
    ours = SMOLVLM.model_inputs(SMOLVLM.collate([SMOLVLM(clip) for clip in clips]))
    theirs = their_splits([clip.pixels[0] for clip in clips])
    assert_close(ours["pixel_values"], theirs["pixel_values"], 3.1)
    assert torch.equal(ours["pixel_attention_mask"], theirs["pixel_attention_mask"])
    assert SMOLVLM.collate([VisualPrompt({}, (), (), 0)] * 2) == {}
    with_text = SMOLVLM.model_inputs(SMOLVLM.collate([VisualPrompt({}, (), (), 0), SMOLVLM(clips[2])]))
    assert not with_text["pixel_values"][0].any() and not with_text["pixel_attention_mask"][0].any()


def test_smolvlm_videos_are_one_tile_a_frame_with_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clip = smooth(20, 33, 3)
    prompt = seen(SMOLVLM, clip)
    frames = []
    for frame in clip.pixels:  # the rule of the video processor, by the image processor's resizing
        process = SmolVLMImageProcessorPil(
            size={"longest_edge": 32}, max_image_size={"longest_edge": 16}, do_image_splitting=False
        )
        frames.append(process([[frame]], input_data_format="channels_last", return_tensors="pt")["pixel_values"])
    assert_close(prompt.inputs["pixel_values"], torch.cat(frames, 1), 2.1)
    monkeypatch.setattr(processing_smolvlm, "num2words", {3: "three"}.__getitem__)
    names = SimpleNamespace(
        image_seq_len=4,
        image_token="<image>",
        fake_image_token="<fake_token_around_image>",
        global_image_token="<global-img>",
    )
    metadata = SimpleNamespace(fps=30.0, timestamps=[0.0, 1.0, 2.0], duration=None)
    theirs = {"pixel_values": torch.zeros(1, 3, 3, 16, 16), "video_metadata": [metadata]}
    assert written(prompt.text) == processing_smolvlm.SmolVLMProcessor.replace_video_token(names, theirs, 0)
    assert SMOLVLM.prompt_tokens(3, (20, 33)) > most_tokens(prompt.text)  # a later time is longer


def test_smolvlm_times_are_minutes_and_seconds_and_the_whole_in_hours() -> None:
    clip = smooth(8, 8, 2)
    text = written(SMOLVLM(Clip(clip.pixels, (0, 4000), rate=1.0)).text)
    assert text.startswith(
        "You are provided the following series of two frames from a 1:06:40 [H:MM:SS] video.\n\nFrame"
    )
    assert "\nFrame from 66:40:<fake_token_around_image><global-img><image>" in text
    assert text.endswith("<fake_token_around_image>\n\n")


def test_smolvlm_counts_the_letters_of_late_times() -> None:
    """All were counted as 00:00, so that a long film took more tokens than its batch had room for."""
    prompt = SMOLVLM(Clip(smooth(8, 8, 2).pixels, (50_000, 90_000), rate=1.0))
    assert "\nFrame from 1500:00:" in written(prompt.text)
    assert most_tokens(prompt.text) <= SMOLVLM.prompt_tokens(2, (8, 8))


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (2, "two"),
        (13, "thirteen"),
        (20, "twenty"),
        (42, "forty-two"),
        (100, "one hundred"),
        (101, "one hundred and one"),
        (128, "one hundred and twenty-eight"),
        (999, "nine hundred and ninety-nine"),
    ],
)
def test_smolvlm_counts_frames_in_words(number: int, words: str) -> None:
    assert in_words(number) == words


def test_smolvlm_refuses_a_thousand_frames() -> None:
    with pytest.raises(DataError, match="1000 frames"):
        in_words(1000)


def test_smolvlm_longest_sides() -> None:
    assert longest((375, 500), 1536) == (1152, 1536)
    assert longest((500, 333), 512) == (512, 340)  # 340.99 pixels, rounded down
    assert longest((501, 333), 512) == (512, 340)  # 340.3
    assert longest((100, 101), 512) == (506, 512)
    assert longest((1, 5000), 512) == (1, 512)


# --- LLaVA-OneVision ------------------------------------------------------------------------------------------------

PINPOINTS = tuple((16 * down, 16 * across) for down in range(1, 7) for across in range(1, 7))
ONEVISION = OneVision(16, 4, PINPOINTS)


def their_patches(images: list[NDArray[np.uint8]]) -> dict[str, torch.Tensor]:
    process = LlavaOnevisionImageProcessorPil(
        size={"height": 16, "width": 16},
        image_grid_pinpoints=[list(point) for point in PINPOINTS],
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    inputs: dict[str, torch.Tensor] = process(images, input_data_format="channels_last", return_tensors="pt")
    return inputs


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_onevision_images_equal_the_processors(size: tuple[int, int]) -> None:
    clip = smooth(*size)
    prompt, theirs = seen(ONEVISION, clip), their_patches(list(clip.pixels))
    assert_close(prompt.inputs["pixel_values"], theirs["pixel_values"], 1.1)
    assert torch.equal(prompt.inputs["image_sizes"], theirs["image_sizes"])
    assert theirs["batch_num_images"].tolist() == [1], "the model's default, which ours leaves to it"


def test_onevision_tiles_that_need_no_resizing_are_exact() -> None:
    clip = noise(48, 96)
    ours, theirs = seen(ONEVISION, clip).inputs["pixel_values"], their_patches(list(clip.pixels))["pixel_values"]
    assert ours.shape[1] == 1 + 18
    assert_close(ours[:, 1:], theirs[:, 1:], 0)


def test_onevision_batches_are_padded_as_the_processors() -> None:
    clips = [smooth(16, 16), smooth(48, 96), smooth(20, 30)]
    ours = ONEVISION.model_inputs(ONEVISION.collate([ONEVISION(clip) for clip in clips]))
    theirs = their_patches([clip.pixels[0] for clip in clips])
    assert_close(ours["pixel_values"], theirs["pixel_values"], 1.1)
    assert torch.equal(ours["image_sizes"], theirs["image_sizes"])


@pytest.mark.parametrize("bound", ["anyres_max_9", "anyres_max_2"])
def test_onevision_counts_tokens_as_the_processor_at_every_aspect(bound: str) -> None:
    config = LlavaOnevisionConfig(vision_aspect_ratio=bound)
    ours = LlavaOnevision.visual_processor(config, {})
    images = SimpleNamespace(image_grid_pinpoints=config.image_grid_pinpoints)
    theirs = SimpleNamespace(num_image_tokens=27**2, vision_aspect_ratio=bound, image_processor=images)
    theirs._get_unpadded_features = lambda *sizes: LlavaOnevisionProcessor._get_unpadded_features(theirs, *sizes)
    for height, width in np.random.default_rng(0).integers(60, 3000, (300, 2)).tolist():
        count = LlavaOnevisionProcessor._get_number_of_features(theirs, height, width, 384, 384)
        assert ours.prompt_tokens(1, (height, width)) == count, (height, width)
    theirs.video_token = "v"
    frames = {"pixel_values_videos": [torch.zeros(5, 1, 1, 1)]}
    assert ours.prompt_tokens(5, (9, 9)) == len(LlavaOnevisionProcessor.replace_video_token(theirs, frames, 0))


def test_onevision_refuses_canvases_that_are_not_the_models() -> None:
    with pytest.raises(DataError, match="image_grid_pinpoints"):
        LlavaOnevision.visual_processor(LlavaOnevisionConfig(), {"image_grid_pinpoints": [[384, 384]]})


def test_onevision_refuses_a_frame_that_no_canvas_holds() -> None:
    with pytest.raises(DataError, match="1 x 500"):
        ONEVISION(noise(1, 500))


@pytest.mark.parametrize("frames", [1, 2])
def test_onevision_cells_of_interpolated_tokens_are_where_the_tokens_look(frames: int) -> None:
    """Tokens interpolated between patches (27 to 14 in a video, fewer than a bound in an image) look at patches about
    the middle of their cell: by the gradient of each token with respect to the pixels."""
    tiny = TINY["llava_onevision"]
    options = {
        **tiny.config,
        "vision_aspect_ratio": "anyres_max_2",
        "vision_config": {**tiny.config["vision_config"], "image_size": 22},  # 5 x 5 patches
        "image_grid_pinpoints": [[22 * down, 22 * across] for down in range(1, 4) for across in range(1, 4)],
    }
    base = type(tiny)(options, tiny.special).base()
    for name, layer in base.vision_tower.named_modules():
        if isinstance(layer, nn.Linear) and name.endswith("out_proj"):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
    prompt = seen(base.visual_processor(base.model.config, {}), noise(60, 66, frames))
    view = prompt.views[-1]
    check(prompt.views, prompt.tokens)
    pixels, *sizes = prompt.inputs.values()
    pixels.requires_grad_()
    features = base.core.get_image_features(pixels, *sizes) if frames == 1 else base.core.get_video_features(pixels)
    tokens = features.pooler_output[0]
    assert len(tokens) == prompt.tokens
    rows, columns = len(view.rows), len(view.columns)
    assert (rows, columns) == ((6, 7) if frames == 1 else (3, 3))
    for row in range(rows):
        for column in range(columns):
            (gradient,) = torch.autograd.grad(tokens[view.tokens[0, row, column]].sum(), pixels, retain_graph=True)
            mass = gradient.abs().sum((0, 2)) if frames > 1 else gradient[:, 1:].abs().sum((0, 2))
            canvas = mass[0] if frames > 1 else mass.view(3, 3, 22, 22).transpose(1, 2).reshape(66, 66)
            for axis, spans, place in ((1, view.rows, row), (0, view.columns, column)):
                met = canvas.sum(axis).nonzero()[:, 0]
                low, high = int(met.min()), int(met.max()) + 1
                start, end = spans[place]
                assert low < end and start < high, "the token does not look at its cell"
                assert low - 4 <= (start + end) / 2 <= high + 4 and high - low <= 2 * 4 + 2


@torch.no_grad()
def test_onevision_videos_of_unequal_length_have_the_features_of_each_alone() -> None:
    """Also in a copy of the model, which must not ask the original."""
    base = TINY["llava_onevision"].base()
    process = TINY["llava_onevision"].processor(base)
    copied = deepcopy(base.model).model
    for weight in base.core.parameters():
        weight.zero_()
    prompts = [process(noise(20, 30, frames)) for frames in (3, 1, 2)]

    def features(*clips: VisualPrompt) -> torch.Tensor:
        videos = process.model_inputs(process.collate(clips))["pixel_values_videos"]
        found: torch.Tensor = copied.get_video_features(videos).pooler_output
        return found

    alone = [features(prompts[place]) for place in (0, 2)]
    together = features(prompts[0], prompts[2])
    torch.testing.assert_close(together.flatten(0, 1), torch.cat([video[0] for video in alone]))
    assert together.any()


# --- settings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["internvl", "llava_onevision", "smolvlm"])
def test_a_processor_is_made_again_of_its_own_attributes(name: str) -> None:
    tiny = TINY[name]
    base = tiny.base()
    process = tiny.processor(base)
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(process).items()}
    assert base.visual_processor(base.model.config, plain) == process


def test_settings_of_checkpoints_are_read() -> None:
    internvl = TINY["internvl"].base().model.config
    smolvlm = TINY["smolvlm"].base().model.config
    mean = {"image_mean": [0.1, 0.2, 0.3], "image_std": None, "resample": 2}
    tile = InternVL.visual_processor(
        internvl, {"size": {"height": 32, "width": 32}, "max_patches": 4, "crop_to_patches": False, **mean}
    )
    assert tile == TileVision(32, 8, max_patches=4, image_mean=(0.1, 0.2, 0.3), resample="bilinear")
    sampling = {"fps": 1, "max_frames": 64, "video_size": {"longest_edge": 32}}
    sizes = {"size": {"longest_edge": 64}, "max_image_size": {"longest_edge": 16}}
    for video, edge in (
        ({"video_sampling": sampling}, 64),  # beside a size, `video_size` counts for nothing
        ({"video_processor": {"size": {"longest_edge": 48}}}, 48),
        ({"video_processor": {"video_sampling": sampling}}, 32),
    ):
        split = SmolVLM.visual_processor(smolvlm, {**sizes, **video, **mean})
        assert split == SplitVision(16, 8, 64, edge, image_mean=(0.1, 0.2, 0.3), resample="bilinear")


def test_released_models_have_the_visual_tokens_that_their_papers_count() -> None:
    internvl = InternVL.visual_processor(AutoConfig.for_model("internvl"), {})
    assert internvl.prompt_tokens(1, (448, 448)) == 256 + 2
    assert internvl.prompt_tokens(1, (896, 1344)) == 7 * 256 + 2
    large = {"vision_config": {"image_size": 384, "patch_size": 14}, "scale_factor": 3}  # SmolVLM2-2.2B, 27 patches
    small = {"vision_config": {"image_size": 512, "patch_size": 16}, "scale_factor": 4}  # SmolVLM2-500M
    for options, tile, tokens in ((large, 384, 81), (small, 512, 64)):
        process = SmolVLM.visual_processor(AutoConfig.for_model("smolvlm", **options), {})
        assert process.side == tile and process(noise(30, 40)).tokens == (4 * 3 + 1) * tokens
    onevision = LlavaOnevision.visual_processor(AutoConfig.for_model("llava_onevision"), {})
    assert onevision.prompt_tokens(1, (384, 384)) == 729 + 27 * 28
    assert onevision.prompt_tokens(32, (384, 384)) == 32 * 196 + 1


def test_a_tokenizer_without_what_stands_around_a_picture_is_refused() -> None:
    config = TINY["internvl"].base().model.config
    vocabulary = {"<IMG_CONTEXT>": 285, "<img>": 286}
    tokenizer = SimpleNamespace(get_vocab=lambda: vocabulary, name_or_path="there")
    with pytest.raises(DataError, match="'there' is not this model's: it has no </img>"):
        InternVL.check_tokens(config, tokenizer)
    vocabulary["</img>"] = 7  # the model does not know its id
    InternVL.check_tokens(config, tokenizer)
    vocabulary["<IMG_CONTEXT>"] = 8
    with pytest.raises(DataError, match="<IMG_CONTEXT> has the id 8, image_token_id is 285"):
        InternVL.check_tokens(config, tokenizer)


def test_settings_that_a_model_cannot_take_are_refused() -> None:
    internvl = TINY["internvl"].base().model.config
    smolvlm = TINY["smolvlm"].base().model.config
    with pytest.raises(DataError, match="20 pixels is no whole number of visual tokens of 8"):
        InternVL.visual_processor(internvl, {"side": 20})
    with pytest.raises(DataError, match="5 patches along a side, no whole number of visual tokens of 2"):
        SmolVLM.visual_processor(smolvlm, {"side": 20, "longest_edge": 40})
    with pytest.raises(DataError, match="200 pixels in tiles of 18: there are names for 6"):
        SmolVLM.visual_processor(smolvlm, {"side": 18, "longest_edge": 200})
    with pytest.raises(DataError, match="resample is 5"):
        InternVL.visual_processor(internvl, {"resample": 5})


NONSENSE: list[tuple[str, dict[str, Any], str]] = [
    ("qwen3_vl", {"max_pixels": "many"}, "max_pixels is 'many', but it takes numbers above zero"),
    ("qwen3_vl", {"min_pixels": -5}, "min_pixels is -5"),
    ("qwen3_vl", {"max_pixels": True}, "max_pixels is True"),
    ("qwen3_vl", {"min_pixels": 300, "max_pixels": 200}, "min_pixels is 300, but max_pixels is 200"),
    ("qwen3_vl", {"timestamps": "no"}, "timestamps is 'no', but it takes true or false"),
    ("qwen3_vl", {"image_mean": [0.5]}, r"image_mean is \(0.5,\)"),
    ("qwen3_vl", {"image_std": [0.5, 0.5, 0]}, r"image_std is \(0.5, 0.5, 0\)"),
    ("qwen3_vl", {"patch_size": 16}, "patch_size is 16, but the model was built with 4"),
    ("internvl", {"max_patches": 2.5}, "max_patches is 2.5"),
    ("internvl", {"min_patches": 9}, "min_patches is 9, but max_patches is 6"),
    ("internvl", {"cell": 4}, "cell is 4, but the model was built with 8"),
    ("smolvlm", {"longest_edge": 0}, "longest_edge is 0"),
    ("gemma3", {"side": 64}, "side is 64, but the model was built with 32"),
    ("molmo2", {"overlap_margins": [-1, 0]}, r"overlap_margins is \(-1, 0\)"),
    ("llava_onevision", {"most_tiles": 4}, "most_tiles is 4, but the model was built with 9"),
    ("llava", {"fit": "stretch"}, "fit is 'stretch', but it takes squash or pad"),
    ("llava", {"merge": 2}, "merge is 2, but the model was built with 1"),
]


@pytest.mark.parametrize(("name", "nonsense", "message"), NONSENSE)
def test_a_nonsense_setting_is_refused_where_it_is_read(name: str, nonsense: dict[str, Any], message: str) -> None:
    """It ended in a traceback at the first picture, or was taken: a frame divided by zero, `no` for true."""
    tiny = TINY[name]
    base = tiny.base()
    with pytest.raises(DataError, match=message):
        base.visual_processor(base.model.config, {**tiny.settings, **nonsense})


@pytest.mark.parametrize("name", ["qwen3_vl", "llava", "smolvlm"])
def test_what_cannot_be_set_of_a_base_is_refused(name: str) -> None:
    """A setting with a slip of the pen was left out in silence; in a checkpoint's own settings much stands besides."""
    config = TINY[name].base().model.config
    options = BaseModel(architecture=dict(TINY[name].config), vision={"max_pixel": 9})
    with pytest.raises(DataError, match=f"base.vision has no 'max_pixel'; of a {name} it has .*image_mean"):
        load_visual_processor(options, config)


# --- cells ----------------------------------------------------------------------------------------------------------


def test_pooling_leaves_out_what_lies_between_and_beyond_the_cells() -> None:
    """Tiles of 5 pixels in cells of 2 leave every fifth pixel out."""
    rows, columns = tiles(2, 5, 2)[1:], between((1, 3, 7, 10))
    assert rows == ((2, 4), (5, 7), (7, 9)) and columns == ((1, 3), (3, 7), (7, 10))
    view = View(Placement.filling((10, 11), (10, 11)), rows, columns, ((0,),), np.arange(9).reshape(1, 3, 3))
    check([view], 9)
    values = np.random.default_rng(0).random((2, 10, 11), dtype=np.float32)
    pooled = view.pooled(values)
    assert pooled.shape == (3, 3, 2)
    for row, (top, bottom) in enumerate(rows):
        for column, (left, right) in enumerate(columns):
            expected = values[:, top:bottom, left:right].mean((1, 2))
            np.testing.assert_allclose(pooled[row, column], expected, rtol=1e-6)


def test_tiled_views_count_tile_after_tile() -> None:
    view = View.tiled(Placement.filling((4, 4), (4, 8)), 4, 2, [[0], [1]], start=3)
    assert view.rows == ((0, 2), (2, 4)) and view.columns == ((0, 2), (2, 4), (4, 6), (6, 8))
    assert (view.tokens[0] - 3).tolist() == [[0, 1, 4, 5], [2, 3, 6, 7]]
    assert (view.tokens[1] - 11).tolist() == [[0, 1, 4, 5], [2, 3, 6, 7]]


def test_resampled_cells_share_the_line_evenly() -> None:
    assert resampled(tiles(1, 16, 4), 2) == ((0, 8), (8, 16))
    assert resampled(tiles(1, 12, 4), 2) == ((0, 6), (6, 12))
    assert resampled(tiles(2, 9, 4), 2) == ((0, 8), (9, 17)), "what no patch sees is in no cell at its end"
    many = resampled(tiles(1, 384, 14), 14)
    assert len(many) == 14 and many[0] == (0, 27) and many[-1] == (351, 378)
    assert all(before[1] == after[0] for before, after in pairwise(many))


def test_check_finds_cells_that_overlap_or_leave_the_canvas() -> None:
    placement = Placement.filling((4, 4), (4, 4))
    tokens = np.zeros((1, 1, 1), np.int64)
    check([View(placement, ((0, 4),), ((0, 4),), ((0,),), tokens)], 1)
    for spans in (((0, 5),), ((2, 2),), ((-1, 4),)):
        with pytest.raises(AssertionError):
            check([View(placement, spans, ((0, 4),), ((0,),), tokens)], 1)
    with pytest.raises(AssertionError):
        check([View(placement, ((0, 3), (2, 4)), ((0, 4),), ((0,),), np.arange(2).reshape(1, 2, 1))], 2)
