"""LLaVA's form: a tower for square images, a projector, a decoder. LLaVA-1.5, and any tower and decoder put together.

A view is a square of patches for every frame, which is encoded on its own; a projector of ours may merge neighbouring
patches into one visual token. `LlavaConfig` takes the projector as one more field, `projector: {merge: 2}`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import nn

from datamodules.batching.visual_processor import (
    Run,
    VisualProcessor,
    VisualPrompt,
    configured,
    fill_colour,
)
from datamodules.errors import DataError
from datamodules.regions.footprints import View, between
from datamodules.regions.placement import Fit, Placement, Resample
from datamodules.types import Clip
from lightning_modules.bases.base import Base, layers_used
from lightning_modules.bases.decoders import check_decoder

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

IMAGE = "<image>"
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
HALF = (0.5, 0.5, 0.5)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Tower(NamedTuple):
    """What a kind of tower does with a square: whether a class token stands before its patches, and how pixels come."""

    class_token: bool
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resample: Resample = "bicubic"

    def leading(self, config: PreTrainedConfig) -> int:
        """Tokens that stand before the patches: the class token and registers."""
        return self.class_token + getattr(config, "num_register_tokens", 0)


TOWERS = {
    "clip_vision_model": Tower(True, CLIP_MEAN, CLIP_STD),
    "siglip_vision_model": Tower(False, HALF, HALF),
    "dinov2": Tower(True, IMAGENET_MEAN, IMAGENET_STD),
    "dinov2_with_registers": Tower(True, IMAGENET_MEAN, IMAGENET_STD),
    "dinov3_vit": Tower(True, IMAGENET_MEAN, IMAGENET_STD, "bilinear"),
}
"""transformers' `model_type` of a tower -> the tower. SigLIP 2 of one resolution is of SigLIP's type."""


@dataclass(frozen=True, slots=True)
class SquareVision(VisualProcessor):
    """Every frame on a square of S x S pixels, cut into patches; a visual token is `merge` x `merge` of them.

    Where the square is no whole number of patches, the tower does not see what is left on the right and below; where
    the patches are no whole number of visual tokens, those of the last row and column cover fewer patches.

    Attributes:
        side: S.
        patch: Side of a patch in pixels.
        merge: Patches along each side of a visual token.
        leading: Visual tokens of a frame before its patches, which cover no pixel.
        image_mean: Of the normalisation.
        image_std: Of the normalisation.
        resample: How frames are resized.
        fit: `squash` the frame to the square, or `pad` it.
    """

    any_size = False
    placeholder = IMAGE
    may_be_zero = VisualProcessor.may_be_zero | {"leading"}

    side: int
    patch: int
    merge: int = 1
    leading: int = 0
    image_mean: tuple[float, float, float] = CLIP_MEAN
    image_std: tuple[float, float, float] = CLIP_STD
    resample: Resample = "bicubic"
    fit: Fit = "squash"

    @property
    def edges(self) -> tuple[int, ...]:
        """Edges of the visual tokens along a side, in pixels."""
        patches = self.side // self.patch
        return tuple(self.patch * min(count, patches) for count in range(0, patches + self.merge, self.merge))

    @property
    def frame_tokens(self) -> int:
        """Visual tokens of a frame."""
        return self.leading + (len(self.edges) - 1) ** 2

    def image(self, clip: Clip) -> VisualPrompt:
        """A clip of one frame."""
        return self.video(clip)

    def video(self, clip: Clip) -> VisualPrompt:
        """Frame after frame, as so many images."""
        placement = Placement.of((clip.pixels.shape[1], clip.pixels.shape[2]), self.side, self.fit)
        pixels = placement.image(clip.pixels, fill_colour(self.image_mean), self.resample)
        times = tuple((time,) for time in range(len(clip.frames)))
        grid, total = len(self.edges) - 1, len(times) * self.frame_tokens
        places = np.arange(total).reshape(-1, self.frame_tokens)[:, self.leading :].reshape(-1, grid, grid)
        cells = between(self.edges)
        view = View(placement, cells, cells, times, places)
        inputs = {"pixel_values": pixels}
        return VisualPrompt(inputs, (Run(IMAGE, total),), (view,), total)

    def prompt_tokens(self, frames: int, size: tuple[int, int]) -> int:
        """As many for every frame."""
        return frames * self.frame_tokens


class Llava(Base):
    """`LlavaForConditionalGeneration`."""

    model_types = ("llava",)
    visual_tokens: ClassVar = {IMAGE: "image_token_id"}

    @classmethod
    def model_class(cls, config: PreTrainedConfig) -> type[PreTrainedModel]:
        """That of transformers, or with our projector.

        Raises:
            DataError: A tower or a decoder that does not go into LLaVA's form, features of a layer that the tower does
                not have, or a projector that is none.
        """
        from transformers import LlavaForConditionalGeneration

        from lightning_modules.bases.projector import LlavaWithProjector

        _leading(config)
        _check_layer(config)
        check_decoder(config.text_config)
        model: type[PreTrainedModel] = LlavaForConditionalGeneration if _merge(config) is None else LlavaWithProjector
        return model

    @classmethod
    def visual_processor(cls, config: PreTrainedConfig, settings: Mapping[str, Any]) -> SquareVision:
        """The tower's square; normalisation and resampling from the checkpoint, else as the tower was trained."""
        tower, vision = _tower(config), config.vision_config
        as_trained = {"image_mean": tower.mean, "image_std": tower.std, "resample": tower.resample}
        square = {
            "side": _side(vision.image_size),
            "patch": _side(vision.patch_size),
            "merge": _merge(config) or 1,
            "leading": _leading(config),
        }
        return configured(SquareVision, as_trained, settings, square)

    @property
    def tower_layers(self) -> Sequence[nn.Module]:
        """Layers of the tower up to the last one whose features are taken."""
        return self._layers[: self._used]

    def unused_parameters(self) -> list[nn.Parameter]:
        """Weights of the tower behind the last layer whose features are taken, and what hid patches in its training."""
        unused = [*self._layers[self._used :], *self._after_layers()]
        weights = [weight for part in unused for weight in part.parameters()]
        mask_token = getattr(self._transformer.embeddings, "mask_token", None)
        return weights if mask_token is None else [*weights, mask_token]

    def blank(self) -> torch.Tensor:
        """One frame."""
        side = _side(self.model.config.vision_config.image_size)
        pixels = torch.zeros(1, 3, side, side, device=self.model.device, dtype=self.model.dtype)
        return torch.cat(list(self.core.get_image_features(pixels).pooler_output))

    @property
    def _transformer(self) -> Any:
        # some versions of transformers wrap the tower's transformer once more
        return getattr(self.vision_tower, "vision_model", self.vision_tower)

    @property
    def _layers(self) -> Sequence[nn.Module]:
        transformer = self._transformer
        encoder = getattr(transformer, "encoder", None) or transformer.model  # DINOv3's name for it
        layers: Sequence[nn.Module] = getattr(encoder, "layers", None) or encoder.layer
        return layers

    @property
    def _used(self) -> int:
        return layers_used(self.model.config.vision_feature_layer, len(self._layers))

    def _after_layers(self) -> list[nn.Module]:
        names = ("post_layernorm", "layernorm", "norm", "head", "pooler")
        return [part for name in names if isinstance(part := getattr(self._transformer, name, None), nn.Module)]


