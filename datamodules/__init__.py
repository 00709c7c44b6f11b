"""From annotation files and media to batches: the LightningDataModules and what they stream."""

from datamodules.image_regions import ImageRegionDataModule
from datamodules.types import Box, DataError, Frames, Mask, Pixels, Polygon, Region, RegionSample, Turn, Video
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
    "Turn",
    "Video",
    "VideoRegionDataModule",
]
