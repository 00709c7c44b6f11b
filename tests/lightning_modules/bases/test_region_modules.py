"""Regions on every base, from the record to the answer and the export: tiny random models, one entry of TINY each."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from families import TINY

from datamodules.batching.batch import RegionBatch
from datamodules.batching.processor import RegionProcessor
from datamodules.prompting.conversation import ConversationRenderer
from datamodules.prompting.prompt_styles import PromptName, prompt_style
from datamodules.types import Box, NoPicture, Pixels, Region, RegionSample, Turn, Video
from helpers import WAYS, character_tokenizer, make_batch, marks, unfilled, way_name
from lightning_modules import BaseModel, LoraOptions, RegionEncoder, TokenMark, VideoRegionModule, export, load
from lightning_modules.bases.loading import add_special_tokens
from lightning_modules.region_module import Part, RegionModule
from lightning_modules.training.losses import pass_losses, step_counts
from moving_squares import save_video
from small_tokenizers import KINDS, small_tokenizer

EVERY_BASE = pytest.mark.parametrize("name", TINY)
WHOLE = ("llava", "qwen3_vl", "internvl")  # in every run pointed at in all ways, the others by marks alone
EVERY_BASE_AND_WAY = pytest.mark.parametrize(
    ("name", "way"),
    [
        pytest.param(
            name, way, id=f"{name}-{way_name(way)}", marks=() if name in WHOLE or way is WAYS[0] else pytest.mark.slow
        )
        for name in TINY
        for way in WAYS
    ],
)
FROZEN: tuple[Part, ...] = ("vision_tower", "language_model")
STYLES: tuple[PromptName, ...] = ("plain", "vicuna")


@cache
def tokenizer_folder(folder: Path) -> str:
    character_tokenizer().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tokenizer_folder(tmp_path_factory.mktemp("tokenizer"))


def module_of(name: str, tokenizer: str, dtype: str = "float32", **options: Any) -> RegionModule:
    """A model on random weights of the base; ids of its pictures' tokens are the tokenizer's."""
    torch.manual_seed(0)
    tiny = TINY[name]
    base = BaseModel(architecture=dict(tiny.config), tokenizer=tokenizer, dtype=dtype, vision=dict(tiny.settings))
    small: dict[str, Any] = {"region_encoder": TokenMark(8, 8), "prompt": "plain", "max_new_tokens": 4}
    module = VideoRegionModule(base=base, **{**small, **options})
    module.configure_model()
    return module.eval()


def asked(name: str, size: tuple[int, int] = (40, 56), frames: int = 1, regions: int = 2) -> RegionSample:
    """Noise with two boxes that stay where they are."""
    height, width = size
    pixels = np.random.default_rng(len(name)).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)
    boxes = (Box((0, 0, width / 2, height / 2)), Box((width / 4, height / 4, width, height)))[:regions]
    where = tuple(Region.at(box, track=dict.fromkeys(range(1, frames), box)) for box in boxes)
    question = "is <region1> on <region0>" if regions == 2 else "what is it"
    return RegionSample(name, Pixels(pixels), where, (Turn(question, "<region0>" if regions else "a cat"),))


TEXT = RegionSample("text alone", NoPicture(), (), (Turn("how are you", "well"),))
SAMPLES = (asked("image"), asked("a video", (33, 20), frames=3), TEXT, asked("none", (24, 24), regions=0))


def losses(module: RegionModule, batch: RegionBatch) -> torch.Tensor:
    language, guide = pass_losses(module.backbone(batch), batch, step_counts([batch]))
    return language + guide


def gradients(module: RegionModule) -> dict[str, torch.Tensor | None]:
    return {name: weight.grad for name, weight in module.named_parameters() if weight.requires_grad}


@torch.no_grad()
@EVERY_BASE
def test_without_regions_it_is_its_base(name: str, tokenizer: str) -> None:
    """Logits and generated ids are those of transformers on the same inputs, to the last bit."""
    module = module_of(name, tokenizer)
    model, base = module.backbone.model, module.backbone.base
    for one in (SAMPLES[3], replace(asked("clip", (24, 40), frames=3, regions=0))):
        batch = make_batch(module, one)
        base.forget()
        inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
        theirs = model(**inputs, **module.backbone.inputs(batch, batch.input_ids), use_cache=False).logits
        assert torch.equal(module.backbone(batch).logits, theirs.flatten(0, 1)[batch.supervised])
        prompt = batch.input_ids[:, : batch.prompt_lengths[0]]
        base.forget()
        rows = model.generate(
            input_ids=prompt,
            attention_mask=torch.ones_like(prompt),
            **module.backbone.inputs(batch, prompt),
            max_new_tokens=4,
            do_sample=False,
            suppress_tokens=[module.renderer.region_id],
        )
        said = module.renderer.decode(rows[0, prompt.shape[1] :].tolist()).strip()
        assert module.answer(batch).predictions[0].prediction == said


@EVERY_BASE_AND_WAY
def test_every_way_of_pointing_learns_and_answers(name: str, way: RegionEncoder, tokenizer: str) -> None:
    """An image, a video, text alone and a picture without regions in one batch; answers are those of one by one."""
    module = module_of(name, tokenizer, frozen=(), region_encoder=way)
    batch = make_batch(module, *SAMPLES)
    losses(module, batch).backward()
    missing = [
        name for name, gradient in gradients(module).items() if gradient is None or not gradient.isfinite().all()
    ]
    assert missing == []
    together = [one.prediction for one in module.answer(batch).predictions]
    assert together == [module.answer(make_batch(module, one)).predictions[0].prediction for one in SAMPLES]


@pytest.mark.parametrize("frozen", [("vision_tower",), ("language_model",), FROZEN])
@EVERY_BASE
def test_frozen_bfloat16_meets_float32_that_learns(name: str, frozen: tuple[Part, ...], tokenizer: str) -> None:
    """SmolVLM's visual tokens had the type of its first weight, its words that of theirs: no step of stage 2 ran."""
    module = module_of(name, tokenizer, dtype="bfloat16", frozen=frozen)
    batch = make_batch(module, *SAMPLES)
    losses(module, batch).backward()
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients(module).values())
    module.answer(batch)


