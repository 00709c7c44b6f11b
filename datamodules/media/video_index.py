"""Which frames a video file has and when they are shown: read off its packets, without decoding.

A frame's number is its place, from 0, among the frames that the whole file shows, in presentation order: one that is
lost or damaged keeps its number, so that later ones keep theirs.
"""

from __future__ import annotations

import contextlib
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from datamodules.errors import DataError
from datamodules.media import frame_numbers
from datamodules.media.media_file import opened
from datamodules.types import File

if TYPE_CHECKING:
    from av import Packet, VideoFrame, VideoStream
    from av.container import InputContainer

_NO_TIME = -(2**63)  # FFmpeg's value for a time that is not known
_CUT_ANYWHERE = ("mpegts", "mpeg")  # streams that are received from some moment on
_PADDED = (*_CUT_ANYWHERE, "avi")  # where zeros may fill up a packet
_FROM_ZERO = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")  # files whose clock starts with them
_AVI_CHUNK = 8  # bytes of a chunk's header
_WITHOUT_ZEROS = ("h264", "hevc", "mpeg4", "vp8", "vp9", "av1")
_HOLE = bytes(32)  # what these codecs never write, and what decoders may pass over without a word
_LATE = 2.5  # steps that a duration may exceed the last frame's time; one is the frame itself
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
        times: When the frames are shown, ascending, in the stream's unit; `times[i]` belongs to frame i. None where
            the frame is lost, or builds on one that is; the last frame is not.
        keys: The key frames that can be sought, ascending. Empty if frames have to be decoded from the start.
        timed: Whether the packets tell when their frames are shown. If not, `times` says only how many there may be.
        suits_decord: Whether decord numbers the frames alike and gives the same pixels as PyAV.
        problem: What shows that the file once held more, or other frames; empty if nothing does.
    """

    times: tuple[int | None, ...]
    keys: tuple[KeyFrame, ...]
    timed: bool
    suits_decord: bool
    problem: str = ""

    def key_before(self, time: int) -> KeyFrame:
        """The last key frame shown no later than `time`."""
        return self.keys[bisect_right(self.keys, time, key=lambda key: key.time) - 1]


class OpenVideo(NamedTuple):
    """An open file and the stream in it that is its video."""

    path: File
    container: InputContainer
    stream: VideoStream

    def packets(self) -> Iterator[Packet[VideoStream]]:
        """The packets that carry data, as far as the file can be read."""
        import av

        with contextlib.suppress(av.FFmpegError):
            yield from (packet for packet in self.container.demux(self.stream) if packet.size)

    def decodable_frames(self) -> Iterator[VideoFrame]:
        """The frames that really decode, from the start; a packet that does not decode gives none."""
        return (frame for frame in self.decoded() if frame is not None)

    def decoded(self) -> Iterator[VideoFrame | None]:
        """The frames from the start; None for a packet that does not decode, and a picture that was patched up."""
        import av

        for packet in chain(self.packets(), (None,)):  # None empties the decoder
            try:
                yield from (None if frame.is_corrupt else frame for frame in self.stream.decode(packet))
            except av.FFmpegError:
                yield None


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
        yield OpenVideo(path, container, stream)


def index_frames(video: OpenVideo) -> FrameIndex:
    """Read the frames' times off the packets of a video that was just opened.

    Raises:
        DataError: Packets are lost, and nothing tells which frames they were.
    """
    headers = [_header(packet, video) for packet in video.packets()]
    if not _times_tell_order(video, headers):
        if _lost_packets(video, headers) or any(header.is_hollow for header in headers):
            raise _no_numbers(video, headers)
        return FrameIndex(tuple(range(len(headers))), (), timed=False, suits_decord=False)
    shown = sorted(header for header in headers if header.is_shown)
    first = next(place for place, header in enumerate(headers) if header.is_key)
    # nothing before the first key frame decodes: in a recording that was cut out of a broadcast, and what builds on a
    # group of pictures that was cut off. Elsewhere the key frame before it is lost
    if first == 0 or video.container.format.name in _CUT_ANYWHERE:
        shown = [header for header in shown if header.time >= headers[first].time]
    numbers = _numbers(video, headers, shown)
    return _index(video, headers, dict(zip(numbers, shown, strict=True)))


def _index(video: OpenVideo, headers: Sequence[_Header], frames: Mapping[int, _Header]) -> FrameIndex:
    """Args: frames: By their numbers, those that are shown, ascending."""
    count = max(frames, default=-1) + 1
    lost = {number for number in range(count) if number not in frames or frames[number].is_hollow}
    starts = [number for number, header in frames.items() if header.is_key and not header.is_hollow]
    hidden = [header for header in headers if header.is_key and not header.is_shown]
    if hidden and frames and 0 not in starts and min(hidden).time < min(frames.values()).time:
        starts = [0, *starts]  # an edit list hides the key frame that the first ones build on
    gone = frame_numbers.undecodable(lost, starts, count, video.stream.codec_context.has_b_frames)
    times = [None if number in gone else frames[number].time for number in range(count)]
    while times and times[-1] is None:
        times.pop()
    # in AVI seeking counts by the file's index and reading by what is there
    sought = not (video.container.format.name == "avi" and _lost_packets(video, headers))
    keys = sorted(KeyFrame(header.time, header.seek) for header in headers if header.is_key and not header.is_hollow)
    problem = _problem(video, headers, frames, sum(time is not None for time in times))
    # it hands out what it patches up like any other picture
    suits = not problem and _suits_decord(video, headers, sorted(header.time for header in frames.values()))
    return FrameIndex(tuple(times), tuple(keys) if sought else (), timed=True, suits_decord=suits, problem=problem)


def count_frames(path: File) -> int:
    """How many frames of a video really decode; costs decoding them all.

    Raises:
        DataError: The file is missing or is no video, or a frame does not decode though later ones do, so that
            numbers would mean another frame.
    """
    with open_video(path) as video:
        index = index_frames(video)
    with open_video(path) as video:
        if index.timed:
            times = {frame.pts for frame in video.decodable_frames()}
            found = [time is not None and time in times for time in index.times]
        else:
            found = [frame is not None for frame in video.decoded()]
    count = len(found) - next((place for place, there in enumerate(reversed(found)) if there), len(found))
    if False in found[:count]:
        raise lost_frame(path, found.index(False), len(found))
    return count


def lost_frame(path: File, number: int, count: int) -> DataError:
    """The error of a frame that is asked for, or stands before one, though it is lost."""
    return DataError(f"{path}: frame {number} of {count} does not decode, though later ones do")


class _Header(NamedTuple):
    """What a packet says of itself. Packets are not kept: those of a long video would fill the memory."""

    time: int
    seek: int
    is_key: bool
    is_shown: bool
    is_hollow: bool
    place: int


def _header(packet: Packet[VideoStream], video: OpenVideo) -> _Header:
    time = _NO_TIME if packet.pts is None else packet.pts
    # seeking by presentation time can land behind the key frame
    seek = time if packet.dts is None else packet.dts
    codec, data = video.stream.codec_context.name, bytes(packet)
    # VP8 has hidden frames in packets of their own
    is_shown = not packet.is_discard and (codec != "vp8" or bool(data[0] & 0x10))
    if video.container.format.name in _PADDED:
        data = data.rstrip(b"\0")
    is_hollow = packet.is_corrupt or (codec in _WITHOUT_ZEROS and (not data or _HOLE in data))
    return _Header(time, seek, packet.is_keyframe, is_shown, is_hollow, packet.pos or 0)


def _lost_packets(video: OpenVideo, headers: Sequence[_Header]) -> bool:
    """Whether the file's header counts more frames than there are packets."""
    return len(headers) < video.stream.frames


