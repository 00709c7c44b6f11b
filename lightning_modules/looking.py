"""What a model sees of regions before it is asked anything: where they are on every frame, and what they are like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from datamodules.batching.collate import Collate
from datamodules.errors import DataError, at_least
from datamodules.regions.footprints import View, finest
from datamodules.types import Geometry, Media, Region, RegionSample, Turn
from lightning_modules.asking import ASKED, as_media
from lightning_modules.region_encoders.region_encoder import sums_by_sample
from lightning_modules.region_guide import heat_map
from lightning_modules.region_module import RegionModule


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """Regions as a model sees them. N regions, T frames, R x C visual tokens of a frame, D width of the language model.

    Attributes:
        frames: (T,), the source frames that were read.
        embeddings: (N, D) float32, the mean of the language model's last hidden states at the visual tokens of each
            region where it is pointed at, by the share of each token that it covers.
        heat: (N, T, R, C) float32, the guide head's probability that a token shows the region; None without a head.
        view: Which pixels a token of `heat` covers.
    """

    frames: tuple[int, ...]
    embeddings: NDArray[np.float32]
    heat: NDArray[np.float32] | None
    view: View


@torch.no_grad()
def look(
    module: RegionModule,
    media: str | Path | Media | NDArray[np.uint8] | Image.Image,
    regions: Sequence[Region | Geometry],
    num_frames: int | None = None,
) -> Looked:
    """Follows regions through a video, or embeds those of an image; nothing is generated.

    Args:
        module: From `lightning_modules.load`.
        media: As `ask` takes it.
        regions: At least one; a bare geometry is on the first frame.
        num_frames: Most frames of a clip; what the paper takes, four for a video module, if left out.

    Raises:
        DataError: There is no region, the file cannot be read, or a region does not fit it.
    """
    at_least(1, num_frames=num_frames)
    if not regions:
        raise DataError("no region to look at")
    marked = tuple(region if isinstance(region, Region) else Region.at(region) for region in regions)
    question = Turn(" ".join(f"<region{number}>" for number in range(len(marked))))
    sample = RegionSample(ASKED, as_media(media), marked, (question,), origin=media if isinstance(media, str) else "")
    process = module.processor(module.default_num_frames if num_frames is None else num_frames)
    batch = Collate(module.vision)([process(sample)]).to(module.device)
    backbone = module.backbone
    with backbone.telling(batch, batch.places) as told:
        visual = backbone.read(batch).flatten(0, 1).index_select(0, batch.places.visual).float()
    weights = batch.mark_weights.unsqueeze(-1)
    summed = sums_by_sample(batch, weights * visual.unsqueeze(1))[0] / sums_by_sample(batch, weights)[0]
    view = finest(batch.views[0])
    heat = None
    if backbone.guide is not None and told.encoded.marks is not None:
        logits = backbone.guide(visual.to(backbone.guide.classifier.weight.dtype))
        of_tokens = heat_map(logits, batch, told.encoded.marks).cpu().numpy()
        heat = np.stack([view.on_frame(of_tokens, time) for time in range(len(batch.frames[0]))])
        heat = heat.transpose(3, 0, 1, 2)
    return Looked(batch.frames[0], summed.cpu().numpy(), heat, view)