@pytest.mark.parametrize("kind", KINDS)
@EVERY_BASE
def test_no_tokenizer_takes_more_tokens_than_were_counted(name: str, kind: str) -> None:
    """Some put a space before every stretch of text between special tokens: `Frame1: ` had a token too many."""
    base = TINY[name].base()
    tokenizer = copy.deepcopy(small_tokenizer(kind))
    add_special_tokens(tokenizer, *base.visual_tokens, *TINY[name].special)
    vision = TINY[name].processor(base)
    visual = [token for token, number in TINY[name].special.items() if number in base.visual_ids]
    for style in STYLES:
        renderer = ConversationRenderer(tokenizer, prompt_style(style, tokenizer, vision.placeholder))
        process = RegionProcessor(renderer, vision, tokenizer.convert_tokens_to_ids(visual), 4)
        for frames in (1, 3):
            one = asked(name, (37, 61), frames, regions=0)
            assert len(process(one).rendered.ids) <= process.most_tokens(one)


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("name", ["qwen3_vl", "internvl", "llava_onevision", "molmo2", "smolvlm"])
def test_a_video_that_is_shorter_than_wanted_is_not_longer_than_counted(
    name: str, frames: int, tokenizer: str, tmp_path: Path
) -> None:
    """A video of one frame is an image to the base, in many tiles, and was counted as a few frames of one tile."""
    module = module_of(name, tokenizer)
    save_video(tmp_path / "clip.mp4", np.random.default_rng(0).integers(0, 256, (frames, 72, 124, 3), dtype=np.uint8))
    video = RegionSample("short", Video(tmp_path / "clip.mp4"), (), (Turn("what is it", "a cat"),))
    process = module.processor(6)
    processed = process(video)
    assert len(processed.frames) == frames
    assert len(processed.rendered.ids) <= process.most_tokens(video)


@EVERY_BASE
def test_a_rank_with_text_alone_runs_all_that_learns(name: str, tokenizer: str) -> None:
    """Else sharded training waits for ever."""
    module = module_of(name, tokenizer, frozen=())
    losses(module, make_batch(module, TEXT)).backward()
    assert [name for name, gradient in gradients(module).items() if gradient is None] == []


