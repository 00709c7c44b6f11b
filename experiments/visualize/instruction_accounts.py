"""What became of the regions of some videos, frames, claims with verdicts, before and after, drops.

Regions have the numbers and colours that the models read and see.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from html import escape
from pathlib import Path
from shutil import copyfile
from typing import Any

from datamodules.errors import DataError
from datamodules.reading.jsonl_index import JsonlIndex
from datamodules.regvid.instruct import MENTION
from experiments.visualize.instruction_page import number_plate

DROPS_OF_A_KIND = 3

Record = Mapping[str, Any]

_CLASS = {True: ' class="denied"', False: ""}


def accounts_html(regions: Path, to: Path) -> tuple[str, str]:
    """Sections of the videos whose frames were kept; and some drops of each kind, with the answers that were no use.

    Args:
        regions: What the pipeline tells of every region; its pictures lie beside it.
        to: Folder of the page; pictures are copied into it.

    Raises:
        DataError: It cannot be read, or a picture is missing.
    """
    shown: dict[str, list[Record]] = {}
    drops: dict[tuple[str, str, str], list[str]] = {}
    index = JsonlIndex.build(regions)
    for record in map(index.read, range(len(index))):
        if record["frames"]:
            shown.setdefault(record["frames"], []).append(record)
        for item in record["dropped"]:
            kind = drops.setdefault((item["stage"], item["what"], item["reason"]), [])
            if len(kind) < DROPS_OF_A_KIND:
                kind.append(_drop(item, f"{escape(record['video'])} {_region(record)}: "))
    for picture in shown:
        _copy(regions.parent / picture, to / picture)
    videos = [_video(picture, records) for picture, records in shown.items()]
    lost = [f"<h3>{escape(': '.join(kind))}</h3>{''.join(some)}" for kind, some in sorted(drops.items())]
    return "\n".join(videos), f"<section><h2>dropped</h2>{''.join(lost)}</section>" if lost else ""


def _copy(picture: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    try:
        copyfile(picture, to)
    except OSError as error:
        raise DataError(f"{picture}: cannot be read: {error}") from None


def _video(picture: str, records: Sequence[Record]) -> str:
    place = escape(picture)
    seen = f'<a href="{place}"><img src="{place}" alt="" loading="lazy"></a><p class="note">what the describer saw</p>'
    return f"<section><h2>{escape(records[0]['video'])}</h2>{seen}{''.join(map(_account, records))}</section>"


def _account(record: Record) -> str:
    parts = [f"<h3>{_region(record)}</h3>"]
    if record["description"] is not None:
        parts += [_labelled("before", escape(record["description"]))]
    if record["verified"] is not None:
        parts += [_labelled("after", _changed(record["description"], record["verified"]))]
    parts += [_claims("claims", record["claims"])]
    if record["summary"] is not None:
        parts += [_labelled("brief", escape(record["summary"]))]
    turns = (f"<b>{_text(turn['question'])}</b> {escape(turn['answer'])}" for turn in record["conversation"])
    parts += [_labelled("conversation", "<br>".join(turns))] if record["conversation"] else []
    parts += [_claims("summary and turns", record["checked"])]
    return "".join([*parts, *(_drop(item, "") for item in record["dropped"])])


def _claims(name: str, claims: Sequence[Record]) -> str:
    if not claims:
        return ""
    rows = "".join(
        f"<tr{_CLASS[claim['denied']]}><td>{_text(claim['claim'])}</td><td>{_text(claim['question'])}</td>"
        f"<td>{escape(' / '.join(filter(None, (claim['grade'], claim['again']))))}</td></tr>"
        for claim in claims
    )
    return f"<details open><summary>{name}</summary><table>{rows}</table></details>"


def _drop(item: Record, where: str) -> str:
    said = f"<pre>{escape(item['answer'])}</pre>" if item["answer"] else ""
    lost = escape(f"{item['what']} dropped, {item['stage']}: {item['reason']}. {item['detail']}")
    return f'<p class="denied">{where}{lost}</p>{said}'


def _changed(before: str, after: str) -> str:
    """The text after, with what it says no more struck out, and what is new underlined."""
    old, new = before.split(), after.split()
    return " ".join(_pieces(old, new, SequenceMatcher(None, old, new, autojunk=False)))


def _pieces(old: Sequence[str], new: Sequence[str], matcher: SequenceMatcher[str]) -> Iterator[str]:
    for kind, start, end, first, last in matcher.get_opcodes():
        if kind != "equal" and end > start:
            yield f"<del>{escape(' '.join(old[start:end]))}</del>"
        if last > first:
            words = escape(" ".join(new[first:last]))
            yield words if kind == "equal" else f"<ins>{words}</ins>"


def _labelled(name: str, html: str) -> str:
    return f'<p><span class="note">{name}</span> {html}</p>'


def _region(record: Record) -> str:
    return f"{number_plate(record['index'])} {escape(record['noun'])}"


def _text(text: str) -> str:
    """Text with each mention of a region on its colour."""
    parts = MENTION.split(text)
    return "".join(number_plate(int(part)) if place % 2 else escape(part) for place, part in enumerate(parts))
