"""The ways to point at a region: one backbone, one switch. A further one is a file here and a line in `REFERENCES`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from lightning_modules.region_references.no_reference import NoReference
from lightning_modules.region_references.reference import RegionReference
from lightning_modules.region_references.roi_feature import RoiFeature, RoiTokens
from lightning_modules.region_references.text_coordinates import TextCoordinates
from lightning_modules.region_references.token_mark import TokenMark
from lightning_modules.region_references.visual_marker import Marker, VisualMarker

ReferenceName: TypeAlias = Literal["token_mark", "roi_feature", "text_coordinates", "visual_marker", "none"]


@dataclass(frozen=True, slots=True)
class ReferenceOptions:
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


REFERENCES: dict[ReferenceName, Callable[[ReferenceOptions], RegionReference]] = {
    "token_mark": lambda options: TokenMark(options.width, options.num_marks, options.mark_dim),
    "roi_feature": lambda options: RoiFeature(options.width, options.roi_tokens),
    "text_coordinates": lambda _: TextCoordinates(),
    "visual_marker": lambda options: VisualMarker(options.marker),
    "none": lambda options: NoReference(options.width),
}
