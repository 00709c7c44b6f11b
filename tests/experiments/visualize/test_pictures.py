from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from rendering import has_colour, panel, rendered

from datamodules.media.clips import read_clip
from datamodules.media.mask_picture import read_mask
from datamodules.regions.drawing import region_colour
from datamodules.types import Box, Clip, Frames, NoPicture, Pixels, Region, RegionSample, Turn
from experiments.visualize.choice import Choice
from experiments.visualize.page import DPI, MARGIN, WIDEST
from experiments.visualize.pictures import draw_heat, draw_sample, save
from helpers import square_view, square_weights

GREY = 128
DIMMED = GREY * 0.45


def sample(*regions: Region, question: str = "what is <region>", frames: int = 1, size: int = 32) -> RegionSample:
    pixels = np.full((frames, size, size, 3), GREY, dtype=np.uint8)
    return RegionSample("a", Pixels(pixels), regions, (Turn(question, "a cat"),))


def clip(frames: int = 1, size: int = 32) -> Clip:
    return Clip(np.full((frames, size, size, 3), GREY, dtype=np.uint8), tuple(range(frames)))


def titles(figure: Figure) -> list[str]:
    return [axes.get_title().replace("\u00a0", " ").replace("\n", " ") for axes in figure.axes]


def lines(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def test_painted_outlines_land_on_the_boundary() -> None:
    box = (8, 12, 24, 28)
    picture, scale = panel(draw_sample(sample(Region.at(Box(box))), clip()), 0)
    colour = has_colour(picture, 0)
    x0, y0, x1, y1 = (edge * scale for edge in box)
    painted = colour[round(y0) - 3 :]  # the number stands above the box
    rows, columns = np.nonzero(painted)
    assert [columns.min(), columns.max() + 1] == pytest.approx([x0, x1], abs=2)
    assert rows.max() + 1 + round(y0) - 3 == pytest.approx(y1, abs=2)
    inside = picture[round(y0) + 4 : round(y1) - 4, round(x0) + 4 : round(x1) - 4]
    assert (inside == GREY).all()


def test_a_prompted_frame_shows_what_is_pointed_with_and_a_heat_map_where_it_is() -> None:
    """A box all around; what it holds is the left half, which the heat map fits."""
    region = Region.at(Box((0, 0, 32, 32)), track={0: Box((0, 0, 16, 32)), 1: Box((0, 0, 16, 32))})
    heat = np.zeros((2, 2, 2, 1), dtype=np.float32)
    heat[:, :, 0] = 1.0
    figure = draw_heat(sample(region, frames=2), clip(2), heat.reshape(8, 1), square_view((32, 32), 32, 2, 2))
    assert titles(figure)[2:4] == ["[0] frame 0: token IoU 1.00, peak 1.00", "[0] frame 1: token IoU 1.00, peak 1.00"]
    edges = []
    for number in range(2):
        picture, scale = panel(figure, number)
        below = has_colour(picture, 0)[round(20 * scale) :]
        edges.append((np.nonzero(below.any(0))[0].max() + 1) / scale)
    assert edges == pytest.approx([32, 16], abs=0.5)


def test_small_pictures_are_enlarged_without_blurring() -> None:
    pixels = np.zeros((1, 4, 4, 3), dtype=np.uint8)
    pixels[0, ::2] = 255
    picture, _ = panel(draw_sample(sample(size=4), Clip(pixels, (0,))), 0)
    assert set(np.unique(picture)) == {0, 255}


def test_large_frames_keep_their_geometry() -> None:
    pixels = np.zeros((1, 1080, 1920, 3), dtype=np.uint8)
    pixels[0, :, 960:] = 255
    region = Region.at(Box((960, 0, 1920, 1080)))
    figure = draw_sample(sample(region), Clip(pixels, (0,)))
    picture, scale = panel(figure, 0)
    assert picture.shape[1] / picture.shape[0] == pytest.approx(16 / 9, rel=0.01)
    left, right = round(955 * scale), round(966 * scale)
    middle = picture[picture.shape[0] // 2]
    assert middle[: left - 2].max() == 0
    assert middle[right + 3 : -6].min() == 255


def test_heat_colours_the_tokens_it_stands_for() -> None:
    heat = np.zeros((1, 2, 2, 1), dtype=np.float32)
    heat[0, 0, 1] = 1.0
    asked, view = sample(Region.at(Box((2, 20, 8, 26)))), square_view((32, 32), 32, 2)
    picture, _ = panel(draw_heat(asked, clip(), heat.reshape(4, 1), view), 1)
    height, width = picture.shape[:2]
    assert picture[height // 4, 3 * width // 4] == pytest.approx(255 * np.array(region_colour(0)), abs=2)
    assert picture[3 * height // 4, 3 * width // 4] == pytest.approx(np.full(3, DIMMED), abs=2)


def test_heat_of_a_padded_frame_lies_where_the_frame_lay() -> None:
    """A frame of 16 x 32 fills the middle two of four rows of tokens."""
    pixels = np.full((1, 16, 32, 3), GREY, dtype=np.uint8)
    heat = np.zeros((1, 4, 4, 1), dtype=np.float32)
    heat[0, 1] = 1.0
    asked = RegionSample("a", Pixels(pixels), (Region.at(Box((0, 0, 32, 8))),), (Turn("what is <region>"),))
    view = square_view((16, 32), 32, 4, fit="pad")
    figure = draw_heat(asked, Clip(pixels, (0,)), heat.reshape(16, 1), view)
    picture, _ = panel(figure, 1)
    height, width = picture.shape[:2]
    assert width == height, "heat on the padding would be hidden otherwise"
    assert picture[3 * height // 8, width // 2] == pytest.approx(255 * np.array(region_colour(0)), abs=2)
    assert picture[5 * height // 8, width // 2] == pytest.approx(np.full(3, DIMMED), abs=2)
    assert picture[height // 8, width // 2] == pytest.approx(picture[7 * height // 8, width // 2], abs=0)
    assert titles(figure)[1] == "[0] frame 0: token IoU 1.00, peak 1.00"


def test_heat_is_seen_however_unsure_the_head_is() -> None:
    """A peak of 0.15 was drawn at 0.15 of the colour; what is no more than noise stays weak."""
    colours = []
    for peak in (1.0, 0.15, 0.01):
        heat = np.zeros((1, 2, 2, 1), dtype=np.float32)
        heat[0, 0, 0] = peak
        asked = sample(Region.at(Box((0, 0, 16, 16))))
        figure = draw_heat(asked, clip(1), heat.reshape(4, 1), square_view((32, 32), 32, 2))
        picture, _ = panel(figure, 1)
        colours.append(picture[picture.shape[0] // 8, picture.shape[1] // 8])
    assert colours[0] == pytest.approx(255 * np.array(region_colour(0)), abs=2)
    assert colours[1] == pytest.approx(colours[0], abs=2)
    assert colours[2] == pytest.approx(0.1 * colours[0] + 0.9 * np.full(3, DIMMED), abs=4)  # alpha is of 8 bits


def test_heat_panels_say_how_well_they_fit() -> None:
    """Region 0 fills the left half and is lost later; region 1 is prompted on frame 1 and annotated nowhere else."""
    regions = (Region.at(Box((0, 0, 16, 32)), track={1: None}), Region.at(Box((16, 0, 32, 32)), frame=1))
    heat = np.zeros((3, 2, 2, 2), dtype=np.float32)
    heat[0, 0, :, 0] = 0.5  # the upper half instead of the left one: one token of three
    heat[1, 0, 0, 0] = 1.0
    heat[1, :, 1, 1] = 0.25
    asked = sample(*regions, question="<region0> and <region1>", frames=3)
    assert titles(draw_heat(asked, clip(3), heat.reshape(12, 2), square_view((32, 32), 32, 2, 3))) == [
        *("frame 0, prompted [0]", "frame 1, prompted [1]", "frame 2"),
        *(
            "[0] frame 0: token IoU 0.33, peak 0.50",
            "[0] frame 1: not visible, peak 1.00",
            "[0] frame 2: not annotated, peak 0.00",
        ),
        *(
            "[1] frame 0: not yet prompted, peak 0.00",
            "[1] frame 1: token IoU 1.00, peak 0.25",
            "[1] frame 2: not annotated, peak 0.00",
        ),
    ]


@pytest.mark.parametrize("brightness", [0, 255])
def test_outlines_are_seen_on_dark_and_on_bright_frames(brightness: int) -> None:
    """Between the frame and the colour of the line lies a dark halo, which a bright frame needs."""
    pixels = np.full((1, 200, 200, 3), brightness, dtype=np.uint8)
    picture, _ = panel(draw_sample(sample(Region.at(Box((50, 50, 150, 150)))), Clip(pixels, (0,))), 0)
    row = picture[picture.shape[0] // 2].astype(int)
    [first, *_] = np.flatnonzero(has_colour(row, 0))
    assert row[first - 1].max() < 30
    assert set(row[first - 3]) == {brightness}


@pytest.mark.parametrize(("frames", "regions"), [(1, 1), (1, 16), (4, 2), (5, 1), (9, 1), (16, 2)])
def test_all_frames_and_regions_have_a_panel_in_the_picture(frames: int, regions: int) -> None:
    boxes = [
        Region.at(Box((number, 0, number + 8, 8)), track=dict.fromkeys(range(1, frames))) for number in range(regions)
    ]
    heat = np.full((frames * 4, regions), 0.5, dtype=np.float32)
    figure = draw_heat(sample(*boxes, frames=frames), clip(frames), heat, square_view((32, 32), 32, 2, frames))
    rendered(figure)
    places = [axes.get_window_extent() for axes in figure.axes]
    assert len(places) == frames * (1 + regions)
    assert min(place.width for place in places) >= 140
    assert figure.bbox.width < 1410
    for number, place in enumerate(places):
        inside = figure.bbox.contains(place.x0 + 1, place.y0 + 1) and figure.bbox.contains(place.x1 - 1, place.y1 - 1)
        assert inside
        assert not any(place.overlaps(other) for other in places[:number])
    for axes, following in pairwise(figure.axes):
        if axes.get_window_extent().y0 == following.get_window_extent().y0:
            assert axes.title.get_window_extent().x1 < following.title.get_window_extent().x0


def test_numbers_are_drawn_on_the_colour_of_their_region() -> None:
    boxes = [Region.at(Box((4 + 9 * number, 12, 10 + 9 * number, 20))) for number in range(3)]
    picture, scale = panel(draw_sample(sample(*boxes), clip()), 0)
    for number in range(3):
        above = picture[round(12 * scale) - 13 : round(12 * scale) - 3]
        columns = np.flatnonzero(has_colour(above, number).any(0))
        assert columns.min() == pytest.approx((4 + 9 * number) * scale, abs=2)


def test_every_word_of_a_long_caption_is_in_the_picture() -> None:
    words = [f"word{number}" for number in range(400)]
    asked = sample(Region.at(Box((2, 2, 9, 9))), question=" ".join(words))
    figure = draw_sample(asked, clip(), "well " * 99)
    shown = " ".join(lines(figure)).split()
    assert [word for word in shown if word.startswith("word")] == words
    assert shown.count("well") == 99
    rendered(figure)
    for text in figure.texts:
        place = text.get_window_extent()
        assert place.x0 >= 0 and place.x1 <= figure.bbox.width and place.y0 >= 0, text.get_text()


def test_captions_are_plain_text() -> None:
    asked = sample(Region.at(Box((2, 2, 9, 9))), question="is <region> worth $5 or $6?")
    found = lines(draw_sample(asked, clip(), "a $dog"))
    assert found == ["sample", "a", "question", "is [0] worth $5 or $6?", "answer", "a cat", "model", "a $dog"]


def test_all_right_answers_and_earlier_turns_are_written() -> None:
    turns = (Turn("what is <region>", "a cat"), Turn("and what does it", "sleeps", ("sleeps", "it rests")))
    asked = RegionSample("a", Pixels(clip().pixels), (Region.at(Box((2, 2, 9, 9))),), turns)
    found = [line for line in lines(draw_sample(asked, clip())) if line not in ("sample", "a", "question", "answer")]
    assert found == ["what is [0]", "a cat", "and what does it", "sleeps", "it rests"]


def test_options_are_listed_without_a_model_and_judged_with_one() -> None:
    asked = RegionSample("a", Pixels(clip().pixels), (), (Turn("?"),), options=("red", "<region0>"), label=1)
    assert lines(draw_sample(asked, clip()))[4:] == ["red", "(1) ", "options", "", "[0]", "(2) ", "right", ""]
    choice = Choice(("red", "[0]"), 1, 0, (0.75, 0.25))
    assert "0.75 chosen" in lines(draw_sample(asked, clip(), "red", choice))


def test_a_conversation_without_a_picture_has_no_panels() -> None:
    nothing = Clip(np.zeros((0, 1, 1, 3), dtype=np.uint8), ())
    figure = draw_sample(RegionSample("a", NoPicture(), (), (Turn("who?", "me"),)), nothing)
    rendered(figure)
    assert not figure.axes
    assert lines(figure)[-1] == "me"


def test_save_writes_a_png_in_a_new_folder(tmp_path: Path) -> None:
    path = save(draw_sample(sample(Region.at(Box((0, 0, 32, 32)))), clip()), tmp_path / "new" / "a.png")
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert picture.width == round((WIDEST + 2 * MARGIN) * DPI)


@pytest.mark.real_data
def test_a_real_video_with_a_mask_on_every_frame(real_data: Path) -> None:
    """Heat that is the mask itself fits where it is; masks are outlined at their place in the picture."""
    paths = tuple(sorted((real_data / "dam_video" / "frames").iterdir()))
    masks = [read_mask(str(path)) for path in sorted((real_data / "dam_video" / "masks").iterdir())]
    asked = RegionSample("dam", Frames(paths), (Region({0: masks[0]}, dict(enumerate(masks))),), (Turn("<region>?"),))
    seen = read_clip(asked.media, 12, [0])
    heat = square_weights(asked.regions, seen.frames, (1080, 1920), 336, 24).guide.reshape(-1, 1)
    figure = draw_heat(asked, seen, heat, square_view((1080, 1920), 336, 24, 12))
    assert [title for title in titles(figure) if "IoU 1.00" in title] == titles(figure)[12:]
    for frame in range(0, 12, 4):
        picture, scale = panel(figure, frame)
        rows, columns = (np.flatnonzero(has_colour(picture, 0).any(axis)) for axis in (1, 0))
        inside = np.asarray(Image.open(real_data / "dam_video" / "masks" / f"{frame:05}_mask_1.png")) > 0
        x, y = (np.flatnonzero(inside.any(axis)) * scale for axis in (0, 1))
        assert columns.max() == pytest.approx(x.max(), abs=3)
        assert rows.max() == pytest.approx(y.max(), abs=3)


@pytest.mark.real_data
def test_a_thin_bicycle_and_its_rider_are_outlined(real_data: Path) -> None:
    bike = real_data / "cutie"
    regions = tuple(Region.at(read_mask(f"{bike}/masks/bike/00000.png:{number}")) for number in (1, 2))
    asked = RegionSample("bike", Frames((bike / "images/bike/00000.jpg",)), regions, (Turn("<region0> <region1>"),))
    picture, scale = panel(draw_sample(asked, read_clip(asked.media, 1, [0])), 0)
    values = np.asarray(Image.open(bike / "masks/bike/00000.png"))
    for number in range(2):
        y, x = np.nonzero(values == number + 1)
        seen = has_colour(picture[: round((y.max() + 2) * scale), : round((x.max() + 4) * scale)], number)
        columns = np.flatnonzero(seen[round(y.min() * scale) :].sum(0) > 1)
        assert columns.min() == pytest.approx(x.min() * scale, abs=4)
        assert columns.max() == pytest.approx(x.max() * scale, abs=4)
