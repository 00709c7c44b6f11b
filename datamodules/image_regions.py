"""Regions of images."""

from datamodules.region_datamodule import RegionDataModule


class ImageRegionDataModule(RegionDataModule):
    """Streams regions of images; of a video it reads the prompted frame alone. Arguments: `RegionDataModule`."""

    default_num_frames = 1
