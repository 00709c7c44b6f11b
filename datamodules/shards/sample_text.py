"""RegionSample <-> JSON, all of it but the media."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from datamodules.errors import DataError
from datamodules.reading.geometry import dump_geometry, parse_geometry
from datamodules.types import Geometry, Media, Region, RegionSample, Turn


def dump_sample(sample: RegionSample) -> dict[str, Any]:
    """What `parse_sample` reads back as the same sample.

    Raises:
        DataError: It would not come back: a geometry is malformed, or `meta` holds what is not JSON.
    """
    record = _record(sample)
    try:
        found = parse_sample(json.loads(json.dumps(record)), sample.media)
    except (DataError, TypeError) as error:
        raise sample.error(f"cannot be written as JSON: {error}") from error
    # the media are the same object, and arrays cannot be compared in one word
    texts = [item.name for item in fields(sample) if item.name != "media"]
    if changed := [name for name in texts if getattr(found, name) != getattr(sample, name)]:
        raise sample.error(f"would not come back from JSON as it is: {', '.join(changed)}")
    return record


def _record(sample: RegionSample) -> dict[str, Any]:
    return {
        "id": sample.id,
        "regions": [_dump_region(region) for region in sample.regions],
        "conversation": [[turn.question, turn.answer, list(turn.references)] for turn in sample.conversation],
        "options": list(sample.options),
        "label": sample.label,
        "task": sample.task,
        "group": sample.group,
        "answering": sample.answering,
        "protocol": sample.protocol,
        "cluster": sample.cluster,
        "meta": dict(sample.meta),
        "origin": sample.origin,
    }


def parse_sample(record: Mapping[str, Any], media: Media) -> RegionSample:
    """The sample that was dumped, about `media`; `DataError` if a geometry is malformed."""
    texts = {key: record[key] for key in ("id", "label", "task", "group", "answering", "protocol", "meta", "origin")}
    return RegionSample(
        media=media,
        regions=tuple(_parse_region(region, f"regions[{number}]") for number, region in enumerate(record["regions"])),
        conversation=tuple(
            Turn(question, answer, tuple(references)) for question, answer, references in record["conversation"]
        ),
        options=tuple(record["options"]),
        cluster=record.get("cluster", ""),  # shards of earlier versions have none
        **texts,
    )


def _dump_region(region: Region) -> dict[str, Any]:
    return {
        # null: just what the track has there
        "prompts": {
            str(frame): None if prompt == region.track.get(frame) else dump_geometry(prompt)
            for frame, prompt in region.prompts.items()
        },
        "category": region.category,
        "track": {str(frame): None if place is None else dump_geometry(place) for frame, place in region.track.items()},
    }


def _parse_region(record: Mapping[str, Any], where: str) -> Region:
    track = {int(frame): _parse_place(place, f"{where}.track[{frame}]") for frame, place in record["track"].items()}
    prompts = {
        int(frame): _parse_prompt(prompt, track.get(int(frame)), f"{where}.prompts[{frame}]")
        for frame, prompt in record["prompts"].items()
    }
    return Region(prompts, track, record["category"])


def _parse_prompt(record: dict[str, Any] | None, place: Geometry | None, where: str) -> Geometry:
    if record is not None:
        return parse_geometry(record, where)
    if place is None:
        raise DataError(f"{where}: null, but the track has nothing there")
    return place


def _parse_place(record: dict[str, Any] | None, where: str) -> Geometry | None:
    return None if record is None else parse_geometry(record, where)