def _tower(config: PreTrainedConfig) -> Tower:
    kind = config.vision_config.model_type
    if kind == "siglip2_vision_model":
        raise DataError(
            "a siglip2_vision_model takes patches of any aspect; in LLaVA's form SigLIP 2 is of one resolution"
        )
    if kind not in TOWERS:
        raise DataError(f"no tower of type {kind!r} in LLaVA's form; there are {', '.join(TOWERS)}")
    return TOWERS[kind]


def _leading(config: PreTrainedConfig) -> int:
    """Visual tokens of a frame before its patches: our projector drops them all, 'default' the first, 'full' none."""
    leading = _tower(config).leading(config.vision_config)
    if _merge(config) is not None:
        return 0
    if config.vision_feature_select_strategy != "default":
        return leading
    if not leading:
        raise DataError(
            f"vision_feature_select_strategy 'default' drops the first patch of a {config.vision_config.model_type}, "
            "which has no class token: set 'full'"
        )
    return leading - 1


def _check_layer(config: PreTrainedConfig) -> None:
    taken, layers = config.vision_feature_layer, config.vision_config.num_hidden_layers
    for layer in [taken] if isinstance(taken, int) else taken:
        if not -layers - 1 <= layer <= layers:
            raise DataError(f"vision_feature_layer is {layer}, but the vision tower has {layers} layers")


def _merge(config: PreTrainedConfig) -> int | None:
    """Patches along each side of a visual token of our projector; None where the model keeps transformers' own."""
    projector = getattr(config, "projector", None)
    if projector is None:
        return None
    merge = projector.get("merge", 1)
    if set(projector) - {"merge"} or not isinstance(merge, int) or merge < 1:
        raise DataError(
            f"projector is {projector}: it has merge, a whole number of patches from 1 on, and nothing else"
        )
    return merge


def _side(size: int | Sequence[int]) -> int:
    height, width = (size, size) if isinstance(size, int) else size
    if height != width:
        raise DataError(f"a tower for {height} x {width} pixels: LLaVA's form is square")
    return height
