"""The protocols by which answers are judged, by the names that configurations have for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from metrics.judging.dlc_bench import DLC_IMAGES, DLC_TEXT
from metrics.judging.gar_captions import GAR_DETAILED, GAR_SIMPLE
from metrics.judging.pairwise import FERRET, MDVP
from metrics.judging.protocol import JudgeProtocol
from metrics.judging.videorefer_d import VIDEOREFER_D
from metrics.judging.vip_bench import VIP

ProtocolName: TypeAlias = Literal[
    "dlc_text", "dlc_images", "videorefer_d", "gar_simple", "gar_detailed", "ferret", "mdvp", "vip"
]

PROTOCOLS: Mapping[ProtocolName, JudgeProtocol] = {
    "dlc_text": DLC_TEXT,
    "dlc_images": DLC_IMAGES,
    "videorefer_d": VIDEOREFER_D,
    "gar_simple": GAR_SIMPLE,
    "gar_detailed": GAR_DETAILED,
    "ferret": FERRET,
    "mdvp": MDVP,
    "vip": VIP,
}