def _numbers(video: OpenVideo, headers: Sequence[_Header], shown: Sequence[_Header]) -> list[int]:
    """The numbers of the frames that are shown, in ascending order of time."""
    container, times = video.container.format.name, [header.time for header in shown]
    if container == "avi" and _lost_packets(video, headers):
        listed = {entry.pos + _AVI_CHUNK: entry.timestamp for entry in video.stream.index_entries}
        if not all(header.place in listed for header in shown):
            raise _no_numbers(video, headers)
        return [listed[header.place] for header in shown]
    step = _step(video, times)
    if len(headers) == video.stream.frames or step is None:
        return list(range(len(shown)))
    # frames that are decoded ahead of others may put the first one that late
    late = min(headers).time > (video.stream.codec_context.has_b_frames + 1.5) * step
    return frame_numbers.by_time(times, step, round(times[0] / step) if late and container in _FROM_ZERO else 0)


def _step(video: OpenVideo, times: Sequence[int]) -> float | None:
    rate, unit = video.stream.average_rate, video.stream.time_base
    return frame_numbers.constant_step(times, float(1 / (rate * unit)) if rate and unit else None)


def _no_numbers(video: OpenVideo, headers: Sequence[_Header]) -> DataError:
    promised = f" of {video.stream.frames}" if _lost_packets(video, headers) else ""
    hollow = sum(header.is_hollow for header in headers)
    return DataError(
        f"{video.path}: {len(headers)}{promised} frames are there, {hollow} of them damaged, and nothing tells which"
    )


