"""Frames of a video file by number, decoded by decord or by PyAV: two decoders, one picture."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from itertools import dropwhile, groupby, islice
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError
from datamodules.media.media_file import opened
from datamodules.media.video_index import (
    FrameIndex,
    KeyFrame,
    OpenVideo,
    count_frames,
    index_frames,
    lost_frame,
    open_video,
)
from datamodules.types import File

if TYPE_CHECKING:
    from av import VideoFrame

Backend: TypeAlias = Literal["decord", "pyav"]
Picture: TypeAlias = NDArray[np.uint8]


class _UndecodableError(Exception):
    """A frame that the packets promise does not come out of the decoder."""


def read_frames(
    path: File, choose: Callable[[int], tuple[int, ...]], backend: Backend | None = None
) -> tuple[list[Picture], tuple[int, ...], int]:
    """Decode the frames that `choose` picks, and as little else as possible.

    Args:
        path: The video file.
        choose: Number of frames -> ascending numbers of those wanted. Asked again if fewer frames decode.
        backend: None takes decord where it is installed. PyAV stands in where decord would misread a file.

    Returns:
        The (H, W, 3) uint8 RGB frames, turned upright as the file's rotation says, their numbers, and how many frames
        there are.

    Raises:
        DataError: The file is missing, is no video, or is damaged in the middle; the backend is not there.
    """
    backend = _available(backend)
    with open_video(path) as video:
        index = index_frames(video)
        count = len(index.times)
        numbers = choose(count)
        for number in numbers:
            if index.times[number] is None:
                raise lost_frame(path, number, count)
        with contextlib.suppress(_UndecodableError):
            return _decode(path, video, index, numbers, backend), numbers, count
    count = count_frames(path)
    numbers = choose(count)
    try:
        return _decode_in_order(path, index, numbers), numbers, count
    except _UndecodableError:
        raise DataError(f"{path}: frames {list(numbers)} of {count} do not decode alike twice") from None


def upright_size(path: File) -> tuple[int, int]:
    """(height, width) of a video's frames after rotation; decodes the first one.

    Raises:
        DataError: The file is missing, is no video, or none of its frames decodes.
    """
    with open_video(path) as video:
        frame = next(video.decodable_frames(), None)
        if frame is None:
            raise DataError(f"{path}: has 0 frames that decode")
        return (frame.height, frame.width) if _quarter_turns(frame) % 2 == 0 else (frame.width, frame.height)


def has_several_frames(path: File) -> bool:
    """Whether a video has more than one frame; decodes the first two.

    Raises:
        DataError: The file is missing, or is no video.
    """
    with open_video(path) as video:
        return len(list(islice(video.decodable_frames(), 2))) == 2


def _available(backend: Backend | None) -> Backend:
    if backend is None:
        return "decord" if _has_decord() else "pyav"
    if backend not in get_args(Backend):
        raise DataError(f"video backend {backend!r} is none of {get_args(Backend)}")
    if backend == "decord" and not _has_decord():
        raise DataError("video backend 'decord' is not installed: there is 'pyav'")
    return backend


@functools.cache
def _has_decord() -> bool:
    try:
        import decord  # noqa: F401 - only whether it can be imported
    except (ImportError, OSError):  # OSError: its library is there but cannot be loaded
        return False
    return True


def _decode(path: File, video: OpenVideo, index: FrameIndex, numbers: Sequence[int], backend: Backend) -> list[Picture]:
    if not index.keys:
        return _decode_in_order(path, index, numbers)
    if backend == "decord" and index.suits_decord:
        with contextlib.suppress(_UndecodableError):  # PyAV knows codecs that decord does not
            return _decode_with_decord(path, index, numbers)
    return _decode_by_seeking(video, index, numbers)


# --- decord ---------------------------------------------------------------------------------------------------------


def _decode_with_decord(path: File, index: FrameIndex, numbers: Sequence[int]) -> list[Picture]:
    import decord

    try:
        # 0 would switch the limit off; this rounds down to no frame replaced by a copy of its neighbour
        reader = decord.VideoReader(opened(path), ctx=decord.cpu(0), num_threads=1, fault_tol=1e-9)
        if len(reader) != len(index.times):
            raise _UndecodableError
        return [_picture(reader, number) for number in numbers]
    except (decord.DECORDError, decord.DECORDLimitReachedError, RuntimeError, StopIteration) as error:
        raise _UndecodableError from error


def _picture(reader: Any, number: int) -> Picture:
    from decord.video_reader import _CAPI_VideoReaderGetCurrentPosition as position

    padded = reader[number].asnumpy()
    # behind the last frame that decodes, decord steps back and hands out an earlier one
    if position(reader._handle) != number + 1:
        raise _UndecodableError
    # rows that end in padding are taken for pixels of more than three channels
    height, width, _ = padded.shape
    picture: Picture = padded.reshape(height, -1)[:, : 3 * width].reshape(height, width, 3)
    return picture


# --- PyAV -----------------------------------------------------------------------------------------------------------


def _decode_by_seeking(video: OpenVideo, index: FrameIndex, numbers: Sequence[int]) -> list[Picture]:
    import av

    times = [time for number in numbers if (time := index.times[number]) is not None]
    groups = groupby(times, key=index.key_before)
    try:
        return [picture for key, times in groups for picture in _decode_from(video, key, list(times))]
    except av.FFmpegError as error:
        raise _UndecodableError from error


def _decode_from(video: OpenVideo, key: KeyFrame, times: Sequence[int]) -> list[Picture]:
    """The pictures shown at `times`, decoded from `key` on."""
    video.container.seek(key.seek, stream=video.stream)
    packets = dropwhile(lambda packet: packet.pts != key.time, video.container.demux(video.stream))
    # what is shown before the key frame builds on others before it, which were not decoded
    following = (packet for packet in packets if packet.pts is None or packet.pts >= key.time)
    pictures: list[Picture] = []
    for frame in (frame for packet in following for frame in video.stream.decode(packet)):
        if frame.is_corrupt:
            break
        if frame.pts == times[len(pictures)]:
            pictures.append(_upright(frame))
        if len(pictures) == len(times):
            return pictures
    raise _UndecodableError


def _decode_in_order(path: File, index: FrameIndex, numbers: Sequence[int]) -> list[Picture]:
    wanted = {index.times[number] for number in numbers}
    pictures: list[Picture] = []
    with open_video(path) as video:
        for place, frame in enumerate(video.decoded()):
            if frame is None and not index.timed:
                break  # whatever follows has lost its number
            if frame is not None and (frame.pts if index.timed else place) in wanted:
                pictures.append(_upright(frame))
            if len(pictures) == len(numbers):
                return pictures
    raise _UndecodableError


def _upright(frame: VideoFrame) -> Picture:
    return np.rot90(frame.to_ndarray(format="rgb24"), _quarter_turns(frame))


def _quarter_turns(frame: VideoFrame) -> int:
    """How often to turn the frame anticlockwise by 90 degrees."""
    return round(frame.rotation / 90)
