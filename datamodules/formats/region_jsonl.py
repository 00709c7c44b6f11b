"""Our own format: one JSON object a line, a conversation about regions of an image, a video or some frames.

::

    {"id": "clip-0001",
     "video": "clips/0001.mp4",              or "image": "a.jpg", or "frames": ["f/0.jpg", ...]
     "span": [0, 96],                        optional, source frames, half-open
     "regions": [{"box": [x0, y0, x1, y1]},  absolute pixels, half-open
                 {"mask": {"size": [H, W], "counts": "..."}, "frame": 0},
                 {"stroke": {"points": [x, y, ...], "radius": 5}},  a click if there is one point
                 {"polygon": [[x, y, ...]], "category": "person",
                  "track": {"12": {"box": [...]}, "24": null}},
                 {"prompts": {"0": {"box": [...]}, "9": {"box": [...]}}, "track": {"0": {"mask": ...}}}],
     "conversation": [{"question": "What is <region0> doing?", "answer": "..."}],
     "references": [["...", "..."]],         optional, for every turn all answers that count as right
     "options": ["...", "..."], "label": 2,  optional, multiple choice for the last turn
     "task": "caption",                      optional, see `RegionSample`
     "group": "motion", "meta": {},          optional, see `RegionSample`
     "cluster": "film-7"}                    optional, see `RegionSample`

A mask is COCO's run-length code, compressed or a list. `frame` is the source frame on which the user points at the
region, by default the span's first. In a track, null says that the region is not visible on that source frame; frames
without a key are not known. What is pointed with counts as where the region is, unless the track has an entry for
`frame`: a box to point with, and the mask there. A stroke never does: it does not tell where a region ends. With
`prompts`, on one frame or several, nothing but the track says where the region is. An option may be a region,
"<region2>". Without `task` it is "refer" if every option is a region, "choice" with other options, "caption" with
references, and else "answer". The answer of a multiple choice may be left out, else it must be the right option. Any
other unknown answer is written "": it can be asked for, not trained on.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, assert_never

from datamodules.formats.region_record import parse_record
from datamodules.reading.geometry import dump_geometry
from datamodules.reading.record_list import RecordList
from datamodules.source import RegionSource
from datamodules.types import File, Frames, NoPicture, PackedFile, Pixels, Region, RegionSample, Sampled, Video

__all__ = ["RegionJsonl", "dump_record", "parse_record"]


class RegionJsonl(RegionSource):
    """Samples of a region_jsonl file.

    Args:
        path: The file.
        media_root: Folder that media paths are relative to; the file's own folder if left out.
    """

    def __init__(self, path: Path, media_root: Path | None = None) -> None:
        self.path = Path(path)
        self.media_root = self.path.parent if media_root is None else Path(media_root)

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, index: int) -> RegionSample:
        return parse_record(self._index.read(index).value, self.media_root, self._index.origin(index))

    @cached_property
    def _index(self) -> RecordList:
        return RecordList.build(self.path)


def dump_record(sample: RegionSample, root: Path) -> dict[str, Any]:
    """The record that `parse_record` reads back as `sample`; media below `root` are named relative to it.

    Raises:
        DataError: The sample's frames are in memory, or it has none: there is no file to name.
    """
    media = _dump_media(sample, root)
    start = 0 if sample.media.span is None else sample.media.span[0]
    record = {"id": sample.id, **media, "regions": [_dump_region(region, start) for region in sample.regions]}
    record["conversation"] = [{"question": turn.question, "answer": turn.answer} for turn in sample.conversation]
    if any(turn.references for turn in sample.conversation):
        record["references"] = [list(turn.references) for turn in sample.conversation]
    if sample.options:
        record |= {"options": list(sample.options), "label": sample.label}
    optional = {"group": sample.group, "cluster": sample.cluster, "meta": dict(sample.meta)}
    return record | {"task": sample.task} | {key: value for key, value in optional.items() if value}


def _dump_media(sample: RegionSample, root: Path) -> dict[str, Any]:
    media = sample.media
    span = {} if media.span is None else {"span": list(media.span)}
    if isinstance(media, Video):
        return {"video": _relative(media.path, root, sample)} | span
    if not isinstance(media, Frames):
        raise sample.error(f"{_held(media)}, there is no file to name")
    names = [_relative(path, root, sample) for path in media.paths]
    return ({"image": names[0]} if len(names) == 1 else {"frames": names}) | span


def _held(media: Pixels | Sampled | NoPicture) -> str:
    match media:
        case Pixels(array):
            return f"{len(array)} frames in memory"
        case Sampled(files):
            return f"{len(files)} sampled frames"
        case NoPicture():
            return "text alone"
    assert_never(media)


def _relative(path: File, root: Path, sample: RegionSample) -> str:
    if isinstance(path, PackedFile):
        raise sample.error(f"{path}: is no file of its own that could be named")
    return (path.relative_to(root) if path.is_relative_to(root) else path.absolute()).as_posix()


def _dump_region(region: Region, start: int) -> dict[str, Any]:
    record, told = _dump_prompts(region, start)
    if region.category is not None:
        record["category"] = region.category
    track = {
        str(frame): None if geometry is None else dump_geometry(geometry)
        for frame, geometry in region.track.items()
        if frame != told
    }
    return record | ({"track": track} if track else {})


def _dump_prompts(region: Region, start: int) -> tuple[dict[str, Any], int | None]:
    """The prompts as they are written, and the frame of the track that they tell with them, if any."""
    (frame, prompt), *others = region.prompts.items()
    if others or frame not in region.track:
        return {"prompts": {str(each): dump_geometry(geometry) for each, geometry in region.prompts.items()}}, None
    record = dump_geometry(prompt) | ({} if frame == start else {"frame": frame})
    return record, frame if prompt == region.track[frame] else None
