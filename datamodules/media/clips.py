"""Image, video, frames in memory or nothing -> (T, H, W, 3) uint8 RGB: no other module asks which of them it is."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import assert_never

import numpy as np

from datamodules.errors import DataError
from datamodules.media import video_backends, video_index
from datamodules.media.pictures import frames_in, is_picture, picture_size, read_picture
from datamodules.media.video_backends import Backend, Picture
from datamodules.types import Clip, Frames, Media, NoPicture, Pixels, RegionSample, Sampled, Video

__all__ = [
    "Backend",
    "check_whole",
    "clip_of",
    "count_frames",
    "frame_size",
    "given_as_video",
    "least_frames",
    "media_at",
    "most_frames",
    "read_clip",
    "sample_frames",
]


def read_clip(media: Media, num_frames: int, prompted: Sequence[int] = (), backend: Backend | None = None) -> Clip:
    """Decode frames spread uniformly over the media or its span, and as little else as possible.

    They come upright: the orientation that EXIF or the video's container asks for is applied.

    Args:
        media: Image, frame files, video file or frames in memory.
        num_frames: Frames wanted; media with fewer gives all it has.
        prompted: Source frames that must be among them, see `sample_frames`.
        backend: What decodes videos, to the same pixels; None takes decord where it is installed, else PyAV.

    Raises:
        DataError: A file is missing or does not decode, frames differ in size, or the span or a prompted
            frame lies outside the frames that there are.
    """
    choose = partial(_choose, media, num_frames, prompted)
    match media:
        case Video(path):
            pictures, numbers, count = video_backends.read_frames(path, choose, backend)
            return Clip(_stack(pictures, [f"{path}: frame {number}" for number in numbers]), numbers, length=count)
        case Frames(paths):
            numbers = choose(len(paths))
            pictures = [read_picture(paths[number]) for number in numbers]
            return Clip(_stack(pictures, [str(paths[number]) for number in numbers]), numbers, length=len(paths))
        case Sampled(files, numbers):
            _check_sampled(media, num_frames, prompted)
            return Clip(_stack([read_picture(file) for file in files], list(map(str, files))), numbers)
        case Pixels(array):
            numbers = choose(len(_checked(array)))
            return Clip(array[list(numbers)], numbers, length=len(array))
        case NoPicture():
            return Clip(np.zeros((0, 1, 1, 3), np.uint8), ())
    assert_never(media)


def clip_of(sample: RegionSample, num_frames: int, backend: Backend | None = None) -> Clip:
    """The frames of a sample, with those that its regions are pointed at on: see `read_clip`.

    Raises:
        DataError: As `read_clip`, or a region's track goes on behind the last frame: it is of another video.
    """
    clip = read_clip(sample.media, num_frames, sample.prompted_frames, backend)
    for number, region in enumerate(sample.regions):
        if clip.length is not None and max(region.track, default=0) >= clip.length:
            last = max(region.track)
            raise DataError(f"region {number} has frame {last} in its track, {_name(sample.media)} has {clip.length}")
    return clip


def check_whole(media: Media, clip: Clip) -> None:
    """Refuses a video that reading makes the best of, though it tells itself that it once held more.

    Args:
        media: What the clip was read from; all but videos pass.
        clip: Knows how many frames decode.

    Raises:
        DataError: There are fewer frames than the file's header or duration promises, or the times of a constant rate
            jump.
    """
    if isinstance(media, Video):
        with video_index.open_video(media.path) as video:
            index = video_index.index_frames(video)
        tail = "" if clip.length == len(index.times) else f"has {clip.length} of {len(index.times)} frames that decode"
        if problem := index.problem or tail:
            raise DataError(f"{media.path}: {problem}")


def given_as_video(media: Media) -> str | None:
    """What is wrong with a video that is a still picture; it is read as a video of one frame."""
    if isinstance(media, Video) and is_picture(media.path):
        return f"{media.path}: a still picture, given as a video"
    return None


def sample_frames(first: int, last: int, num_frames: int, prompted: Sequence[int] = ()) -> tuple[int, ...]:
    """Choose frames of [first, last) uniformly, both ends included, with every prompted frame among them.

    A prompted frame takes the place of the nearest chosen one that is not prompted itself. A single frame is
    the prompted one, or else the first.

    Returns:
        Ascending frame numbers: `num_frames` of them, or all there are if those are fewer.

    Raises:
        DataError: There is nothing to choose, more frames are prompted than wanted, or one lies outside.
    """
    required = set(prompted)
    if num_frames < 1 or first >= last:
        raise DataError(f"cannot sample {num_frames} frames from [{first}, {last})")
    if len(required) > num_frames:
        raise DataError(f"{len(required)} frames are prompted, but {num_frames} are sampled")
    if outside := sorted(frame for frame in required if not first <= frame < last):
        raise DataError(f"prompted frame {outside[0]} is outside [{first}, {last})")
    chosen = {round(place) for place in np.linspace(first, last - 1, num_frames).tolist()}
    for frame in sorted(required - chosen):
        chosen.remove(min(sorted(chosen - required), key=lambda other: abs(other - frame)))
        chosen.add(frame)
    return tuple(sorted(chosen))


def count_frames(media: Media) -> int:
    """How many source frames there are, whatever the span; a video is decoded from end to end to find out.

    Raises:
        DataError: A video is missing, is not media, or does not decode in its middle.
    """
    match media:
        case Video(path):
            return video_index.count_frames(path)
        case Frames(paths):
            return len(paths)
        case Sampled(_, numbers):
            raise DataError(f"{_name(media)}: {len(numbers)} sampled frames do not tell how many there were")
        case Pixels(array):
            return len(_checked(array))
        case NoPicture():
            return 0
    assert_never(media)


def most_frames(media: Media, num_frames: int) -> int:
    """How many frames `read_clip` can give, without opening a file: a video may turn out to be shorter."""
    match media:
        case Video():
            count = num_frames
        case Frames(paths):
            count = len(paths)
        case Sampled(_, numbers):
            return len(numbers)
        case Pixels(array):
            count = len(array)
        case NoPicture():
            return 0
        case _:
            assert_never(media)
    first, last = media.span or (0, count)
    return min(num_frames, last - first)


def least_frames(media: Media, num_frames: int) -> int:
    """How few frames `read_clip` can give: a video may be shorter than wanted, of one frame if it has no second one.

    Raises:
        DataError: A video is missing or does not open.
    """
    most = most_frames(media, num_frames)
    if not isinstance(media, Video) or media.span is not None or most < 2:
        return most
    return 2 if video_backends.has_several_frames(media.path) else 1


def frame_size(media: Media) -> tuple[int, int]:
    """(height, width) of an upright frame in pixels, from the first image's header or a video's first frame.

    Raises:
        DataError: The file is missing or does not open, or there is no frame.
    """
    match media:
        case Video(path):
            return video_backends.upright_size(path)
        case Frames(paths):
            if not paths:
                raise DataError(f"{_name(media)}: has 0 frames")
            return picture_size(paths[0])
        case Sampled(files):
            return picture_size(files[0])
        case Pixels(array):
            height, width = _checked(array).shape[1:3]
            return height, width
        case NoPicture():
            raise DataError("there is no picture, only text")
    assert_never(media)


def _choose(media: Media, num_frames: int, prompted: Sequence[int], count: int) -> tuple[int, ...]:
    """Sample the media's span, now that its number of frames is known."""
    first, last = media.span or (0, count)
    if not count:
        raise DataError(f"{_name(media)}: has 0 frames")
    if not 0 <= first < last <= count:
        raise DataError(f"{_name(media)}: span [{first}, {last}) is not within its {count} frames")
    try:
        return sample_frames(first, last, num_frames, prompted)
    except DataError as error:
        raise DataError(f"{_name(media)}: {error}") from error


