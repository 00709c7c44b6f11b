"""HC-STVG with one mask a video, as PixelRefer publishes it: the person is pointed at on one frame.

::

    hc_stvg_val.json                 one array
    {"video": "27_woC9Vfbn74I.mkv", "frame_idx": "36", "mask": {"size": [360, 640], "counts": "..."},
     "caption": "The man ..."}
    <any folder>/27_woC9Vfbn74I.mkv

The mask is COCO's run-length code. Frame numbers are taken to count the frames of the video from 0: the loader that
comes with the file does so. Videos are found by name in any folder, whatever their container, as `HcStvg` finds them.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from datamodules.errors import DataError
from datamodules.formats.videorefer_objects import parse_prompted_frame
from datamodules.prompting.placeholders import check_mentions
from datamodules.reading.fields import filled, mapping, member
from datamodules.reading.geometry import parse_mask
from datamodules.reading.json_index import Named
from datamodules.reading.record_list import RecordList
from datamodules.reading.records import RecordSource
from datamodules.reading.video_folder import VideoFolder
from datamodules.types import Region, RegionSample, Turn, Video


class HcStvgMasks(RecordSource):
    """The person of every video, to be described; nothing is known of where it is on other frames.

    Args:
        path: The annotation file.
        videos: Folder that has the videos, in it or in any folder below.
        question: What is asked; `<region>` is the person.
    """

    def __init__(
        self,
        path: Path,
        videos: Path,
        *,
        question: str = "Please describe the object <region> in brief in the video.",
    ) -> None:
        check_mentions(question, num_regions=1, where="question")
        self.path = Path(path)
        self.videos = Path(videos)
        self.question = question

    @cached_property
    def records(self) -> RecordList:
        """The records of the file."""
        return RecordList.build(self.path)

    def sample(self, record: Named, part: int) -> RegionSample:
        """The person of one record."""
        fields = mapping(record.value, "record")
        frame = parse_prompted_frame(fields, "single_frame")
        assert frame is not None, "a record names its frame"
        name = filled(member(fields, "video"), "video")
        caption = filled(member(fields, "caption"), "caption").strip()
        stem = Path(name).stem
        return RegionSample(
            id=str(record.name),
            media=Video(self._path(stem, name)),
            regions=(Region.at(parse_mask(member(fields, "mask"), "mask"), frame, "person"),),
            conversation=(Turn(self.question, caption, (caption,)),),
            task="caption",
            protocol=f"HC-STVG {self.path.stem}, one mask",
            cluster=f"YouTube {stem.partition('_')[2] or name}",
        )

    def _path(self, stem: str, name: str) -> Path:
        if (path := self._folder.named(stem)) is None:
            raise DataError(f"{self.videos}: no video {name}")
        return path

    @cached_property
    def _folder(self) -> VideoFolder:
        return VideoFolder.scan(self.videos)
