"""What a base model makes of the frames of a clip: the data half of a base, which the loader's workers run.

Letters: T frames of a clip, V visual tokens of it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, TypeVar, get_args, get_origin, get_type_hints

import torch
import torch.nn.functional as F

from datamodules.errors import DataError
from datamodules.regions.footprints import View
from datamodules.regions.placement import Resample
from datamodules.types import Clip


@dataclass(frozen=True, slots=True)
class Run:
    """What stands for a picture in the prompt: a special token, `count` times, or plain text such as a timestamp."""

    text: str
    count: int = 1
    special: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class VisualPrompt:
    """A clip as a base model takes it.

    Attributes:
        inputs: The model's own inputs by name, for this clip alone, as they travel: see `VisualProcessor.model_inputs`;
            empty without a picture.
        text: What stands for the clip in the prompt, visual tokens included, in order.
        views: Which pixels and frames each visual token covers.
        tokens: V.
    """

    inputs: dict[str, torch.Tensor]
    text: tuple[Run, ...]
    views: tuple[View, ...]
    tokens: int


class VisualProcessor(ABC):
    """Turns decoded frames into a base model's own inputs; small and picklable, it travels to the loader's workers.

    A clip of one frame is an image, a longer one a video, whatever it was read from; one of none is no picture at all.

    Pixels travel to the model as uint8, a byte each, and are normalised where it is: `model_inputs`.

    Attributes:
        any_size: Whether a frame's size decides how many visual tokens it has.
        placeholder: What the base's chat template writes for a picture.
        may_be_zero: The settings that may; all other numbers are larger.
        image_mean: Of the normalisation, red, green and blue; only read where there are uint8 inputs.
        image_std: Of the normalisation.
    """

    any_size: ClassVar[bool] = True
    placeholder: ClassVar[str]
    may_be_zero: ClassVar[frozenset[str]] = frozenset({"image_mean"})
    image_mean: tuple[float, float, float]
    image_std: tuple[float, float, float]

    def __call__(self, clip: Clip) -> VisualPrompt:
        """The clip as the model takes it.

        Raises:
            DataError: The model cannot take frames of this size, or so many.
        """
        if not clip.frames:
            return VisualPrompt({}, (), (), 0)
        return self.image(clip) if len(clip.frames) == 1 else self.video(clip)

    @abstractmethod
    def image(self, clip: Clip) -> VisualPrompt:
        """A clip of one frame."""

    @abstractmethod
    def video(self, clip: Clip) -> VisualPrompt:
        """A clip of several frames."""

    @abstractmethod
    def prompt_tokens(self, frames: int, size: tuple[int, int]) -> int:
        """Most tokens in the prompt for so many frames of a `size` (height, width), known before they are decoded."""

    def collate(self, clips: Sequence[VisualPrompt]) -> dict[str, torch.Tensor]:
        """The model's inputs for a batch of clips, in order: one after the other unless a model wants it otherwise."""
        names = {name: None for clip in clips for name in clip.inputs}
        return {name: torch.cat([clip.inputs[name] for clip in clips if name in clip.inputs]) for name in names}

    def model_inputs(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """A batch's inputs as the model takes them: its uint8 pixels normalised, float32, on the device they are on."""
        taken = dict(inputs)
        for name, value in inputs.items():
            if value.dtype == torch.uint8:
                taken[name] = value.float()
                normalise(self.by_channel(taken[name]), self.image_mean, self.image_std)
        return self.padded(taken)

    def by_channel(self, pixels: torch.Tensor) -> torch.Tensor:
        """A view of pixels whose third dimension from the end is the channel: (..., 3, H, W) have it already."""
        return pixels

    def padded(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Gives normalised pixels the padding that the model knows; most have none."""
        return inputs


Processor = TypeVar("Processor", bound=VisualProcessor)


def configured(
    kind: type[Processor],
    defaults: Mapping[str, Any],
    settings: Mapping[str, Any],
    built_in: Mapping[str, Any] | None = None,
) -> Processor:
    """A visual processor: what settings say by the names of its attributes, over its family's `defaults`.

    Args:
        kind: Of the processor.
        defaults: Its family's.
        settings: A checkpoint's and a user's; other names than the attributes' are not read.
        built_in: What the model itself was built with, whatever the settings say.

    Raises:
        DataError: A value of another type or not above zero, a least that is more than its most, or one that the model
            was not built with.
    """
    names = setting_names(kind)
    said = {name: _frozen(value) for name, value in settings.items() if name in names and value is not None}
    if "resample" in said:
        said["resample"] = resampling(said["resample"])
    hints = get_type_hints(kind)
    for name, value in said.items():
        if not _is_a(value, hints[name], zero=name in kind.may_be_zero):
            wanted = " or ".join(get_args(hints[name])) if get_origin(hints[name]) is Literal else "numbers above zero"
            raise DataError(f"{name} is {value!r}, but it takes {'true or false' if hints[name] is bool else wanted}")
    model = {name: _frozen(value) for name, value in (built_in or {}).items()}
    for name in sorted(model.keys() & said.keys()):
        if said[name] != model[name]:
            raise DataError(f"{name} is {said[name]}, but the model was built with {model[name]}")
    processor = kind(**{**{name: _frozen(value) for name, value in defaults.items()}, **said, **model})
    for least in (name for name in names if name.startswith("min_")):
        most = least.replace("min_", "max_", 1)
        if getattr(processor, least) > getattr(processor, most):
            raise DataError(f"{least} is {getattr(processor, least)}, but {most} is {getattr(processor, most)}")
    return processor


def setting_names(kind: type[VisualProcessor]) -> tuple[str, ...]:
    """What can be set of a kind of processor."""
    return tuple(field.name for field in fields(kind))  # type: ignore[arg-type]  # every one of them is a dataclass


def _is_a(value: Any, hint: Any, zero: bool) -> bool:
    """Whether a setting is what its attribute is annotated with, its numbers above zero, or zero where that may be."""
    kind, parts = get_origin(hint), get_args(hint)
    if kind is Literal:
        return value in parts
    if kind is tuple:
        if not isinstance(value, tuple):
            return False
        kinds = parts[:1] * len(value) if parts[-1] is Ellipsis else parts
        return len(value) == len(kinds) and all(_is_a(one, part, zero) for one, part in zip(value, kinds, strict=True))
    if parts:
        return any(_is_a(value, part, zero) for part in parts)
    if hint is bool or isinstance(value, bool):
        return hint is bool and isinstance(value, bool)
    number = isinstance(value, int | float if hint is float else hint)
    return number and (0 < value < math.inf or (zero and value == 0))


def _frozen(value: Any) -> Any:
    """Lists, as JSON and YAML have them, as tuples."""
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value


def side_of(size: Mapping[str, int] | int | None) -> int | None:
    """The side of a square in pixels from a checkpoint's `size`, however it is written; None where it says nothing."""
    if size is None or isinstance(size, int):
        return size
    return next((size[name] for name in ("height", "shortest_edge", "longest_edge") if size.get(name)), None)


def most_tokens(runs: Iterable[Run]) -> int:
    """Most tokens that runs have: plain text has at most one a byte, and one for a space that tokenizers put before."""
    return sum(run.count if run.special else run.count * len(run.text.encode()) + 1 for run in runs)


def cut(pixels: torch.Tensor, side: int) -> torch.Tensor:
    """(T, 3, H, W) -> (T * tiles, 3, side, side): each frame's tiles in raster order."""
    rows, columns = (extent // side for extent in pixels.shape[2:])
    tiles = pixels.view(-1, 3, rows, side, columns, side).permute(0, 2, 4, 1, 3, 5)
    return tiles.reshape(-1, 3, side, side)


def concatenated(tensors: Sequence[torch.Tensor], fill: float = 0.0) -> torch.Tensor:
    """Tensors of unequal second dimension one after the other, `fill` behind the shorter ones."""
    longest = max(tensor.shape[1] for tensor in tensors)
    missing = [[0, 0] * (tensor.dim() - 2) + [0, longest - tensor.shape[1]] for tensor in tensors]
    return torch.cat([F.pad(tensor, pad, value=fill) for tensor, pad in zip(tensors, missing, strict=True)])


def normalise(pixels: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> None:
    """(..., 3, H, W) float32 from 0 to 255, changed in place: over 255, less the mean, over the standard deviation.

    Numbers are filled in on the device, which nothing has to wait for. They are tensors because a GPU divides by these
    as a CPU does; by a number it multiplies with the reciprocal, and the last bit is another.
    """

    def channels(values: Sequence[float]) -> torch.Tensor:
        return torch.stack([pixels.new_full((1, 1), value) for value in values])

    pixels.div_(pixels.new_full((), 255)).sub_(channels(mean)).div_(channels(std))


RESAMPLING: dict[object, Resample] = {1: "lanczos", 2: "bilinear", 3: "bicubic"}
"""Pillow's numbers, as they stand in a checkpoint's settings."""


def resampling(value: object) -> Resample:
    """How frames are resized, from a checkpoint's settings: Pillow's number, or the name.

    Raises:
        DataError: A kind that is none of ours.
    """
    found = RESAMPLING.get(value, value)
    if found not in RESAMPLING.values():
        raise DataError(f"resample is {value!r}, but frames are resized by {', '.join(RESAMPLING.values())}")
    return found  # type: ignore[return-value]  # one of the values


def fill_colour(mean: tuple[float, float, float]) -> tuple[int, int, int]:
    """The colour that padding has: the mean, zero once normalised."""
    red, green, blue = (round(255 * value) for value in mean)
    return red, green, blue
