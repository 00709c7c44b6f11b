"""How regions are told to a language model: one backbone, one switch; a further way is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from lightning_modules.region_encoders.no_encoder import NoRegionEncoder
from lightning_modules.region_encoders.region_encoder import RegionEncoder
from lightning_modules.region_encoders.roi_feature import RoiFeature, RoiTokens
from lightning_modules.region_encoders.text_coordinates import TextCoordinates
from lightning_modules.region_encoders.token_mark import TokenMark
from lightning_modules.region_encoders.visual_marker import Marker, VisualMarker

RegionEncoderName: TypeAlias = Literal["token_mark", "roi_feature", "text_coordinates", "visual_marker", "none"]


@dataclass(frozen=True, slots=True)
class RegionEncoderOptions:
    """What references are made from; each takes what it needs.

    Attributes:
        width: D, width of the language model.
        num_marks: M of `token_mark`.
        mark_dim: C of `token_mark`.
        roi_tokens: Placeholders of a region in `roi_feature`.
        marker: What `visual_marker` draws.
    """

    width: int
    num_marks: int = 100
    mark_dim: int = 256
    roi_tokens: RoiTokens = "average"
    marker: Marker = "outline"


REGION_ENCODERS: dict[RegionEncoderName, Callable[[RegionEncoderOptions], RegionEncoder]] = {
    "token_mark": lambda options: TokenMark(options.width, options.num_marks, options.mark_dim),
    "roi_feature": lambda options: RoiFeature(options.width, options.roi_tokens),
    "text_coordinates": lambda _: TextCoordinates(),
    "visual_marker": lambda options: VisualMarker(options.marker),
    "none": lambda options: NoRegionEncoder(options.width),
}
