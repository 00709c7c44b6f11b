"""Pictures, regions and questions -> what `modeling_token_mark.py` takes, for transformers alone.

A region is a box or a mask on one frame, or on several. It is named in the text as `<region0>`, `<region1>`, ..., or
`<region>` where there is one.

Letters: T frames of a clip, V visual tokens of it, N regions, H x W pixels of the canvas that the model sees, R x C
visual tokens of a layer of it, B samples, L tokens of a row.
"""

from __future__ import annotations

import hashlib
import math
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, ImageOps
from tokenizers import AddedToken, Tokenizer
from transformers import BatchFeature, ProcessorMixin
from transformers.image_utils import load_image

REGION = "<region>"
LEAST_AREA = 1e-4  # square pixels of the frame that a region has at least
OVERHANG = 1.0  # pixels a box may reach over the frame's edge, where it is cut
PLACEHOLDER = re.compile(r"<region(\d*)>", re.ASCII)

Geometry = Mapping[str, Any]
"""`{"box": [x0, y0, x1, y1]}` in pixels, half-open, or `{"mask": (height, width) bool}`."""

# --- what an image or a clip becomes --------------------------------------------------------------------------------


class Run(NamedTuple):
    """What stands for a picture in the prompt: a special token, `repeats` times, or plain text such as a timestamp.

    Attributes:
        text: Of it.
        repeats: How often.
        special: Whether it is a special token.
        kind: What it stands for: 1 for a visual token of an image, 2 of a video, 0 for none.
    """

    text: str
    repeats: int = 1
    special: bool = True
    kind: int = 0


class Seen(NamedTuple):
    """A clip as the model takes it.

    Attributes:
        inputs: The model's own inputs.
        runs: What stands for the clip in the prompt.
        canvas: (height, width) that frames are brought to.
        place: (top, left, height, width) of a frame on it.
        rows: R spans of pixels of the visual tokens.
        columns: C spans.
        layers: The frames, counted in the clip, that each layer of visual tokens covers.
        leading: Visual tokens before those of each layer, which cover nothing.
    """

    inputs: dict[str, torch.Tensor]
    runs: tuple[Run, ...]
    canvas: tuple[int, int]
    place: tuple[int, int, int, int]
    rows: tuple[tuple[int, int], ...]
    columns: tuple[tuple[int, int], ...]
    layers: tuple[tuple[int, ...], ...]
    leading: int = 0


def square(frames: NDArray[np.uint8], numbers: Sequence[int], settings: Mapping[str, Any]) -> Seen:
    """LLaVA's form: each frame on a square of patches, of which `merge` x `merge` are a visual token."""
    side, patch, merge, leading = (settings[name] for name in ("side", "patch", "merge", "leading"))
    height, width = frames.shape[1:3]
    place = (0, 0, side, side)
    if settings["fit"] == "pad":
        scale = side / max(height, width)
        inside = [max(1, round(extent * scale)) for extent in (height, width)]
        place = ((side - inside[0]) // 2, (side - inside[1]) // 2, inside[0], inside[1])
    patches = side // patch
    bounds = [patch * min(count, patches) for count in range(0, patches + merge, merge)]
    spans = tuple(pairwise(bounds))
    layers = tuple((time,) for time in range(len(frames)))
    fill = [round(255 * value) for value in settings["image_mean"]]
    pixels = normalised(resized(frames, (side, side), place, fill, settings["resample"]), settings)
    run = Run("<image>", len(frames) * (leading + len(spans) ** 2), kind=1)
    return Seen({"pixel_values": pixels}, (run,), (side, side), place, spans, spans, layers, leading)


def resized(
    frames: NDArray[np.uint8],
    canvas: tuple[int, int],
    place: tuple[int, int, int, int],
    fill: Sequence[int],
    resample: str,
) -> torch.Tensor:
    """(T, H, W, 3) uint8 -> (T, 3, height, width) uint8 on the canvas."""
    pixels = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)
    top, left, height, width = place
    if frames.shape[1:3] != (height, width):
        pixels = F.interpolate(pixels, (height, width), mode=resample, antialias=True)
    if (height, width) == canvas:
        return pixels
    padded = torch.tensor(fill, dtype=torch.uint8).view(1, 3, 1, 1).repeat(len(frames), 1, *canvas)
    padded[:, :, top : top + height, left : left + width] = pixels
    return padded