def _check_sampled(media: Sampled, num_frames: int, prompted: Sequence[int]) -> None:
    """Refuses a request for other frames than those that were sampled."""
    count = len(media.numbers)
    # fewer than were asked for are all that the clip has
    if num_frames != media.asked and (count == media.asked or num_frames < count):
        raise DataError(f"{_name(media)}: sampled for clips of {media.asked} frames, {num_frames} are wanted")
    if absent := sorted(set(prompted) - set(media.numbers)):
        raise DataError(f"{_name(media)}: prompted frame {absent[0]} is not among the sampled {list(media.numbers)}")


def _name(media: Media) -> str:
    match media:
        case Video(path):
            return str(path)
        case Frames(paths):
            return f"{paths[0]} and {len(paths) - 1} more" if len(paths) > 1 else "".join(map(str, paths))
        case Sampled(files):
            return f"{files[0]}"
        case Pixels():
            return "frames in memory"
        case NoPicture():
            return "no picture"
    assert_never(media)


def _stack(pictures: Sequence[Picture], sources: Sequence[str]) -> Picture:
    height, width, _ = pictures[0].shape
    for picture, source in zip(pictures, sources, strict=True):
        if picture.shape != pictures[0].shape:
            size = f"{picture.shape[0]}x{picture.shape[1]}"
            raise DataError(f"{source}: is {size} (height x width), but {sources[0]} is {height}x{width}")
    return np.stack(pictures)


def _checked(array: Picture) -> Picture:
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[3] != 3:
        raise DataError(f"frames in memory: {array.dtype} {array.shape} is not uint8 (T, H, W, 3)")
    return array


def media_at(path: str | Path) -> Media:
    """An image, a folder of frames in the order of `frames_in`, or else a video.

    Raises:
        DataError: Nothing is there, or a folder without pictures or of names in no order.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"no such file: {path}")
    if path.is_dir():
        return Frames(frames_in(path))
    return Frames((path,)) if is_picture(path) else Video(path)
