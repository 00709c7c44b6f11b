from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from datamodules.regions import Placement
from datamodules.types import Box, Clip, Pixels, Region, RegionSample, Turn
from experiments.page import DPI, MARGIN, WIDEST
from experiments.pictures import draw_heat, draw_sample, outline, region_colour, save, soft_iou

GREY = 128


def sample(*regions: Region, question: str = "what is <region>", frames: int = 1, size: int = 32) -> RegionSample:
    pixels = np.full((frames, size, size, 3), GREY, dtype=np.uint8)
    return RegionSample("a", Pixels(pixels), regions, (Turn(question, "a cat"),))


def clip(frames: int = 1, size: int = 32) -> Clip:
    return Clip(np.full((frames, size, size, 3), GREY, dtype=np.uint8), tuple(range(frames)))


def rendered(figure: Figure) -> NDArray[np.uint8]:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def panel(figure: Figure, number: int) -> tuple[NDArray[np.uint8], float]:
    """The pixels of a panel, and how many of them one pixel of the frame takes."""
    image = rendered(figure)
    axes = figure.axes[number]
    box = axes.get_window_extent()
    left, right = round(box.x0), round(box.x1)
    bottom, top = round(image.shape[0] - box.y0), round(image.shape[0] - box.y1)
    return image[top:bottom, left:right], (right - left) / axes.get_xlim()[1]


def titles(figure: Figure) -> list[str]:
    return [axes.get_title() for axes in figure.axes]


def edges_by_brute_force(mask: NDArray[np.bool_]) -> set[tuple[int, int, int, int]]:
    """Unit edges (x, y, x, y) between a pixel of the mask and one that is not."""
    padded = np.pad(mask, 1)
    edges = set()
    for y, x in np.argwhere(mask).tolist():
        sides = {
            (x, y, x + 1, y): padded[y, x + 1],
            (x, y + 1, x + 1, y + 1): padded[y + 2, x + 1],
            (x, y, x, y + 1): padded[y + 1, x],
            (x + 1, y, x + 1, y + 1): padded[y + 1, x + 2],
        }
        edges |= {edge for edge, inside in sides.items() if not inside}
    return edges


def unit_edges(segments: NDArray[np.int64]) -> list[tuple[int, int, int, int]]:
    units = []
    for (x0, y0), (x1, y1) in segments.tolist():
        assert (x0 == x1) != (y0 == y1)
        units += [(x0, y, x0, y + 1) for y in range(y0, y1)] + [(x, y0, x + 1, y0) for x in range(x0, x1)]
    return units


def test_the_outline_of_a_rectangle_is_its_four_sides() -> None:
    mask = np.zeros((6, 8), dtype=np.bool_)
    mask[1:4, 2:7] = True
    sides = {tuple(np.ravel(segment).tolist()) for segment in outline(mask)}
    assert sides == {(2, 1, 2, 4), (7, 1, 7, 4), (2, 1, 7, 1), (2, 4, 7, 4)}


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (12, 13)])
def test_outline_equals_brute_force(shape: tuple[int, int]) -> None:
    mask = np.random.default_rng(shape[0]).random(shape) < 0.5
    units = unit_edges(outline(mask))
    assert len(units) == len(set(units))
    assert set(units) == edges_by_brute_force(mask)


def test_an_empty_mask_has_no_outline() -> None:
    assert outline(np.zeros((4, 4), dtype=np.bool_)).shape == (0, 2, 2)


def test_painted_outlines_land_on_the_boundary() -> None:
    box = (8, 12, 24, 28)
    picture, scale = panel(draw_sample(sample(Region(Box(box))), clip()), 0)
    colour = np.abs(picture - 255 * np.array(region_colour(0))).max(-1) < 12
    x0, y0, x1, y1 = (edge * scale for edge in box)
    painted = colour[round(y0) - 3 :]  # the number stands above the box
    rows, columns = np.nonzero(painted)
    assert [columns.min(), columns.max() + 1] == pytest.approx([x0, x1], abs=2)
    assert rows.max() + 1 + round(y0) - 3 == pytest.approx(y1, abs=2)
    inside = picture[round(y0) + 4 : round(y1) - 4, round(x0) + 4 : round(x1) - 4]
    assert (inside == GREY).all()


def test_small_pictures_are_enlarged_without_blurring() -> None:
    pixels = np.zeros((1, 4, 4, 3), dtype=np.uint8)
    pixels[0, ::2] = 255
    picture, _ = panel(draw_sample(sample(size=4), Clip(pixels, (0,))), 0)
    assert set(np.unique(picture)) == {0, 255}


