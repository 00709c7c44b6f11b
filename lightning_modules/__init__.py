"""Region-level understanding of images and videos: the LightningModules and what they are made of."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_modules.asking import ask
    from lightning_modules.backbone import TokenMarkBackbone
    from lightning_modules.bases.loading import BaseModel
    from lightning_modules.checkpoints.export import export
    from lightning_modules.checkpoints.loading import load
    from lightning_modules.generation.steps import GenerationOptions
    from lightning_modules.image_region import ImageRegionModule
    from lightning_modules.looking import Looked, look
    from lightning_modules.region_encoders import (
        EncodedRegions,
        NoRegionEncoder,
        RegionEncoder,
        RoiFeature,
        TextCoordinates,
        TokenMark,
        VisualMarker,
    )
    from lightning_modules.region_guide import TemporalRegionGuideHead
    from lightning_modules.training.lora import LoraOptions
    from lightning_modules.training.sharding import FullySharded
    from lightning_modules.video_region import VideoRegionModule

__all__ = [
    "BaseModel",
    "EncodedRegions",
    "FullySharded",
    "GenerationOptions",
    "ImageRegionModule",
    "Looked",
    "LoraOptions",
    "NoRegionEncoder",
    "RegionEncoder",
    "RoiFeature",
    "TemporalRegionGuideHead",
    "TextCoordinates",
    "TokenMark",
    "TokenMarkBackbone",
    "VideoRegionModule",
    "VisualMarker",
    "ask",
    "export",
    "load",
    "look",
]

_PLACES = {
    "BaseModel": "bases.loading",
    "EncodedRegions": "region_encoders",
    "FullySharded": "training.sharding",
    "GenerationOptions": "generation.steps",
    "ImageRegionModule": "image_region",
    "Looked": "looking",
    "LoraOptions": "training.lora",
    "NoRegionEncoder": "region_encoders",
    "RegionEncoder": "region_encoders",
    "RoiFeature": "region_encoders",
    "TemporalRegionGuideHead": "region_guide",
    "TextCoordinates": "region_encoders",
    "TokenMark": "region_encoders",
    "TokenMarkBackbone": "backbone",
    "VideoRegionModule": "video_region",
    "VisualMarker": "region_encoders",
    "ask": "asking",
    "export": "checkpoints.export",
    "load": "checkpoints.loading",
    "look": "looking",
}


def __getattr__(name: str) -> Any:
    # transformers and lightning take seconds to import, and the help of a command needs neither
    if name in _PLACES:
        return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
