"""Tiny random models of every base, and what its data half is set to: one entry a base."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig

from datamodules.batching.visual_processor import VisualProcessor, VisualPrompt
from datamodules.types import Clip
from lightning_modules.bases import family_of
from lightning_modules.bases.base import Base

TEXT: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 300,
    "max_position_embeddings": 2048,
    "initializer_range": 0.2,
}
FIRST_SPECIAL = 280  # special tokens have the ids from here on; plain text is told by its characters


@dataclass(frozen=True)
class Tiny:
    """A base in small.

    Attributes:
        config: Arguments of its configuration, `model_type` among them.
        special: Its special tokens that stand for a picture or around it, by the ids that `config` gives them.
        settings: Of its data half: small pictures.
    """

    config: Mapping[str, Any]
    special: Mapping[str, int]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def base(self, seed: int = 0) -> Base:
        """The model with random weights, in evaluation mode."""
        torch.manual_seed(seed)
        config = self.configuration()
        family = family_of(config.model_type)
        model = family.model_class(config)._from_config(config).eval()
        for weight in model.parameters():
            if weight.dim() > 1 and not weight.any():  # a projector that starts at zero would show nothing
                torch.nn.init.normal_(weight, std=0.2)
        return family(model)

    def configuration(self) -> Any:
        """Of the model, in transformers."""
        options = dict(self.config)
        return AutoConfig.for_model(options.pop("model_type"), **options)

    def processor(self, base: Base) -> VisualProcessor:
        return base.visual_processor(base.model.config, self.settings)

    def ids(self, prompt: VisualPrompt, before: str = "look", after: str = "so?") -> torch.Tensor:
        """(1, L): text, what stands for the clip, text."""
        ids = [ord(letter) for letter in before]
        for run in prompt.text:
            ids += ([self.special[run.text]] if run.special else [ord(letter) for letter in run.text]) * run.count
        return torch.tensor([ids + [ord(letter) for letter in after]])


TOWER: dict[str, Any] = {
    "image_size": 32,
    "patch_size": 8,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
}


QWEN_IDS = {"image_token_id": 281, "video_token_id": 282, "vision_start_token_id": 283, "vision_end_token_id": 284}
QWEN_SPECIAL = {"<|vision_start|>": 283, "<|vision_end|>": 284, "<|image_pad|>": 281, "<|video_pad|>": 282}
QWEN_ROPE: dict[str, Any] = {"rope_type": "default", "mrope_section": [4, 2, 2], "rope_theta": 10000.0}
QWEN_TOWER: dict[str, Any] = {
    "depth": 3,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_heads": 2,
    "patch_size": 4,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "out_hidden_size": 32,
}


def llava(tower: Mapping[str, Any], decoder: str = "llama", **options: Any) -> Tiny:
    """A tower and a decoder in LLaVA's form; DINOv2 has a ratio in place of an intermediate size."""
    dino = tower["model_type"].startswith("dinov2")
    common = {name: value for name, value in TOWER.items() if not (dino and name == "intermediate_size")}
    config = {
        "model_type": "llava",
        "image_token_id": 280,
        "text_config": {"model_type": decoder, **TEXT},
        "vision_config": {**common, **tower},
        **options,
    }
    return Tiny(config, {"<image>": 280})


TILES = {f"<row_{row}_col_{column}>": 300 + 6 * row + column for row in range(1, 7) for column in range(1, 7)}