def _problem(video: OpenVideo, headers: Sequence[_Header], frames: Mapping[int, _Header], sound: int) -> str:
    """What a file's header, its duration and the times of its frames have against each other."""
    stream, times = video.stream, [header.time for header in frames.values()]
    if _lost_packets(video, headers):
        return f"has {len(headers)} frames, its header promises {stream.frames}"
    step = _step(video, times)
    if step is None or not frames:
        return ""
    if jumps := [number for number, steps in enumerate(np.rint(np.diff(times) / step).tolist()) if steps > 1]:
        at, after = (float(times[place] * (stream.time_base or 0)) for place in (jumps[0], jumps[0] + 1))
        return f"jumps from {at:g} s to {after:g} s, {len(jumps)} jumps in {len(times)} frames at a constant rate"
    if sound <= max(frames):
        return f"has {sound} of {max(frames) + 1} frames, the others are lost or damaged"
    # a last frame may be shown for long; where all frames are counted that tells nothing
    promised = None if len(headers) == stream.frames else _promised_end(video)
    if promised is not None and promised - times[-1] > _LATE * step:
        missing = round((promised - times[-1]) / step) - 1
        return f"has {sound} frames, its duration promises {sound + missing}"
    return ""


def _promised_end(video: OpenVideo) -> float | None:
    """When the last frame should end, in the stream's unit."""
    stream = video.stream
    if stream.duration is not None:
        return (stream.start_time or 0) + stream.duration
    if video.container.duration is None or len(video.container.streams) > 1 or not stream.time_base:
        return None
    return float(video.container.duration / (1_000_000 * stream.time_base))


def _times_tell_order(video: OpenVideo, headers: Sequence[_Header]) -> bool:
    """Whether the order of the packets' times is the order in which a decoder shows their frames."""
    # AVI has no presentation times
    if video.container.format.name == "avi" and video.stream.codec_context.has_b_frames:
        return False
    times = {header.time for header in headers} - {_NO_TIME}
    return len(times) == len(headers) and any(header.is_key for header in headers)


def _suits_decord(video: OpenVideo, headers: Sequence[_Header], times: Sequence[int]) -> bool:
    """Whether decord 0.6 reads this video right.

    It shows what an edit list hides, places key frames by their order in the file instead of in time (wrong for open
    groups of pictures), loses its place when it seeks in AVI or MPEG-TS, and converts rarer pixel formats in its own
    way. Nothing is raised then: it hands out another picture. Damage other than cuts and holes it patches up without a
    word, where PyAV mostly tells.
    """
    return (
        len(times) == len(headers)
        and all(times[place] == header.time for place, header in enumerate(headers) if header.is_key)
        and video.container.format.name in _DECORD_CONTAINERS
        and video.stream.codec_context.pix_fmt in _DECORD_PIXELS
    )