def test_large_frames_keep_their_geometry() -> None:
    pixels = np.zeros((1, 1080, 1920, 3), dtype=np.uint8)
    pixels[0, :, 960:] = 255
    region = Region(Box((960, 0, 1920, 1080)))
    figure = draw_sample(sample(region), Clip(pixels, (0,)))
    picture, scale = panel(figure, 0)
    assert picture.shape[1] / picture.shape[0] == pytest.approx(16 / 9, rel=0.01)
    left, right = round(955 * scale), round(966 * scale)
    middle = picture[picture.shape[0] // 2]
    assert middle[: left - 2].max() == 0
    assert middle[right + 3 : -6].min() == 255


def test_regions_have_distinct_colours() -> None:
    colours = np.array([region_colour(number) for number in range(8)])
    apart = np.abs(colours[:, None] - colours[None]).sum(-1) + np.eye(8)
    assert apart.min() > 0.2


def test_soft_iou_by_hand() -> None:
    heat = np.array([[1.0, 0.5], [0.0, 0.25]], dtype=np.float32)
    share = np.array([[1.0, 0.0], [0.5, 0.5]], dtype=np.float32)
    # lesser 1 + 0 + 0 + 0.25, greater 1 + 0.5 + 0.5 + 0.5
    assert soft_iou(heat, share) == pytest.approx(1.25 / 2.5)
    assert soft_iou(heat, heat) == 1.0
    assert soft_iou(heat * 0, share * 0) == 1.0


def test_heat_panels_say_how_well_they_fit() -> None:
    """Region 0 fills the left half and is lost later; region 1 is prompted on frame 1 and annotated nowhere else."""
    regions = (Region(Box((0, 0, 16, 32)), track={1: None}), Region(Box((16, 0, 32, 32)), frame=1))
    heat = np.zeros((3, 2, 2, 2), dtype=np.float32)
    heat[0, :, 0, 0] = 0.5  # half as sure as it should be, where it should be
    heat[1, 0, 0, 0] = 1.0
    heat[1, :, 1, 1] = 1.0
    figure = draw_heat(
        sample(*regions, question="<region0> and <region1>", frames=3), clip(3), heat, Placement.of((32, 32), 32)
    )
    assert titles(figure) == [
        *("frame 0, prompted [0]", "frame 1, prompted [1]", "frame 2"),
        *("[0]  IoU 0.50", "[0]  not visible, heat 0.25", "[0]  not annotated"),
        *("[1]  not yet prompted", "[1]  IoU 1.00", "[1]  not annotated"),
    ]


def test_heat_colours_the_tokens_it_stands_for() -> None:
    heat = np.zeros((1, 2, 2, 1), dtype=np.float32)
    heat[0, 0, 1] = 1.0
    picture, _ = panel(draw_heat(sample(Region(Box((2, 20, 8, 26)))), clip(), heat, Placement.of((32, 32), 32)), 1)
    height, width = picture.shape[:2]
    assert picture[height // 4, 3 * width // 4] == pytest.approx(255 * np.array(region_colour(0)), abs=2)
    assert picture[3 * height // 4, 3 * width // 4] == pytest.approx(np.full(3, GREY * 0.45), abs=2)


def test_heat_of_a_padded_frame_lies_where_the_frame_lay() -> None:
    """A frame of 16 x 32 fills the middle two of four rows of tokens."""
    pixels = np.full((1, 16, 32, 3), GREY, dtype=np.uint8)
    heat = np.zeros((1, 4, 4, 1), dtype=np.float32)
    heat[0, 1] = 1.0
    asked = RegionSample("a", Pixels(pixels), (Region(Box((0, 0, 32, 8))),), (Turn("what is <region>"),))
    placement = Placement.of((16, 32), 32, "pad")
    figure = draw_heat(asked, Clip(pixels, (0,)), heat, placement)
    picture, _ = panel(figure, 1)
    height, width = picture.shape[:2]
    assert width / height == pytest.approx(2, rel=0.02)
    assert picture[height // 4, width // 2] == pytest.approx(255 * np.array(region_colour(0)), abs=2)
    assert picture[3 * height // 4, width // 2] == pytest.approx(np.full(3, GREY * 0.45), abs=2)
    assert figure.axes[1].get_title() == "[0]  IoU 1.00"


def test_captions_are_plain_text_and_wrap() -> None:
    asked = sample(Region(Box((2, 2, 9, 9))), question="is <region> worth $5 or $6? " + "word " * 60)
    texts = [text.get_text() for text in draw_sample(asked, clip(), "a $dog").texts]
    assert texts[0].startswith("question  is [0] worth $5 or $6?")
    assert all(line.startswith(" " * 10) for line in texts[1:-2])
    assert texts[-2:] == ["answer    a cat", "model     a $dog"]
    rendered(draw_sample(asked, clip()))


def test_save_writes_a_png_in_a_new_folder(tmp_path: Path) -> None:
    path = save(draw_sample(sample(Region(Box((0, 0, 32, 32)))), clip()), tmp_path / "new" / "a.png")
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert picture.width == round((WIDEST + 2 * MARGIN) * DPI)
