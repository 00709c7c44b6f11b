"""A media file on disk or inside another file, as what every decoder can open."""

from __future__ import annotations

from io import BytesIO

from datamodules.types import File, PackedFile


def opened(file: File) -> str | BytesIO:
    """The path of a file, or the bytes of one that has none.

    Raises:
        DataError: The bytes cannot be had.
    """
    return BytesIO(file.read()) if isinstance(file, PackedFile) else str(file)
