"""Region-level understanding of images and videos: the LightningModules and what they are made of."""

from lightning_modules.ask import ask
from lightning_modules.backbone import TokenMarkBackbone
from lightning_modules.checkpoints import load
from lightning_modules.image_region import ImageRegionModule
from lightning_modules.region_guide import TemporalRegionGuideHead
from lightning_modules.token_mark import TokenMark
from lightning_modules.video_region import VideoRegionModule
from lightning_modules.weights import BaseModel

__all__ = [
    "BaseModel",
    "ImageRegionModule",
    "TemporalRegionGuideHead",
    "TokenMark",
    "TokenMarkBackbone",
    "VideoRegionModule",
    "ask",
    "load",
]
