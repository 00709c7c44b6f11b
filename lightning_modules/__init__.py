"""Region-level understanding of images and videos: the LightningModules and what they are made of."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

# named like their modules, which would be found in their place
from lightning_modules.ask import ask
from lightning_modules.export import export

if TYPE_CHECKING:
    from lightning_modules.adapters import LoraOptions
    from lightning_modules.backbone import TokenMarkBackbone
    from lightning_modules.bases.loading import BaseModel
    from lightning_modules.checkpoints import load
    from lightning_modules.image_region import ImageRegionModule
    from lightning_modules.region_guide import TemporalRegionGuideHead
    from lightning_modules.region_references.token_mark import TokenMark
    from lightning_modules.sharding import FullySharded
    from lightning_modules.video_region import VideoRegionModule

__all__ = [
    "BaseModel",
    "FullySharded",
    "ImageRegionModule",
    "LoraOptions",
    "TemporalRegionGuideHead",
    "TokenMark",
    "TokenMarkBackbone",
    "VideoRegionModule",
    "ask",
    "export",
    "load",
]

_PLACES = {
    "BaseModel": "bases.loading",
    "FullySharded": "sharding",
    "ImageRegionModule": "image_region",
    "LoraOptions": "adapters",
    "TemporalRegionGuideHead": "region_guide",
    "TokenMark": "region_references.token_mark",
    "TokenMarkBackbone": "backbone",
    "VideoRegionModule": "video_region",
    "load": "checkpoints",
}


def __getattr__(name: str) -> Any:
    # a loader's worker has a region reference's `Pointing` from here, and needs neither lightning nor a model
    if name in _PLACES:
        return getattr(import_module(f"lightning_modules.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
