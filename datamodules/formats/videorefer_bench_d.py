"""VideoRefer-Bench-D: one object of a video, to be described.

    VideoRefer-Bench-D.json     a list of records
    Panda-70M-part/             the videos; their names have colons, `rLlzmcp3J6s_0:01:09.633_0:01:14.333.mp4`

A record has `id`, `video` (a file name), `caption` (the reference), `frame_idx` (a frame number, as text) and
`annotation`, a list of one object (`datamodules.formats.videorefer_objects`) with masks on about 32 frames of the
video.
"""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path

from datamodules.formats.videorefer_objects import Mode, parse_id, parse_object, parse_prompted_frame, video_media
from datamodules.prompting.placeholders import check_mentions
from datamodules.reading.fields import array, filled, mapping, member
from datamodules.reading.json_index import Named
from datamodules.reading.record_list import RecordList
from datamodules.reading.records import RecordSource
from datamodules.reading.shown import shown
from datamodules.types import RegionSample, Turn

_TIMES = re.compile(r"_\d+:\d\d:\d\d\.\d+_\d+:\d\d:\d\d\.\d+$")


class VideoReferBenchD(RecordSource):
    """Descriptions of one object a video.

    Samples are clustered by the video that theirs was cut from, at the times in its name.

    The masks of all annotated frames are the region's track; null says that the object is not visible. Frame numbers
    are taken to count the frames of the video file: published loaders do so, the release does not say.

    Args:
        path: `VideoRefer-Bench-D.json`.
        videos: Folder of the videos.
        mode: The object is shown on the record's `frame_idx` ("single_frame"), or on the first annotated frame that
            it is visible on ("multi_frame"); one frame is prompted either way.
        question: What is asked, by default in the words of the benchmark; `<region>` is the object.
    """

    def __init__(
        self,
        path: Path,
        videos: Path,
        *,
        mode: Mode = "single_frame",
        question: str = "Please give a detailed description of the highlighted object <region> in the video.",
    ) -> None:
        check_mentions(question, num_regions=1, where="question")
        self.path = Path(path)
        self.videos = Path(videos)
        self.mode: Mode = mode
        self.question = question

    @cached_property
    def records(self) -> RecordList:
        """The records of the file."""
        return RecordList.build(self.path)

    def sample(self, record: Named, part: int) -> RegionSample:
        """The description of the record's object."""
        fields = mapping(record.value, "record")
        [value] = array(member(fields, "annotation"), "annotation", 1)
        video = filled(member(fields, "video"), "video")
        caption = filled(member(fields, "caption"), "caption")
        regions = (parse_object(value, parse_prompted_frame(fields, self.mode), "annotation[0]"),)
        return RegionSample(
            id=parse_id(fields),
            media=video_media(self.videos / video),
            regions=regions,
            conversation=(Turn(self.question, caption, (caption,)),),
            task="caption",
            protocol=f"VideoRefer-Bench-D, {self.mode} {shown(regions, 'mask')}",
            cluster=f"YouTube {_TIMES.sub('', Path(video).stem)}",
        )