def normalised(pixels: torch.Tensor, settings: Mapping[str, Any]) -> torch.Tensor:
    """(T, 3, H, W) uint8 -> float32, less the mean, over the standard deviation."""
    mean, std = (torch.tensor(settings[name]).view(1, 3, 1, 1) for name in ("image_mean", "image_std"))
    return (pixels.float() / 255 - mean) / std


START, IMAGE, VIDEO, END = "<|vision_start|>", "<|image_pad|>", "<|video_pad|>", "<|vision_end|>"
FRAMES_A_SECOND = 24.0  # where nothing says how fast frames follow each other


def pairs(frames: NDArray[np.uint8], numbers: Sequence[int], settings: Mapping[str, Any]) -> Seen:
    """Qwen3-VL: frames of any size in pairs, each with its time before it, cut into merged patches."""
    patch, merge, pair = (settings[name] for name in ("patch_size", "merge_size", "temporal_patch_size"))
    canvas = _canvas(len(frames), (frames.shape[1], frames.shape[2]), settings)
    pixels = normalised(resized(frames, canvas, (0, 0, *canvas), (0, 0, 0), settings["resample"]), settings)
    shown = list(range(len(frames)))
    shown += [shown[-1]] * (-len(shown) % pair)
    layers = tuple(tuple(shown[start : start + pair]) for start in range(0, len(shown), pair))
    rows, columns = (side // patch for side in canvas)
    split = pixels[shown].view(-1, pair, 3, rows // merge, merge, patch, columns // merge, merge, patch)
    patches = split.permute(0, 3, 6, 4, 7, 2, 1, 5, 8).reshape(-1, 3 * pair * patch * patch)
    grid, cells = torch.tensor([[len(layers), rows, columns]]), (rows // merge) * (columns // merge)
    if len(frames) == 1:
        inputs = {"pixel_values": patches, "image_grid_thw": grid}
        runs = [Run(START), Run(IMAGE, cells, kind=1), Run(END)]
    else:
        inputs = {"pixel_values_videos": patches, "video_grid_thw": grid}
        runs = [Run(START)]
        for layer in layers:
            seconds = (numbers[layer[0]] + numbers[layer[-1]]) / FRAMES_A_SECOND / 2
            runs += [Run(f"<{seconds:.1f} seconds>", special=False), Run(START), Run(VIDEO, cells, kind=2), Run(END)]
        runs.append(Run(END))
    step = patch * merge
    spans = [tuple((start, start + step) for start in range(0, side, step)) for side in canvas]
    return Seen(inputs, tuple(runs), canvas, (0, 0, *canvas), spans[0], spans[1], layers)


def _canvas(frames: int, size: tuple[int, int], settings: Mapping[str, Any]) -> tuple[int, int]:
    """(height, width) that frames are resized to: whole cells, within the bounds of pixels, of all frames together."""
    cell, pair = settings["patch_size"] * settings["merge_size"], settings["temporal_patch_size"]
    height, width = size
    if max(size) > 200 * min(size):
        raise ValueError(f"a frame of {height} x {width} is over 200 times as long as it is narrow")
    video = "video_" if frames > 1 else ""
    least, most = settings[f"min_{video}pixels"], settings[f"max_{video}pixels"]
    shown = pair * round(frames / pair) if frames > 1 else 1
    if frames > 1 and min(size) < cell:
        scale = max(cell / height, cell / width)
        height, width = int(height * scale), int(width * scale)
    rows, columns = (round(side / cell) * cell for side in (height, width))
    if shown * rows * columns > most:
        shrink = math.sqrt(frames * height * width / most)
        height, width = (max(cell, math.floor(side / shrink / cell) * cell) for side in (height, width))
    elif shown * rows * columns < least:
        grow = math.sqrt(least / (frames * height * width))
        height, width = (max(cell, math.ceil(side * grow / cell) * cell) for side in (height, width))
    else:
        height, width = rows, columns
    return height, width


VISION = {"llava": square, "qwen3_vl": pairs}
"""What frames become, by the `model_type` of the base."""

# --- regions on visual tokens ---------------------------------------------------------------------------------------


def coverage(
    regions: Sequence[Mapping[int, Geometry]], numbers: Sequence[int], source: tuple[int, int], seen: Seen
) -> NDArray[np.float32]:
    """Eq. 1: the share of each visual token that a region's mark gets, `mean of m_i / max(1, sum_j m_j)`.

    The share is taken pixel by pixel on the canvas and then averaged over a token's pixels and frames.

    Args:
        regions: What each is pointed at with, by frame.
        numbers: The frames of the clip.
        source: (height, width) of a frame.
        seen: What the clip became.

    Returns:
        (V, N) float32.
    """
    shares = [_shares(regions, number, source, seen) for number in numbers]
    cells, empty = len(seen.rows) * len(seen.columns), np.zeros((seen.leading, len(regions)), np.float32)
    layers = [np.mean([shares[time] for time in times], axis=0).reshape(cells, len(regions)) for times in seen.layers]
    return np.concatenate([part.astype(np.float32) for layer in layers for part in (empty, layer)])


def _shares(
    regions: Sequence[Mapping[int, Geometry]], number: int, source: tuple[int, int], seen: Seen
) -> NDArray[np.float32]:
    """(R, C, N) on one frame."""
    found = np.zeros((len(seen.rows), len(seen.columns), len(regions)), np.float32)
    shown = [index for index, prompts in enumerate(regions) if number in prompts]
    if shown:
        pixels = np.stack([_on_canvas(regions[index][number], source, seen, index, number) for index in shown])
        pixels /= np.maximum(pixels.sum(0), 1.0)
        for spans, axis in ((seen.rows, 1), (seen.columns, 2)):
            means = [pixels.take(range(*span), axis).mean(axis, keepdims=True) for span in spans]
            pixels = np.concatenate(means, axis)
        found[..., shown] = np.moveaxis(pixels, 0, 2)
    return found


def _on_canvas(
    geometry: Geometry, source: tuple[int, int], seen: Seen, region: int, number: int
) -> NDArray[np.float32]:
    """The share of every pixel of the canvas that a region covers."""
    top, left, height, width = seen.place
    where = f"region {region} on frame {number}"
    if set(geometry) == {"box"}:
        covered = _box(geometry["box"], source, (height, width), where)
    elif set(geometry) == {"mask"}:
        covered = _mask(np.asarray(geometry["mask"]), source, (height, width), where)
    else:
        raise ValueError(f"{where} has {sorted(geometry)}: it takes 'box' or 'mask'")
    canvas = np.zeros(seen.canvas, np.float32)
    canvas[top : top + height, left : left + width] = covered
    return canvas


def _box(box: Sequence[float], source: tuple[int, int], target: tuple[int, int], where: str) -> NDArray[np.float32]:
    height, width = source
    if len(box) != 4 or not np.isfinite(np.asarray(box, np.float64)).all():
        raise ValueError(f"{where}: box {list(box)} is not four finite numbers x0, y0, x1, y1")
    x0, y0, x1, y1 = map(float, box)
    inside = max(0.0, min(x1, width) - max(x0, 0)) * max(0.0, min(y1, height) - max(y0, 0))
    if not (x0 < x1 and y0 < y1) or inside < LEAST_AREA:
        raise ValueError(f"{where}: box {[x0, y0, x1, y1]} is inverted, or covers {inside:g} pixels of the frame")
    if min(x0, y0) < -OVERHANG or x1 > width + OVERHANG or y1 > height + OVERHANG:
        raise ValueError(f"{where}: box {[x0, y0, x1, y1]} lies outside the frame of width {width}, height {height}")
    return np.outer(_interval(y0, y1, height, target[0]), _interval(x0, x1, width, target[1]))


def _interval(start: float, end: float, source: int, target: int) -> NDArray[np.float32]:
    """Share of each of `target` bins covered by [start, end) of a line of `source` pixels."""
    clipped = np.clip(np.arange(target + 1, dtype=np.float64), start * target / source, end * target / source)
    return np.diff(clipped).astype(np.float32)


def _mask(mask: NDArray[Any], source: tuple[int, int], target: tuple[int, int], where: str) -> NDArray[np.float32]:
    if mask.shape != source:
        raise ValueError(f"{where}: a mask of shape {mask.shape} on a frame of {source} (height, width)")
    if not mask.any():
        raise ValueError(f"{where}: the mask is empty")
    by_row, by_column = (torch.from_numpy(_areas(*sizes)) for sizes in zip(source, target, strict=True))
    covered: NDArray[np.float32] = (by_row @ torch.from_numpy((mask > 0).astype(np.float32)) @ by_column.T).numpy()
    return covered


def _areas(source: int, target: int) -> NDArray[np.float32]:
    """(target, source): the share of each target bin that each source pixel fills."""
    edges = np.arange(target + 1, dtype=np.float64)[:, None]
    filled = np.clip(edges, np.arange(source) * target / source, np.arange(1, source + 1) * target / source)
    return np.diff(filled, axis=0).astype(np.float32)


# --- text -> ids ----------------------------------------------------------------------------------------------------

ANCHOR = "<region><region>"  # stands for any special token; no text has it, there `<region>` is a mention
NOTHING, SPECIAL, TEXT = ("",), (ANCHOR,), (":", "\ue000", "\n")
"""What may stand before a stretch of text; the first that the tokenizer does not join to it is taken."""


class Words:
    """Text between special tokens as the tokenizer gives it where the text stands.

    Args:
        tokenizer: With `<region>` and what stands for pictures.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.special = {index: token for index, token in tokenizer.added_tokens_decoder.items() if token.special}
        self.ids = {token.content: index for index, token in self.special.items()}
        self._never = self.special.keys() - {tokenizer.unk_token_id}
        names = sorted(self.ids, key=len, reverse=True)
        self._split = re.compile(f"({'|'.join(map(re.escape, names))})")
        # a twin that reads no special token in a text, and tells where tokens lie, white space included
        self._twin = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._twin.no_truncation()
        self._twin.no_padding()
        self._twin.post_processor = None
        self._twin.add_tokens([AddedToken(ANCHOR, normalized=False, special=False)])

    def parsed(self, text: str) -> list[tuple[str, int | None]]:
        """Text and special tokens of a template, in order."""
        return [(piece, self.ids.get(piece)) for piece in self._split.split(text) if piece]

    def encode(self, text: str, before: Sequence[str], stops: Sequence[int] = ()) -> list[list[int]]:
        """Ids of the parts of a stretch that `stops` divide it into; no token reaches over a stop."""
        self._twin.encode_special_tokens = True
        for context in before:
            encoding = self._twin.encode(context + text, add_special_tokens=False)
            places = [(start - len(context), end - len(context)) for start, end in encoding.offsets]
            if not _over(0, places):
                break
        else:
            raise ValueError(f"the tokenizer joins {text!r} to whatever stands before it")
        if not self._never.isdisjoint(encoding.ids):
            raise ValueError(f"the tokenizer finds a special token in {text!r}")
        for number, stop in enumerate(stops):
            if _over(stop, places):
                later = [place - stop for place in stops[number + 1 :]]
                return [*self.encode(text[:stop], before, stops[:number]), *self.encode(text[stop:], TEXT, later)]
        borders = (0, *stops)
        parts: list[list[int]] = [[] for _ in borders]
        for token, (start, _) in zip(encoding.ids, places, strict=True):
            if start >= 0:
                parts[bisect_right(borders, start) - 1].append(token)
        return parts


def _over(border: int, places: Iterable[tuple[int, int]]) -> bool:
    return any(start < border < end for start, end in places)


class Prompt:
    """The ids of one prompt, put down in order.

    Attributes:
        ids: Length L.
        slots: Length L; the region whose placeholder stands here, else -1.
        kinds: Length L; 1 for a visual token of an image, 2 of a video, else 0.
    """

    def __init__(self, words: Words, begin: Sequence[int]) -> None:
        self.ids = list(begin)
        self.slots = [-1] * len(self.ids)
        self.kinds = [0] * len(self.ids)
        self._words = words
        self._before: Sequence[str] = NOTHING
        self._stretch = ""
        self._shown: list[tuple[int, int]] = []  # behind which character of the stretch, and the region
        self._swallows = False  # whether the special token before takes the white space behind it

    def text(self, text: str) -> None:
        """Text that somebody wrote, whatever it looks like."""
        self._stretch += text.lstrip() if self._swallows and not self._stretch else text

    def template(self, text: str) -> None:
        """Text of a template: its special tokens are tokens."""
        for piece, token in self._words.parsed(text):
            if token is None:
                self.text(piece)
            else:
                self.token(token)

    def token(self, token: int, count: int = 1, slot: int = -1, kind: int = 0) -> None:
        """A special token, so many times."""
        known = self._words.special[token]
        if known.lstrip:
            self._stretch = self._stretch.rstrip()
        self.end_stretch()
        self._add([token] * count, slot, kind)
        self._before, self._swallows = SPECIAL, known.rstrip

    def indexed(self, region: int) -> None:
        """`[0]` and the region's placeholder behind it; the text is encoded without that."""
        self.text(f"[{region}]")
        self._shown.append((len(self._stretch), region))

    def begin_answer(self, before: str) -> None:
        """No token reaches into an answer, whose ids depend on nothing but the template's text `before` answers."""
        self.end_stretch()
        _, token = [("", None), *self._words.parsed(before)][-1]
        self._before = TEXT if token is None else SPECIAL
        self._swallows = token is not None and self._words.special[token].rstrip

    def end_stretch(self) -> None:
        """Encodes what was written since the last special token."""
        parts = self._words.encode(self._stretch, self._before, [place for place, _ in self._shown])
        for ids, (_, region) in zip(parts, [*self._shown, (0, -1)], strict=True):
            self._add(ids)
            if region >= 0:
                self._add([self._words.ids[REGION]], region)
        self._stretch, self._shown = "", []

    def _add(self, ids: list[int], slot: int = -1, kind: int = 0) -> None:
        self.ids += ids
        self.slots += [slot] * len(ids)
        self.kinds += [kind] * len(ids)


class Frame(NamedTuple):
    """The template's text around the turns of a conversation; `end` ends an answer."""

    before_picture: str
    before_question: Sequence[str]
    after_question: Sequence[str]
    before_answer: str
    end: str


def fixed_frame(style: Mapping[str, str], turns: int, picture: bool) -> Frame:
    """Of a style with the same words around every turn; an answer stands behind a space."""
    first, later = style["system"] + style["before_question"], [style["before_question"]] * (turns - 1)
    before = [style["after_picture"] if picture else first, *later]
    return Frame(first if picture else "", before, [style["after_question"]] * turns, " ", style["end"])


def chat_frame(tokenizer: Any, placeholder: str, turns: int, picture: bool) -> Frame:
    """Of the tokenizer's chat template: it is asked with marks in place of the texts."""
    marks = [f"\ue000{number}\ue001" for number in range(2 * turns)]
    rest = _written(tokenizer, marks, placeholder if picture else "")
    pieces = []
    for mark in marks:
        piece, _, rest = rest.partition(mark)
        pieces.append(piece)
    special = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    end = max((token for token in special if rest.startswith(token)), key=len)
    before_picture, _, first = pieces[0].partition(placeholder) if picture else ("", "", pieces[0])
    after = [piece.rstrip(" ") for piece in pieces[1::2]]
    later = [piece.removeprefix(end) for piece in pieces[2::2]]
    return Frame(before_picture, [first, *later], after, pieces[1].removeprefix(after[0]), end)


def _written(tokenizer: Any, marks: Sequence[str], placeholder: str) -> str:
    """A conversation of marks: templates of models that see take lists of parts, others strings."""
    image = [{"type": "image"}] if placeholder else []
    parts = [[*(image if not number else []), {"type": "text", "text": mark}] for number, mark in enumerate(marks)]
    lines = [f"{placeholder}\n{mark}" if placeholder and not number else mark for number, mark in enumerate(marks)]
    for contents in (parts, lines):
        messages = [
            {"role": ("user", "assistant")[number % 2], "content": content} for number, content in enumerate(contents)
        ]
        try:
            text: str = tokenizer.apply_chat_template(messages, tokenize=False, enable_thinking=False)
        except Exception:  # raised by the template, of any kind: the other way is tried
            continue
        places = [text.find(part) for part in [*([placeholder] if placeholder else []), *marks]]
        if places == sorted(places) and places[0] >= 0:
            return text
    raise ValueError("the chat template leaves out a turn or the picture")


# --- the processor --------------------------------------------------------------------------------------------------


class TokenMarkProcessor(ProcessorMixin):
    """Pictures or videos, regions and questions in, tensors out.

    Args:
        tokenizer: The base's, with `<region>`.
        model_type: Of the base.
        vision: What the base makes of frames.
        words: How conversations are written: `style` (None is the tokenizer's chat template), `placeholder`, `begin`
            (ids), `index` (the pattern of a region's name in an answer), `lead` (text before answers).
        num_marks: M; the most regions a sample can have.
        num_frames: Most frames of a video, evenly spread.
        chat_template: Of the folder; the tokenizer has it too.
    """

    def __init__(
        self,
        tokenizer: Any = None,
        model_type: str = "llava",
        vision: Mapping[str, Any] | None = None,
        words: Mapping[str, Any] | None = None,
        num_marks: int = 100,
        num_frames: int = 1,
        chat_template: str | None = None,
    ) -> None:
        super().__init__(tokenizer, chat_template=chat_template)
        self.model_type = model_type
        self.vision = dict(vision or {})
        self.words = dict(words or {})
        self.num_marks = num_marks
        self.num_frames = num_frames

    @cached_property
    def _text(self) -> Words:
        return Words(self.tokenizer)

    def __call__(
        self,
        images: Any = None,
        text: str | Sequence[str] | None = None,
        videos: Any = None,
        regions: Sequence[Any] = (),
        name: str = "asked",
        return_tensors: str = "pt",
    ) -> BatchFeature:
        """One question about one image or video, or a batch of them: then all of these are lists.

        Args:
            images: A picture: PIL's, (H, W, 3) uint8, a path or a URL.
            text: The question.
            videos: Frames, (T, H, W, 3) uint8 or a list of pictures.
            regions: What `<region0>`, `<region1>`, ... are: `{"box": [x0, y0, x1, y1]}` in pixels, half-open, or
                `{"mask": (height, width) bool}`, with `"frame"` for another than the first one of a video, or
                `{"prompts": {frame: {"box": ...}, ...}}`.
            name: Seeds the draw of the marks.
            return_tensors: `pt`.

        Returns:
            `input_ids` and `attention_mask` (B, L), padded on the left; `region_coverage` (B, L, N), `region_slots`
            (B, L), `region_marks` (B, N), and the base's own inputs.

        Raises:
            ValueError: A region does not fit its frame, a mention has no region, or there are more regions than marks.
        """
        if text is None:
            raise ValueError("text is needed: a question, or a list of them")
        if isinstance(text, str):
            asked = [(images, videos, regions, text)]
        elif any(isinstance(marked, Mapping) for marked in regions):
            raise ValueError(f"{len(text)} questions: regions are a list for each of them")
        else:
            pictures = [[None] * len(text) if given is None else given for given in (images, videos)]
            asked = list(zip(*pictures, regions or [()] * len(text), text, strict=True))
        return self._batch(
            [self._sample(_frames(one, clip), marked, [question], name) for one, clip, marked, question in asked],
            return_tensors,
        )

    def apply_chat_template(
        self,
        conversation: Sequence[Mapping[str, Any]],
        chat_template: None = None,
        regions: Sequence[Mapping[str, Any]] = (),
        name: str = "asked",
        tokenize: bool = True,
        add_generation_prompt: bool = True,
        return_dict: bool = True,
        return_tensors: str = "pt",
    ) -> Any:
        """One conversation, whose last message is a question.

        Args:
            conversation: Messages of `user` and `assistant` in turn; their content is text, or parts of `type` `text`,
                `image` or `video` with what they are under that name. One picture or video, in the first message.
            chat_template: Not to be given: the model knows one.
            regions: As of a call; mentions in questions and answers are `<region0>`, or `[0]` as the model writes them.
            name: As of a call.
            tokenize: Whether tensors are wanted, or the prompt as text.
            add_generation_prompt: Always.
            return_dict: Whether all tensors are wanted, or `input_ids` alone.
            return_tensors: `pt`.

        Raises:
            ValueError: As of a call, or a conversation of another form.
        """
        if chat_template is not None or not add_generation_prompt:
            raise ValueError("the model answers, by the chat template that it has learnt: no other can be given")
        roles = [message["role"] for message in conversation]
        if roles != [("user", "assistant")[number % 2] for number in range(len(roles))] or len(roles) % 2 == 0:
            raise ValueError(f"roles are {roles}: user and assistant in turn are needed, the last of them user")
        turns, media = zip(*map(_parts, conversation), strict=True)
        pictures = [one for of_message in media for one in of_message]
        if len(pictures) > 1 or any(media[1:]):
            raise ValueError(f"{len(pictures)} pictures: one image or video is needed, in the first message")
        frames = _frames(*pictures[0]) if pictures else None
        sample = self._sample(frames, regions, turns, name)
        if not tokenize:
            text: str = self.tokenizer.decode(sample["prompt"].ids)
            return text
        batch = self._batch([sample], return_tensors)
        return batch if return_dict else batch["input_ids"]

    def answers(self, rows: torch.Tensor, inputs: Mapping[str, torch.Tensor]) -> list[str]:
        """What the model has said.

        Args:
            rows: What `generate` has returned.
            inputs: What it was called with.
        """
        begun = inputs["input_ids"].shape[1]
        return [self._said(row[begun:].tolist()) for row in rows]

    def _said(self, ids: list[int]) -> str:
        region = self._text.ids[REGION]
        before = self._text.encode("]", NOTHING)[0]  # a decoder may drop a first space: behind other text it does not
        whole, dropped = (
            self.tokenizer.decode(part, skip_special_tokens=True, clean_up_tokenization_spaces=False)
            for part in ([*before, *(token for token in ids if token != region)], before)
        )
        text = whole.removeprefix(dropped).removeprefix(self.words["lead"])
        return re.sub(self.words["index"], lambda found: f"[{_number(found)}]", text).strip()

    # --- one sample -------------------------------------------------------------------------------------------------

    def _sample(
        self, frames: NDArray[np.uint8] | None, regions: Sequence[Mapping[str, Any]], turns: Sequence[str], name: str
    ) -> dict[str, Any]:
        """Args: frames: (T, H, W, 3) of the whole video, None without a picture; turns: questions and answers."""
        prompts = [_prompts(region, number) for number, region in enumerate(regions)]
        if len(prompts) > self.num_marks:
            raise ValueError(f"{len(prompts)} regions, but the model has {self.num_marks} marks")
        if frames is None and prompts:
            raise ValueError(f"{len(prompts)} regions, but no picture")
        seen, weights = None, np.zeros((0, len(prompts)), np.float32)
        if frames is not None:
            marked = {frame for region in prompts for frame in region}
            numbers = sampled(len(frames), self.num_frames, marked)
            source = (frames.shape[1], frames.shape[2])
            seen = VISION[self.model_type](frames[list(numbers)], numbers, self.vision)
            weights = coverage(prompts, numbers, source, seen)
            for number in np.flatnonzero(weights.sum(0) == 0):
                raise ValueError(f"region {number} lies where no visual token sees it")
        seed = int.from_bytes(hashlib.blake2b(f"\0{name}".encode(), digest_size=7).digest(), "big")
        drawn = torch.randperm(self.num_marks, generator=torch.Generator().manual_seed(seed))[: len(prompts)]
        prompt = self._prompt(turns, len(prompts), seen.runs if seen else ())
        return {"prompt": prompt, "inputs": seen.inputs if seen else {}, "weights": weights, "marks": drawn}

    def _prompt(self, turns: Sequence[str], regions: int, runs: Sequence[Run]) -> Prompt:
        """Questions and answers in turn, the last of them a question."""
        style, asked = self.words["style"], (len(turns) + 1) // 2
        if style is None:
            frame = chat_frame(self.tokenizer, self.words["placeholder"], asked, bool(runs))
        else:
            frame = fixed_frame(style, asked, bool(runs))
        words = self._text
        prompt = Prompt(words, self.words["begin"])
        if runs:
            prompt.template(frame.before_picture)
        for run in runs:
            if run.special:
                prompt.token(words.ids[run.text], run.repeats, kind=run.kind)
            else:
                prompt.text(run.text * run.repeats)
        for number, text in enumerate(turns):
            if number % 2:
                self._answer(prompt, frame.before_answer + text, regions)
                prompt.token(words.ids[frame.end])
                continue
            prompt.template(frame.before_question[number // 2])
            for piece, region in _pieces(text, regions):
                if region < 0:
                    prompt.text(piece)
                elif regions > 1:
                    prompt.indexed(region)
                else:
                    prompt.token(words.ids[REGION], slot=region)
            prompt.template(frame.after_question[number // 2])
            prompt.begin_answer(frame.after_question[number // 2])
        return prompt

    def _answer(self, prompt: Prompt, text: str, regions: int) -> None:
        """What reads as an index is one."""
        named = re.sub(
            self.words["index"],
            lambda found: f"<region{_number(found)}>" if _number(found) < regions else found[0],
            text,
        )
        for piece, region in _pieces(named, regions):
            if region < 0:
                prompt.text(piece)
            else:
                prompt.indexed(region)

    def _batch(self, samples: Sequence[Mapping[str, Any]], return_tensors: str) -> BatchFeature:
        """Rows padded on the left, as generation needs them."""
        if return_tensors != "pt":
            raise ValueError(f"return_tensors is {return_tensors!r}: the model takes 'pt'")
        longest = max(len(sample["prompt"].ids) for sample in samples)
        most = max(len(sample["marks"]) for sample in samples)
        rows: dict[str, list[torch.Tensor]] = {}
        for sample in samples:
            prompt: Prompt = sample["prompt"]
            missing, regions = longest - len(prompt.ids), len(sample["marks"])
            covered = torch.zeros(longest, most)
            covered[missing:, :regions][torch.tensor(prompt.kinds) > 0] = torch.from_numpy(sample["weights"])
            row = {
                "input_ids": F.pad(torch.tensor(prompt.ids), (missing, 0), value=self.tokenizer.pad_token_id),
                "attention_mask": F.pad(torch.ones(len(prompt.ids), dtype=torch.int64), (missing, 0)),
                "region_coverage": covered,
                "region_slots": F.pad(torch.tensor(prompt.slots), (missing, 0), value=-1),
                "region_marks": F.pad(sample["marks"], (0, most - regions), value=-1),
            }
            if self.model_type == "qwen3_vl":  # its positions follow from what is image and what is video
                row["mm_token_type_ids"] = F.pad(torch.tensor(prompt.kinds), (missing, 0))
            for key, value in row.items():
                rows.setdefault(key, []).append(value)
        batch = {key: torch.stack(values) for key, values in rows.items()}
        names = dict.fromkeys(key for sample in samples for key in sample["inputs"])
        pictures = {
            key: torch.cat([sample["inputs"][key] for sample in samples if key in sample["inputs"]]) for key in names
        }
        return BatchFeature({**batch, **pictures})


# --- what is given --------------------------------------------------------------------------------------------------


def sampled(count: int, wanted: int, prompted: Iterable[int]) -> tuple[int, ...]:
    """Frames spread evenly over `count`, each prompted one in the place of the nearest that is not."""
    required = set(prompted)
    if outside := sorted(frame for frame in required if not 0 <= frame < count):
        raise ValueError(f"a region is on frame {outside[0]}, but there are {count} frames, counted from 0")
    if len(required) > wanted:
        raise ValueError(f"regions are on {len(required)} frames, but the model takes {wanted}")
    chosen = {round(place) for place in np.linspace(0, count - 1, wanted).tolist()}
    for frame in sorted(required - chosen):
        chosen.remove(min(sorted(chosen - required), key=lambda other: abs(other - frame)))
        chosen.add(frame)
    return tuple(sorted(chosen))


def _frames(image: Any, video: Any) -> NDArray[np.uint8] | None:
    """(T, H, W, 3) uint8; None where nothing is given."""
    if image is not None and video is not None:
        raise ValueError("an image and a video: the model takes one of them")
    if image is None and video is None:
        return None
    frames = np.stack([_picture(one) for one in ([image] if image is not None else video)])
    if not frames.size:
        raise ValueError(f"frames of shape {frames.shape}: there is nothing to see")
    return frames


def _picture(given: Any) -> NDArray[np.uint8]:
    """(H, W, 3) uint8, upright."""
    if isinstance(given, np.ndarray | torch.Tensor):
        pixels = np.asarray(given)
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
            raise ValueError(f"pixels of shape {pixels.shape} and type {pixels.dtype}: (H, W, 3) uint8 are needed")
        return pixels
    picture: Image.Image = load_image(given)
    return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))


def _parts(message: Mapping[str, Any]) -> tuple[str, list[tuple[Any, Any]]]:
    """The text of a message, and its (image, video)."""
    content = message["content"]
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    texts, media = [], []
    for part in parts:
        kind = part.get("type")
        if kind not in ("text", "image", "video") or kind not in part:
            raise ValueError(
                f"a part of type {kind!r} with {sorted(part)}: text, image and video have one of that name"
            )
        if kind == "text":
            texts.append(part["text"])
        else:
            media.append((part["image"], None) if kind == "image" else (None, part["video"]))
    return "".join(texts), media


def _prompts(region: Mapping[str, Any], number: int) -> dict[int, Geometry]:
    """What a region is pointed at with, by frame."""
    if "prompts" in region:
        found = {int(frame): geometry for frame, geometry in region["prompts"].items()}
    else:
        found = {region.get("frame", 0): {name: value for name, value in region.items() if name != "frame"}}
    if not found:
        raise ValueError(f"region {number} is on 0 frames")
    return found


def _pieces(text: str, regions: int) -> list[tuple[str, int]]:
    """Text and mentions in order: (text, -1) or ("", region)."""
    plain, digits = PLACEHOLDER.split(text)[::2], PLACEHOLDER.findall(text)
    pieces = [(plain[0], -1)]
    for written, following in zip(digits, plain[1:], strict=True):
        if not written and regions > 1:
            raise ValueError(f"<region> needs a number, there are {regions} regions")
        if int(written or 0) >= regions:
            raise ValueError(f"<region{written}> has no region, there are {regions}, counted from 0")
        pieces += [("", int(written or 0)), (following, -1)]
    return [piece for piece in pieces if piece[0] or piece[1] >= 0]


def _number(index: re.Match[str]) -> int:
    return int("".join(index[1].split()))
