"""Real videos with the masks that lie beside them, marked."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, binary_erosion

from datamodules.media.mask_picture import read_mask
from datamodules.regions.drawing import region_colour
from datamodules.regions.placement import Placement
from datamodules.regvid.mark import Mark, MarkedVideo
from datamodules.types import Frames, Region, RegionSample, Turn

pytestmark = pytest.mark.real_data

REACH = 30  # pixels around a region within which its line and plate lie


@pytest.fixture
def data() -> Path:
    folder = os.environ.get("REGION_REAL_DATA")
    if not folder:
        pytest.skip("REGION_REAL_DATA is unset: the folder with real images and videos")
    return Path(folder)


def masks(video: MarkedVideo, time: int) -> list[NDArray[np.bool_]]:
    """Of every region, (H, W) of the shown frame."""
    height, width = video.plain.shape[1:3]
    placement = Placement.filling(video.source, (height, width))
    frame = video.frames[time]
    geometries = [region.track.get(frame) for region in video.regions]
    shown = [np.zeros((height, width)) if item is None else placement.coverage(item) for item in geometries]
    return [coverage > 0.5 for coverage in shown]


def plates(picture: NDArray[np.uint8], number: int) -> NDArray[np.bool_]:
    """Where the plate's colour fills squares that no line is broad enough for."""
    colour = np.round(255 * np.array(region_colour(number), dtype=np.float32))
    filled: NDArray[np.bool_] = binary_erosion((picture == colour).all(-1), np.ones((3, 5)))
    return filled


def test_a_car_is_marked_on_every_frame(data: Path) -> None:
    folder = data / "dam_video"
    found = dict(enumerate(map(read_mask, map(str, sorted((folder / "masks").iterdir())))))
    region = Region.at(found[0], category="car", track=found)
    asked = RegionSample("dam", Frames(tuple(sorted((folder / "frames").iterdir()))), (region,), (Turn("?"),))
    video = Mark()(asked)
    assert video.marked.shape == (12, 288, 512, 3)
    for time in range(12):
        (mask,) = masks(video, time)
        differs = (video.marked[time] != video.plain[time]).any(-1)
        assert differs[mask].mean() > 0.95
        assert not differs[~binary_dilation(mask, iterations=REACH)].any()
        assert (plates(video.marked[time], 0) & mask).any()


def test_bike_and_rider_have_their_numbers_apart(data: Path) -> None:
    folder = data / "cutie"
    files = tuple(sorted((folder / "images" / "bike").iterdir()))
    given = [read_mask(f"{folder}/masks/bike/00000.png:{number}") for number in (1, 2)]
    regions = tuple(Region.at(mask, category=noun) for mask, noun in zip(given, ("bicycle", "boy"), strict=True))
    video = Mark(side=1024)(RegionSample("bike", Frames(files), regions, (Turn("?"),)))
    np.testing.assert_array_equal(video.marked[1:], video.plain[1:])
    for number, mask in enumerate(masks(video, 0)):
        plate = plates(video.marked[0], number)
        assert plate.any()
        assert (plate & binary_dilation(mask, iterations=REACH)).any()
    assert not (plates(video.marked[0], 0) & plates(video.marked[0], 1)).any()
