"""Which frames a video file has and when they are shown: read off its packets, without decoding.

A frame's number is its place, from 0, among the frames that a decoder shows, in presentation order.
"""

from __future__ import annotations

import contextlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from datamodules.errors import DataError
from datamodules.media.media_file import opened
from datamodules.types import File

if TYPE_CHECKING:
    from av import Packet, VideoFrame, VideoStream
    from av.container import InputContainer

_NO_TIME = -(2**63)  # FFmpeg's value for a time that is not known
_DECORD_CONTAINERS = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
_DECORD_PIXELS = ("yuv420p", "yuvj420p", "yuv444p", "yuvj444p")


class KeyFrame(NamedTuple):
    """A frame that decoding can start from: when it is shown, and the timestamp to seek to."""

    time: int
    seek: int


@dataclass(frozen=True, slots=True)
class FrameIndex:
    """What a video's packets promise.

    Attributes:
        times: When the frames are shown, ascending, in the stream's unit; `times[i]` belongs to frame i.
        keys: The key frames, ascending. Empty if the packets do not tell when their frames are shown: then
            `times` says only how many there may be, and frames have to be counted from the start.
        suits_decord: Whether decord numbers the frames alike and gives the same pixels as PyAV.
    """

    times: tuple[int, ...]
    keys: tuple[KeyFrame, ...]
    suits_decord: bool

    def key_before(self, time: int) -> KeyFrame:
        """The last key frame shown no later than `time`."""
        return self.keys[bisect_right(self.keys, time, key=lambda key: key.time) - 1]


class OpenVideo(NamedTuple):
    """An open file and the stream in it that is its video."""

    container: InputContainer
    stream: VideoStream

    def packets(self) -> Iterator[Packet[VideoStream]]:
        """The packets that carry data, as far as the file can be read."""
        import av

        with contextlib.suppress(av.FFmpegError):
            yield from (packet for packet in self.container.demux(self.stream) if packet.size)

    def decodable_frames(self) -> Iterator[VideoFrame]:
        """The frames that really decode, from the start; a packet that does not decode gives none."""
        import av

        for packet in chain(self.packets(), (None,)):  # None empties the decoder
            with contextlib.suppress(av.FFmpegError):
                yield from self.stream.decode(packet)


@contextlib.contextmanager
def open_video(path: File) -> Iterator[OpenVideo]:
    """Open a file for decoding by one thread, and close it afterwards.

    Raises:
        DataError: The file is missing, is not media, or holds no video.
    """
    import av

    try:
        container = av.open(opened(path), "r")
    except av.FFmpegError as error:
        raise DataError(f"{path}: cannot be opened as a video: {error.strerror}") from error
    with container:
        stream = container.streams.best("video")
        if not isinstance(stream, av.VideoStream):
            raise DataError(f"{path}: holds no video")
        stream.codec_context.thread_count = 1
        yield OpenVideo(container, stream)


def index_frames(video: OpenVideo) -> FrameIndex:
    """Read the frames' times off the packets of a video that was just opened."""
    headers = [_header(packet) for packet in video.packets()]
    if not _times_tell_order(video, headers):
        return FrameIndex(tuple(range(len(headers))), (), suits_decord=False)
    keys = sorted(KeyFrame(header.time, header.seek) for header in headers if header.is_key)
    times = sorted(header.time for header in headers if header.is_shown)
    # nothing before the first key frame decodes, as in a recording that was cut out of a broadcast
    times = times[bisect_left(times, keys[0].time) :]
    return FrameIndex(tuple(times), tuple(keys), _suits_decord(video, headers, times))


def count_frames(path: File) -> int:
    """How many frames of a video really decode; costs decoding them all.

    Raises:
        DataError: The file is missing or is no video, or a frame does not decode though later ones do, so that
            numbers would mean another frame.
    """
    with open_video(path) as video:
        index = index_frames(video)
    with open_video(path) as video:
        times = tuple(frame.pts for frame in video.decodable_frames())
    if index.keys and times != index.times[: len(times)]:
        lost = next(number for number, time in enumerate(index.times) if time not in times)
        raise DataError(f"{path}: frame {lost} of {len(index.times)} does not decode, though later ones do")
    return len(times)


class _Header(NamedTuple):
    """What a packet says of itself. Packets are not kept: those of a long video would fill the memory."""

    time: int
    seek: int
    is_key: bool
    is_shown: bool


def _header(packet: Packet[VideoStream]) -> _Header:
    time = _NO_TIME if packet.pts is None else packet.pts
    # seeking by presentation time can land behind the key frame
    seek = time if packet.dts is None else packet.dts
    return _Header(time, seek, packet.is_keyframe, not packet.is_discard)


def _times_tell_order(video: OpenVideo, headers: Sequence[_Header]) -> bool:
    """Whether the order of the packets' times is the order in which a decoder shows their frames."""
    # AVI has no presentation times, VP8 has hidden frames in packets of their own
    reordered_avi = video.container.format.name == "avi" and video.stream.codec_context.has_b_frames
    if reordered_avi or video.stream.codec_context.name == "vp8":
        return False
    times = {header.time for header in headers} - {_NO_TIME}
    return len(times) == len(headers) and any(header.is_key for header in headers)


def _suits_decord(video: OpenVideo, headers: Sequence[_Header], times: Sequence[int]) -> bool:
    """Whether decord 0.6 reads this video right.

    It shows what an edit list hides, places key frames by their order in the file instead of in time (wrong for open
    groups of pictures), loses its place when it seeks in AVI or MPEG-TS, and converts rarer pixel formats in its own
    way. Nothing is raised then: it hands out another picture.
    """
    return (
        len(times) == len(headers)
        and all(times[place] == header.time for place, header in enumerate(headers) if header.is_key)
        and video.container.format.name in _DECORD_CONTAINERS
        and video.stream.codec_context.pix_fmt in _DECORD_PIXELS
    )
