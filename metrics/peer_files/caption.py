"""Captions and their references: COCO's result and annotation files, or plain text with one caption a line.

* COCO, where the predictions' name ends in `.json`: `[{"image_id": 1, "caption": "a red car"}, ...]`, one caption an
  image, and `{"annotations": [{"image_id": 1, "caption": "the car"}, ...], ...}`, any number of references an image.
  What is called image is what is captioned: files about regions have to give every region a number of its own, or else
  the regions of an image become references of each other.
* Plain text otherwise: line n of every reference file is a reference of the predictions' line n; where some samples
  have fewer references than others, the lines left over are blank.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from datamodules.errors import DataError
from datamodules.reading import fields
from datamodules.reading.json_index import JsonIndex
from datamodules.reading.records import located
from metrics.peer_files.rows import OURS, Names, check_same_ids, identifier, read_text, records, renamed
from metrics.predictions import Prediction


def read(path: Path, *references: Path, names: Names = OURS) -> list[Prediction]:
    """The captions in `path` with their references, in the order of `path`.

    Args:
        path: The captions.
        references: COCO's annotations, one file; for plain text one file or more.
        names: Fields that are called otherwise in COCO's two files.

    Raises:
        DataError: A file cannot be read, a record is broken, the files are not about the same samples, or a sample has
            two captions or no reference.
    """
    if path.suffix == ".json":
        if len(references) != 1:
            raise DataError(f"{path}: COCO captions need 1 file of annotations, {len(references)} were given")
        return _read_coco(path, references[0], names)
    return _read_text(path, references)


def _read_coco(path: Path, annotations: Path, names: Names) -> list[Prediction]:
    captions, references = _captions(path, names), _annotations(annotations, names)
    check_same_ids(path, captions, annotations, references)
    return [_prediction(name, caption, references[name], "COCO captions") for name, caption in captions.items()]


def _captions(path: Path, names: Names) -> dict[str, str]:
    captions: dict[str, str] = {}
    for origin, record in records(path, names):
        with located(origin):
            name = identifier(fields.member(record, "image_id"), "image_id")
            if name in captions:
                raise DataError(f"image_id: a second caption of {name}, expected one each")
            captions[name] = fields.text(fields.member(record, "caption"), "caption")
    return captions


def _annotations(path: Path, names: Names) -> dict[str, list[str]]:
    index = JsonIndex.build(path, "annotations")
    references: dict[str, list[str]] = {}
    for number in range(len(index)):
        with located(index.origin(number)):
            record = renamed(fields.mapping(index.read(number).value, "annotation"), names)
            name = identifier(fields.member(record, "image_id"), "image_id")
            references.setdefault(name, []).append(fields.filled(fields.member(record, "caption"), "caption"))
    return references


def _read_text(path: Path, references: Iterable[Path]) -> list[Prediction]:
    captions = _lines(path)
    columns = [_lines(file) for file in references]
    for file, column in zip(references, columns, strict=True):
        if len(column) != len(captions):
            odd = min(len(column), len(captions)) + 1
            counts = f"{path}: {len(captions)} captions, {file} has {len(column)} references"
            raise DataError(f"{counts}: line {odd} is only in one of them")
    return [
        _prediction(str(number), caption, _given(path, number, row), "plain text captions, matched by line")
        for number, (caption, *row) in enumerate(zip(captions, *columns, strict=True), start=1)
    ]


def _given(path: Path, line: int, references: Iterable[str]) -> list[str]:
    given = [reference for reference in references if reference.strip()]
    if not given:
        raise DataError(f"{path}:{line}: 0 references, all are blank")
    return given


def _lines(path: Path) -> list[str]:
    """The file's lines; only a line feed ends one, as exotic separators occur within captions."""
    text = read_text(path)
    if not text:
        raise DataError(f"{path}: no lines")
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]


def _prediction(name: str, caption: str, references: Iterable[str], protocol: str) -> Prediction:
    return Prediction(
        id=name,
        task="caption",
        group="",
        prompt="",
        prediction=caption.strip(),
        references=tuple(references),
        protocol=protocol,
    )