TINY: dict[str, Tiny] = {
    "llava": llava({"model_type": "clip_vision_model"}),
    "llava, all of SigLIP": llava({"model_type": "siglip_vision_model"}, vision_feature_select_strategy="full"),
    "llava, odd SigLIP merged": llava(
        # as of 384 pixels in patches of 14, some are left over on the right and below
        {"model_type": "siglip_vision_model", "image_size": 42, "patch_size": 8},
        vision_feature_layer=-1,
        projector={"merge": 2},
    ),
    "llava, DINOv2 with registers": llava({"model_type": "dinov2_with_registers", "num_register_tokens": 4}),
    "llava, DINOv2 merged": llava({"model_type": "dinov2"}, projector={"merge": 2}),
    "llava, DINOv3 and Qwen3": llava(
        {"model_type": "dinov3_vit", "num_register_tokens": 4}, "qwen3", projector={"merge": 1}
    ),
    "gemma3": Tiny(
        {
            "model_type": "gemma3",
            "boi_token_index": 293,
            "image_token_index": 294,
            "eoi_token_index": 295,
            "mm_tokens_per_image": 16,
            "text_config": {
                **TEXT,
                "layer_types": ["sliding_attention", "full_attention"],
                "sliding_window": 1024,
                "query_pre_attn_scalar": 16,
            },
            "vision_config": {**TOWER, "model_type": "siglip_vision_model", "patch_size": 4, "vision_use_head": False},
        },
        {"<start_of_image>": 293, "<image_soft_token>": 294, "<end_of_image>": 295},
    ),
    "gemma4": Tiny(
        {
            "model_type": "gemma4",
            "boi_token_id": 293,
            "image_token_id": 294,
            "eoi_token_id": 295,
            "video_token_id": 296,
            "audio_token_id": 297,
            "text_config": {
                **TEXT,
                "num_hidden_layers": 3,
                "layer_types": ["sliding_attention", "full_attention", "full_attention"],
                "num_kv_shared_layers": 1,
                "global_head_dim": 16,
                "vocab_size_per_layer_input": 300,
                "hidden_size_per_layer_input": 8,
                "use_bidirectional_attention": "vision",
                "final_logit_softcapping": 5.0,
            },
            "vision_config": {
                "hidden_size": 16,
                "intermediate_size": 32,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "num_key_value_heads": 2,
                "head_dim": 8,
                "patch_size": 4,
                "pooling_kernel_size": 2,
                "position_embedding_size": 64,
                "initializer_range": 0.2,
            },
            "audio_config": None,
        },
        {"<|image>": 293, "<|image|>": 294, "<image|>": 295, "<|video|>": 296},
        {"max_soft_tokens": 24, "max_video_tokens": 12},
    ),
    "molmo2": Tiny(
        {
            "model_type": "molmo2",
            "image_start_token_id": 290,
            "image_end_token_id": 291,
            "image_patch_id": 292,
            "low_res_image_start_token_id": 294,
            "frame_start_token_id": 297,
            "frame_end_token_id": 298,
            "text_config": {**TEXT, "additional_vocab_size": 0},
            "vision_config": {
                "image_size": [28, 28],
                "patch_size": 4,
                "hidden_size": 16,
                "intermediate_size": 32,
                "num_hidden_layers": 3,
                "num_attention_heads": 2,
                "num_key_value_heads": 2,
                "head_dim": 8,
                "initializer_range": 0.2,
            },
            "adapter_config": {
                "vision_feature_layer": [1, 0],
                "hidden_size": 16,
                "intermediate_size": 32,
                "num_attention_heads": 2,
                "num_key_value_heads": 2,
                "head_dim": 8,
                "text_hidden_size": 32,
                "initializer_range": 0.2,
            },
        },
        {
            "<im_start>": 290,
            "<im_end>": 291,
            "<im_patch>": 292,
            "<im_col>": 293,
            "<low_res_im_start>": 294,
            "<frame_start>": 297,
            "<frame_end>": 298,
        },
        {"max_crops": 6, "overlap_margins": [2, 1]},
    ),
    "qwen2_5_vl": Tiny(
        {
            "model_type": "qwen2_5_vl",
            **QWEN_IDS,
            "text_config": {**TEXT, "rope_parameters": QWEN_ROPE},
            "vision_config": {
                **QWEN_TOWER,
                "window_size": 16,
                "fullatt_block_indexes": [1],
                "tokens_per_second": 2,
            },
        },
        QWEN_SPECIAL,
        # bounds of a video hold for each frame
        {"min_pixels": 256, "max_pixels": 4096, "min_video_pixels": 256, "max_video_pixels": 2048},
    ),
    "qwen3_vl": Tiny(
        {
            "model_type": "qwen3_vl",
            **QWEN_IDS,
            "text_config": {**TEXT, "rope_parameters": QWEN_ROPE},
            "vision_config": {**QWEN_TOWER, "deepstack_visual_indexes": [0], "num_position_embeddings": 64},
        },
        QWEN_SPECIAL,
        {"min_pixels": 256, "max_pixels": 4096, "min_video_pixels": 256, "max_video_pixels": 8192},
    ),
    "qwen3_5": Tiny(
        {
            "model_type": "qwen3_5",
            **QWEN_IDS,
            "text_config": {
                **TEXT,
                "rope_parameters": {**QWEN_ROPE, "mrope_interleaved": True, "partial_rotary_factor": 1.0},
                "layer_types": ["linear_attention", "full_attention"],
                "linear_num_key_heads": 2,
                "linear_num_value_heads": 2,
                "linear_key_head_dim": 8,
                "linear_value_head_dim": 8,
            },
            "vision_config": {**QWEN_TOWER, "num_position_embeddings": 64},
        },
        QWEN_SPECIAL,
        {"min_pixels": 256, "max_pixels": 4096, "min_video_pixels": 256, "max_video_pixels": 8192},
    ),
    "internvl": Tiny(
        {
            "model_type": "internvl",
            "image_token_id": 285,
            "image_seq_length": 4,
            "text_config": {"model_type": "qwen2", **TEXT},
            "vision_config": {
                "image_size": 16,
                "patch_size": 4,
                "hidden_size": 16,
                "intermediate_size": 32,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "use_absolute_position_embeddings": True,
                "initializer_range": 0.2,
            },
        },
        {"<IMG_CONTEXT>": 285, "<img>": 286, "</img>": 287},
        {"max_patches": 6},
    ),
    "llava_onevision": Tiny(
        {
            "model_type": "llava_onevision",
            "image_token_index": 288,
            "video_token_index": 289,
            # as in the checkpoints, a tile is no whole number of patches: two pixels of eighteen are not seen
            "image_grid_pinpoints": [[18, 18], [18, 36], [36, 18], [36, 36], [18, 54], [54, 18]],
            "text_config": {"model_type": "qwen2", **TEXT},
            "vision_config": {
                "model_type": "siglip_vision_model",
                "image_size": 18,
                "patch_size": 4,
                "hidden_size": 16,
                "intermediate_size": 32,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "vision_use_head": False,
            },
        },
        {"<image>": 288, "<video>": 289},
    ),
    "smolvlm": Tiny(
        {
            "model_type": "smolvlm",
            "image_token_id": 290,
            "scale_factor": 2,
            "text_config": {"model_type": "llama", **TEXT, "vocab_size": 350, "pad_token_id": 0},
            "vision_config": {
                "image_size": 18,
                "patch_size": 4,
                "hidden_size": 16,
                "intermediate_size": 32,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "initializer_range": 0.2,
            },
        },
        {"<image>": 290, "<fake_token_around_image>": 291, "<global-img>": 292, **TILES},
        {"longest_edge": 54, "video_longest_edge": 54, "side": 18},
    ),
}


def seen(process: VisualProcessor, clip: Clip) -> VisualPrompt:
    """What a processor makes of a clip, its inputs as the model takes them."""
    prompt = process(clip)
    return replace(prompt, inputs=process.model_inputs(prompt.inputs))


def noise(height: int, width: int, frames: int = 1, seed: int = 0) -> Clip:
    """Frames 0, 4, 8, ... of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)
    return Clip(pixels, tuple(range(0, 4 * frames, 4)))
