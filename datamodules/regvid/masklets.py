"""Masklets: a region that is pointed at on one frame, found on the others.

Annotations that give a box on one frame only leave a chat model to guess which of two dogs is meant later. SAM 2
follows what was pointed at through the sampled frames, forwards and backwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import torch
import torch.nn.functional as F

from datamodules.errors import DataError
from datamodules.reading.rle import encoded
from datamodules.regions.placement import Placement, run_length_code
from datamodules.types import Box, Clip, Geometry, Mask, Region, Stroke

if TYPE_CHECKING:
    from transformers import Sam2VideoInferenceSession, Sam2VideoModel

# of values in [0, 1], as SAM 2 was trained; transformers' processor for it needs torchvision, which nothing else does
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
CORNERS = (2, 3)  # the labels by which SAM 2's prompt encoder knows a box's two corners among points
INSIDE = 1  # and a point of the object


class Masklets(Protocol):
    """What finds regions on the frames where nothing is known about them."""

    @property
    def options(self) -> Mapping[str, Any]:
        """What the masks depend on beside the clip and the regions; part of what is kept of a video."""
        ...

    def __call__(self, clip: Clip, regions: tuple[Region, ...]) -> tuple[Mapping[int, Mask | None], ...]:
        """Follows regions through a clip.

        Args:
            clip: The frames, each region's prompted ones among them.
            regions: What to follow, each from its prompted frames.

        Returns:
            For each region, by source frame, its mask at the clip's size, or None where it is not visible. The
            prompted frames may be left out.
        """
        ...


def fill_gaps(masklets: Masklets, clip: Clip, regions: tuple[Region, ...]) -> tuple[Region, ...]:
    """The regions with tracks that know every frame of the clip; what was annotated stays as it is.

    Boxes to point with are no annotation of where an object is if they are all there is: a mask found there takes their
    place in the track, so that a track is of masks on all frames.

    Args:
        masklets: What finds them; asked only about regions of which some frame is not known.
        clip: The frames, each region's prompted ones among them.
        regions: In pixels of the clip.
    """
    gaps = [number for number, region in enumerate(regions) if any(frame not in region.track for frame in clip.frames)]
    if not gaps:
        return regions
    found = masklets(clip, tuple(regions[number] for number in gaps))
    filled = list(regions)
    for number, track in zip(gaps, found, strict=True):
        filled[number] = _filled(regions[number], track)
    return tuple(filled)


def _filled(region: Region, found: Mapping[int, Mask | None]) -> Region:
    # where it is pointed at it is visible, whatever a model says
    seen = {frame: mask for frame, mask in found.items() if mask is not None or frame not in region.prompts}
    known = region.track
    if all(place is None or _only_prompted(region, frame) for frame, place in known.items()):
        known = {frame: place for frame, place in known.items() if place is None or frame not in seen}
    return replace(region, track={**seen, **known})


def _only_prompted(region: Region, frame: int) -> bool:
    """Whether the track tells no more of a frame than the box that is pointed with."""
    prompt = region.prompts.get(frame)
    return isinstance(prompt, Box) and prompt == region.track[frame]


class Sam2Masklets:
    """SAM 2 for videos, through transformers.

    A box is given to it as a box, a stroke as points inside, anything else as a mask. It reads the sampled frames
    alone, one after the other.

    Args:
        model: A name on the model hub or a folder, for example `facebook/sam2.1-hiera-small`.
        device: Where it runs; None takes a GPU if there is one.
        dtype: Of its weights, `float32` or `bfloat16`.
    """

    def __init__(
        self, model: str = "facebook/sam2.1-hiera-small", device: str | None = None, dtype: str = "float32"
    ) -> None:
        if dtype not in ("float32", "bfloat16"):
            raise DataError(f"masklets: dtype {dtype!r} is neither float32 nor bfloat16")
        self.model = model
        self.options: Mapping[str, Any] = {"model": model, "dtype": dtype}
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.dtype: torch.dtype = getattr(torch, dtype)

    def __call__(self, clip: Clip, regions: tuple[Region, ...]) -> tuple[Mapping[int, Mask | None], ...]:
        """Follows each region on its own, as SAM 2 does; the frames are encoded once for all of them."""
        session = self._session(clip)
        return tuple(self._follow(session, clip, region) for region in regions)

    @cached_property
    def _sam(self) -> Sam2VideoModel:
        from transformers import Sam2VideoModel

        try:
            loaded = Sam2VideoModel.from_pretrained(self.model, dtype=self.dtype)
        except OSError as error:
            raise DataError(f"masklets: {self.model}: no SAM 2 to load: {error}") from error
        return loaded.to(self.device).eval()

    @property
    def _side(self) -> int:
        return int(self._sam.config.image_size)

    def _session(self, clip: Clip) -> Sam2VideoInferenceSession:
        from transformers import Sam2VideoInferenceSession

        height, width = clip.pixels.shape[1:3]
        pixels = Placement.of((height, width), self._side).image(clip.pixels, (0, 0, 0)).float() / 255
        mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in (MEAN, STD))
        return Sam2VideoInferenceSession(
            video=(pixels - mean) / std,
            video_height=height,
            video_width=width,
            inference_device=self.device,
            inference_state_device=self.device,
            dtype=self.dtype,
            max_vision_features_cache_size=len(clip.frames),
        )

    @torch.inference_mode()
    def _follow(self, session: Sam2VideoInferenceSession, clip: Clip, region: Region) -> dict[int, Mask | None]:
        session.reset_tracking_data()
        for frame, prompt in sorted(region.prompts.items()):
            time = clip.frames.index(frame)
            _point_at(session, prompt, time, self._side)
            self._sam(session, frame_idx=time)
        start = clip.frames.index(min(region.prompts))
        found: dict[int, Mask | None] = {}
        for reverse in (False, True):
            for output in self._sam.propagate_in_video_iterator(session, start_frame_idx=start, reverse=reverse):
                found[clip.frames[output.frame_idx]] = _mask(output, clip.pixels.shape[1:3])
        return found


def _point_at(session: Sam2VideoInferenceSession, prompt: Geometry, time: int, side: int) -> None:
    """Gives the one object of the session on a prompted frame, in pixels of the model's square."""
    height, width = session.video_height, session.video_width
    number = session.obj_id_to_idx(0)
    if isinstance(prompt, Box | Stroke):
        scale = torch.tensor([side / width, side / height])
        points = torch.tensor(prompt.xyxy if isinstance(prompt, Box) else prompt.points).view(1, 1, -1, 2) * scale
        labels = CORNERS if isinstance(prompt, Box) else (INSIDE,) * points.shape[2]
        given = {"point_coords": points, "point_labels": torch.tensor(labels, dtype=torch.int32).view(1, 1, -1)}
        session.add_point_inputs(number, time, given)
    else:
        from pycocotools import mask as coco_mask

        inside = coco_mask.decode(run_length_code(prompt, (height, width)))
        mask = _resized(torch.from_numpy(inside).float(), (side, side)) >= 0.5
        session.add_mask_inputs(number, time, mask.view(1, 1, side, side))
    session.obj_with_new_inputs = [0]


def _mask(output: Any, size: tuple[int, int]) -> Mask | None:
    """The pixels that are likelier in the object than not, or None where it is not visible."""
    return encoded((_resized(output.pred_masks[0, 0].float(), size) > 0).cpu().numpy())


def _resized(values: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """(H, W) -> `size`, antialiased bilinear."""
    return F.interpolate(values[None, None], size, mode="bilinear", antialias=True)[0, 0]