@EVERY_BASE
def test_marks_reach_the_answer_by_words_and_by_pixels(name: str, tokenizer: str) -> None:
    module = module_of(name, tokenizer, region_encoder=marks())
    batch = make_batch(module, *SAMPLES[:2])
    with torch.no_grad():
        told = module.backbone(batch).logits
        without_pixels = replace(batch, mark_weights=torch.zeros_like(batch.mark_weights))
        by_words = module.backbone(without_pixels).logits
        plain = module.backbone(replace(without_pixels, places=unfilled(batch.places))).logits
    assert (told - by_words).abs().max() > 1e-4
    assert (by_words - plain).abs().max() > 1e-4


@torch.no_grad()
@EVERY_BASE
def test_options_score_as_if_each_were_read_in_full(name: str, tokenizer: str) -> None:
    """Behind one shared prefix, beside a longer row; options that mention a region among them."""
    module = module_of(name, tokenizer)
    options = ("a cat", "<region1>", "no")
    choice = [
        replace(
            one,
            options=options,
            label=0,
            conversation=(
                Turn(
                    "which",
                ),
            ),
        )
        for one in SAMPLES[:2]
    ]
    scored = module.answer(make_batch(module, *choice)).predictions
    for one, prediction in zip(choice, scored, strict=True):
        for option, score, length in zip(options, prediction.option_scores, prediction.option_lengths, strict=True):
            read = replace(one, options=(), label=None, conversation=(Turn("which", option),))
            output = module.backbone(make_batch(module, read))
            full = output.logits.float().log_softmax(-1).gather(1, output.targets[:, None]).sum()
            assert length == len(output.targets)
            assert score == pytest.approx(float(full), abs=2e-5 * length)


@EVERY_BASE
def test_a_checkpoint_and_its_export_answer_alike(name: str, tokenizer: str, tmp_path: Path) -> None:
    """Nothing but the file is needed; the export is a folder of transformers' own.

    All read the ids of the first: for some models transformers takes no tokenizer but their own from a folder.
    """
    module = module_of(name, tokenizer)
    checkpoint = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, tmp_path / "last.ckpt")
    again = load(tmp_path / "last.ckpt")
    exported = load(export(tmp_path / "last.ckpt", tmp_path / "out", framework_only=True))
    batch = make_batch(module, *SAMPLES)
    with torch.no_grad():
        expected = module.backbone(batch).logits
        for other in (again, exported):
            assert other.vision == module.vision
            torch.testing.assert_close(other.backbone(batch).logits, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("options", [{"lora": LoraOptions(rank=2)}, {"quantise": "nf4", "frozen": FROZEN}], ids=str)
@EVERY_BASE
def test_adapters_and_four_bits(name: str, options: dict[str, Any], tokenizer: str) -> None:
    """What learns has a finite gradient, and answers come."""
    module = module_of(name, tokenizer, **options)
    batch = make_batch(module, *SAMPLES)
    losses(module, batch).backward()
    asked_for = gradients(module)
    assert asked_for and all(gradient is not None and gradient.isfinite().all() for gradient in asked_for.values())
    assert len(module.answer(batch).predictions) == len(SAMPLES)


@pytest.mark.slow
@EVERY_BASE
def test_two_captions_by_heart(name: str, tokenizer: str) -> None:
    """The same picture, another region: nothing but the mark tells the answers apart."""
    module = module_of(name, tokenizer, frozen=(), max_new_tokens=8, region_encoder=marks())
    one = asked("image")
    pair = [
        replace(one, id=f"image {number}", conversation=(Turn(f"what <region{number}>", answer),))
        for number, answer in enumerate(("a cat", "dogs"))
    ]
    batch = make_batch(module, *pair)
    optimizer = torch.optim.AdamW(module.parameters(), lr=5e-3)
    for _ in range(250):
        optimizer.zero_grad()
        losses(module, batch).backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
    assert [one.prediction for one in module.answer(batch).predictions] == ["a cat", "dogs"]
