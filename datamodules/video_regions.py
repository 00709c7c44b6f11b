"""Regions of videos, and of images beside them."""

from datamodules.region_datamodule import RegionDataModule


class VideoRegionDataModule(RegionDataModule):
    """Streams regions of videos, or a weighted mixture of videos and images. Arguments: `RegionDataModule`.

    Every clip is four uniformly sampled frames, as in the paper, unless `num_frames` says otherwise; an image stays
    one frame, so a batch of both holds rows of different lengths.
    """

    default_num_frames = 4
