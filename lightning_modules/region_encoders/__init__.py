"""How regions are told to a language model: one backbone, and a class for every way."""

from lightning_modules.region_encoders.no_encoder import NoRegionEncoder
from lightning_modules.region_encoders.region_encoder import EncodedRegions, RegionEncoder
from lightning_modules.region_encoders.roi_feature import RoiFeature
from lightning_modules.region_encoders.text_coordinates import TextCoordinates
from lightning_modules.region_encoders.token_mark import TokenMark
from lightning_modules.region_encoders.visual_marker import VisualMarker

__all__ = [
    "EncodedRegions",
    "NoRegionEncoder",
    "RegionEncoder",
    "RoiFeature",
    "TextCoordinates",
    "TokenMark",
    "VisualMarker",
]
