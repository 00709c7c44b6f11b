"""One record of region_jsonl -> RegionSample, checked in full but for what only the media can tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datamodules.errors import DataError
from datamodules.prompting.placeholders import PLACEHOLDER
from datamodules.reading.checks import check_sample
from datamodules.reading.fields import array, filled, frame_number, integer, known_keys, mapping, member, only_key, text
from datamodules.reading.geometry import KINDS, parse_geometry
from datamodules.types import Frames, Geometry, Media, Region, RegionSample, Task, Turn, Video

_MEDIA = ("image", "video", "frames")
_CONTENT = ("regions", "conversation", "references", "options", "label")
_KEYS = {"id", "span", "task", "group", "cluster", "meta", *_MEDIA, *_CONTENT}
_PROMPT_KEYS = ("prompts", *KINDS)
_REGION_KEYS = {"frame", "category", "track", *_PROMPT_KEYS}


def parse_record(record: object, root: Path, origin: str) -> RegionSample:
    """The sample that one parsed line says.

    Args:
        record: The line as `json.loads` returns it.
        root: Folder that media paths are relative to.
        origin: File and line, for error messages.

    Raises:
        DataError: `origin: sample 'id': where: what disagrees`. Whether a geometry lies on its frame is left
            to the reader of the media, who knows the frame's size.
    """
    try:
        return _sample(mapping(record, "record"), root, origin)
    except DataError as error:
        name = record.get("id") if isinstance(record, dict) else None
        sample = f"sample {name!r}: " if isinstance(name, str) else ""
        raise DataError(f"{origin}: {sample}{error}") from None


def _sample(record: dict[str, Any], root: Path, origin: str) -> RegionSample:
    known_keys(record, _KEYS)
    media = _media(record, root)
    conversation = _conversation(record)
    options, label = _choice(record)
    sample = RegionSample(
        id=filled(member(record, "id"), "id"),
        media=media,
        regions=_regions(record, media),
        conversation=conversation,
        options=options,
        label=label,
        task=_task(record, options),
        group=text(record.get("group", ""), "group"),
        cluster=text(record.get("cluster", ""), "cluster"),
        meta=mapping(record.get("meta", {}), "meta"),
        origin=origin,
    )
    check_sample(sample)
    return sample


def _media(record: dict[str, Any], root: Path) -> Media:
    kind = only_key(record, _MEDIA)
    span = _span(record["span"]) if "span" in record else None
    if kind == "video":
        return Video(root / filled(record[kind], kind), span)
    names = array(record[kind], kind) if kind == "frames" else [record[kind]]
    if not names:
        raise DataError("frames: expected one file or more, got 0")
    if span and span[1] > len(names):
        raise DataError(f"span: [{span[0]}, {span[1]}) of {len(names)} frames")
    return Frames(tuple(root / filled(name, kind) for name in names), span)


def _span(value: object) -> tuple[int, int]:
    first, last = (_frame(item, "span") for item in array(value, "span", 2))
    if last <= first:
        raise DataError(f"span: inverted or empty, [{first}, {last})")
    return first, last


def _frame(value: object, where: str) -> int:
    return integer(value, where, least=0)


def _regions(record: dict[str, Any], media: Media) -> tuple[Region, ...]:
    values = array(member(record, "regions"), "regions")
    first = media.span[0] if media.span else 0
    return tuple(parse_region(value, f"regions[{number}]", first) for number, value in enumerate(values))


def parse_region(value: object, where: str, first: int = 0) -> Region:
    """One region of a record.

    Args:
        value: As `json.loads` returns it.
        where: Its place in the record, for error messages.
        first: The frame that is meant where none is named.

    Raises:
        DataError: `where: what is wrong`.
    """
    fields = mapping(value, where)
    known_keys(fields, _REGION_KEYS, where)
    category = None if fields.get("category") is None else text(fields["category"], f"{where}.category")
    track = _track(fields.get("track", {}), f"{where}.track")
    if only_key(fields, _PROMPT_KEYS, where) == "prompts":
        return Region(_prompts(fields, where), track, category)
    frame = _frame(fields.get("frame", first), f"{where}.frame")
    return Region.at(parse_geometry(fields, where), frame, category, track)


def _prompts(fields: dict[str, Any], where: str) -> dict[int, Geometry]:
    """What the user points with on each of several frames; where the object is there, the track alone says."""
    if "frame" in fields:
        raise DataError(f"{where}: 'frame' beside 'prompts', whose keys are the frames")
    prompts: dict[int, Geometry] = {}
    for frame, geometry in _track(fields["prompts"], f"{where}.prompts").items():
        if geometry is None:
            raise DataError(f"{where}.prompts[{str(frame)!r}]: expected a geometry, got null")
        prompts[frame] = geometry
    if not prompts:
        raise DataError(f"{where}.prompts: expected one frame or more, got 0")
    return prompts


def _track(value: object, where: str) -> dict[int, Geometry | None]:
    return {
        frame_number(key, where): _tracked(entry, f"{where}[{key!r}]") for key, entry in mapping(value, where).items()
    }


def _tracked(value: object, where: str) -> Geometry | None:
    if value is None:
        return None
    fields = mapping(value, where)
    known_keys(fields, set(KINDS), where)
    return parse_geometry(fields, where)


def _conversation(record: dict[str, Any]) -> tuple[Turn, ...]:
    turns = array(member(record, "conversation"), "conversation")
    chosen = len(turns) - 1 if record.get("options") else -1  # the turn whose answer the label tells
    references = array(record.get("references", [[] for _ in turns]), "references")
    if not turns:
        raise DataError("conversation: expected one turn or more, got 0")
    if len(references) != len(turns):
        raise DataError(f"references: for {len(references)} turns, the conversation has {len(turns)}")
    return tuple(
        _turn(turn, answers, number, number == chosen)
        for number, (turn, answers) in enumerate(zip(turns, references, strict=True))
    )


def _turn(value: object, references: object, number: int, chosen: bool) -> Turn:
    where = f"conversation[{number}]"
    fields = mapping(value, where)
    known_keys(fields, {"question", "answer"}, where)
    return Turn(
        question=filled(member(fields, "question", where), f"{where}.question"),
        answer=text(fields.get("answer", "") if chosen else member(fields, "answer", where), f"{where}.answer"),
        references=_texts(references, f"references[{number}]"),
    )


def _texts(value: object, where: str) -> tuple[str, ...]:
    return tuple(filled(item, f"{where}[{number}]") for number, item in enumerate(array(value, where)))


def _choice(record: dict[str, Any]) -> tuple[tuple[str, ...], int | None]:
    options = _texts(record.get("options", []), "options")
    if ("label" in record) != bool(options):
        raise DataError(f"{len(options)} options {'with' if 'label' in record else 'without'} a label")
    if not options:
        return (), None
    label = integer(record["label"], "label", least=0)
    if label >= len(options):
        raise DataError(f"label: {label} of {len(options)} options, counted from 0")
    return options, label


def _task(record: dict[str, Any], options: tuple[str, ...]) -> Task:
    chooses_region = bool(options) and all(PLACEHOLDER.fullmatch(option) for option in options)
    if "task" not in record:
        if options:
            return "refer" if chooses_region else "choice"
        return "caption" if "references" in record else "answer"
    return filled(record["task"], "task")
