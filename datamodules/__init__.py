"""From annotation files and media to batches: the LightningDataModules and what they stream."""

from typing import TYPE_CHECKING, Any

from datamodules.errors import DataError
from datamodules.source import RegionSource
from datamodules.types import Box, Frames, Mask, Pixels, Polygon, Region, RegionSample, Stroke, Turn, Video

if TYPE_CHECKING:
    from datamodules.image_regions import ImageRegionDataModule
    from datamodules.video_regions import VideoRegionDataModule

__all__ = [
    "Box",
    "DataError",
    "Frames",
    "ImageRegionDataModule",
    "Mask",
    "Pixels",
    "Polygon",
    "Region",
    "RegionSample",
    "RegionSource",
    "Stroke",
    "Turn",
    "Video",
    "VideoRegionDataModule",
]


def __getattr__(name: str) -> Any:
    # lightning takes seconds to import, and neither a loader's worker nor a writer of data needs it
    if name == "ImageRegionDataModule":
        from datamodules.image_regions import ImageRegionDataModule

        return ImageRegionDataModule
    if name == "VideoRegionDataModule":
        from datamodules.video_regions import VideoRegionDataModule

        return VideoRegionDataModule
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
