"""Pictures of samples: regions outlined on their frames, what was asked and answered, and the guide head's heat map.

Letters: T frames of the clip, V visual tokens of it, N regions.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from datamodules.regions.drawing import region_colour, shown_on
from datamodules.regions.footprints import View
from datamodules.types import Clip, RegionSample
from experiments.visualize.caption import Caption, Paragraph
from experiments.visualize.choice import Choice
from experiments.visualize.heat import RULE, draw_heat_map, extent_of, verdict
from experiments.visualize.lettering import DPI
from experiments.visualize.option_bars import CHOSEN, RIGHT, OptionBars
from experiments.visualize.outlines import draw_numbers, draw_outline, mask_of, shrunk
from experiments.visualize.page import FAINT, INK, PAPER, WIDEST, Block, Panels, stack
from metrics.predictions import spell_regions

FRAME_COLUMNS, HEAT_COLUMNS = 4, 8


def draw_sample(
    sample: RegionSample, clip: Clip, prediction: str | None = None, choice: Choice | None = None
) -> Figure:
    """The frames with all regions outlined and numbered, and below them question, answer, prediction and options.

    Outlined is what the user points with on prompted frames, and elsewhere where a region is known to be.

    Args:
        sample: What was asked.
        clip: The frames that were read of its media.
        prediction: What a model answered.
        choice: What it made of the options.
    """
    frames = _frame_panels(sample, clip)
    page = _page([frames], sample, prediction, choice, "")
    _draw_frames(frames.panels, sample, clip)
    return page


def draw_heat(
    sample: RegionSample,
    clip: Clip,
    heat: NDArray[np.float32],
    view: View,
    prediction: str | None = None,
    choice: Choice | None = None,
) -> Figure:
    """As `draw_sample`, and then for each region how sure the guide head is of it, token by token.

    The stronger its colour, the surer; the true mask is outlined in white. Above stands the IoU in tokens, as
    `experiments.visualize.heat` counts it. A video has rows of its own for each region, an image a panel.

    Args:
        sample: What was asked.
        clip: The frames that were read of its media.
        heat: (V, N), probability of each region's mark at each visual token of the clip.
        view: Which pixels and frames the tokens cover; those that it does not show are not drawn.
        prediction: What a model answered.
        choice: What it made of the options.
    """
    heats = [view.on_frame(heat, time) for time in range(len(clip.frames))]
    blocks = _heat_panels(sample, clip, heats, view)
    page = _page(blocks, sample, prediction, choice, RULE)
    panels = [axes for block in blocks for axes in block.panels]
    _draw_frames(panels[: len(clip.frames)], sample, clip)
    _draw_heat_maps(panels[len(clip.frames) :], sample, clip, heats, view)
    return page


def save(figure: Figure, path: Path) -> Path:
    """Writes the picture as PNG, makes its folder first, and returns `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI, facecolor=PAPER)
    return path


def _frame_panels(sample: RegionSample, clip: Clip) -> Panels:
    height, width = _size(clip)
    return Panels(_headings(sample, clip), _even_columns(len(clip.frames), FRAME_COLUMNS), width / height)


def _heat_panels(sample: RegionSample, clip: Clip, heats: Sequence[NDArray[np.float32]], view: View) -> list[Panels]:
    """The frames' panels, then those of the heat maps region by region; of an image all together if they are alike."""
    left, right, bottom, top = extent_of(view)
    aspect = (right - left) / (bottom - top)
    titles = [
        [
            f"[{number}]\u00a0frame\u00a0{frame}: {verdict(region, frame, heats[time][..., number], view)}"
            for time, frame in enumerate(clip.frames)
        ]
        for number, region in enumerate(sample.regions)
    ]
    frames = _frame_panels(sample, clip)
    if len(clip.frames) > 1:
        columns = _even_columns(len(clip.frames), HEAT_COLUMNS)
        return [frames, *(Panels(row, columns, aspect) for row in titles)]
    of_image = [title for [title] in titles]
    if (view.placement.height, view.placement.width) == view.placement.canvas:
        together = [*_headings(sample, clip), *of_image]
        return [Panels(together, min(len(together), FRAME_COLUMNS), aspect)]
    return [frames, Panels(of_image, min(len(of_image), FRAME_COLUMNS), aspect)]


def _even_columns(panels: int, most: int) -> int:
    """As few rows as `most` columns need, and those filled evenly."""
    rows = max(1, -(-panels // most))
    return max(1, -(-panels // rows))


def _headings(sample: RegionSample, clip: Clip) -> list[str]:
    return [_heading(sample, frame) for frame in clip.frames]


def _heading(sample: RegionSample, frame: int) -> str:
    prompted = [number for number, region in enumerate(sample.regions) if region.prompted_on(frame) is not None]
    if not prompted:
        return f"frame {frame}"
    which = "" if len(prompted) == len(sample.regions) else "".join(f" [{number}]" for number in prompted)
    return f"frame {frame}, prompted{which}"


def _page(
    panels: list[Panels], sample: RegionSample, prediction: str | None, choice: Choice | None, heat_rule: str
) -> Figure:
    width = max(WIDEST, *(block.width for block in panels))
    blocks: list[Block] = [*panels, Caption(_paragraphs(sample, prediction, heat_rule), width)]
    if sample.options:
        labelled = choice or Choice(tuple(map(spell_regions, sample.options)), sample.label)
        blocks.append(OptionBars(labelled, width))
    return stack(blocks, width)


def _paragraphs(sample: RegionSample, prediction: str | None, heat_rule: str) -> list[Paragraph]:
    paragraphs = [Paragraph("heat", heat_rule, FAINT)] if heat_rule else []
    paragraphs.append(Paragraph("sample", f"{sample.id}   {sample.group}".rstrip(), FAINT))
    for turn in sample.conversation:
        paragraphs.append(Paragraph("question", spell_regions(turn.question), INK))
        if answers := turn.references or (turn.answer,) * bool(turn.answer):
            paragraphs.append(Paragraph("answer", spell_regions("\n".join(answers)), RIGHT))
    if prediction is not None:
        paragraphs.append(Paragraph("model", spell_regions(prediction), CHOSEN))
    return paragraphs


def _draw_frames(panels: list[Axes], sample: RegionSample, clip: Clip) -> None:
    source = _size(clip)
    for axes, frame, pixels in zip(panels, clip.frames, clip.pixels, strict=True):
        extent = (0, source[1], source[0], 0)
        shown = _shown_size(axes, source)
        axes.imshow(shrunk(pixels, shown), extent=extent, interpolation="nearest")
        axes.apply_aspect()  # the panel takes the frame's shape only now, and labels are measured on it
        masks = [mask_of(shown_on(region, frame), source, shown) for region in sample.regions]
        for number, mask in enumerate(masks):
            draw_outline(axes, mask, extent, region_colour(number))
        draw_numbers(axes, masks)


def _draw_heat_maps(
    panels: list[Axes], sample: RegionSample, clip: Clip, heats: Sequence[NDArray[np.float32]], view: View
) -> None:
    """Args: panels: All frames of the first region, then those of the second, and so on."""
    shown = _shown_size(panels[0], view.placement.source)
    frames = [shrunk(pixels, shown) for pixels in clip.pixels]
    for axes, (number, time) in zip(panels, np.ndindex(len(sample.regions), len(frames)), strict=True):
        truth = mask_of(sample.regions[number].track.get(clip.frames[time]), view.placement.source, shown)
        draw_heat_map(axes, frames[time], truth, heats[time][..., number], view, region_colour(number))


def _size(clip: Clip) -> tuple[int, int]:
    height, width = clip.pixels.shape[1:3]
    return height, width


def _shown_size(axes: Axes, source: tuple[int, int]) -> tuple[int, int]:
    """Height and width at which a frame is drawn: its own, or those of its place in the panel where that is smaller.

    What is drawn pixel by pixel stays sharp, and matplotlib takes seconds to shrink what Pillow shrinks at once.
    """
    panel = axes.get_window_extent()
    scale = min(1.0, panel.width / source[1], panel.height / source[0])
    return max(1, round(source[0] * scale)), max(1, round(source[1] * scale))
