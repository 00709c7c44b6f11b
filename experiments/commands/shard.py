"""`python cli.py shard --config X --to DIR`: any configured source into a few large files, to stream from anywhere."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, get_args

from datamodules.errors import DataError
from datamodules.shards.layout import Form
from datamodules.shards.sizes import parse_bytes
from experiments.config.parsers import CommandParser, count

if TYPE_CHECKING:
    from rich.console import Console

SPLITS = ("train", "val", "test", "predict")


def main(arguments: Sequence[str]) -> None:
    """Writes every source of a split into a folder of its own; `DataError` for what cannot be read or written."""
    asked, rest = parser().parse_known_args(arguments)
    chunk_bytes = parse_bytes(asked.chunk_bytes)
    from rich.console import Console

    from datamodules.shards.storage import open_storage
    from datamodules.shards.stored_media import Storing
    from datamodules.shards.writer import write_shards
    from experiments.config.data import configured_data

    data = configured_data(rest)
    if not data.sources[asked.split]:
        raise DataError(f"the configuration has no {asked.split} source")
    storing = Storing(asked.media, data.num_frames, data.video_backend)
    console = Console(markup=False, highlight=False)
    for name, source in data.sources[asked.split].items():
        source.prepare()
        place = f"{asked.to.rstrip('/')}/{asked.split}/{name}"
        storage = open_storage(place, asked.endpoint)
        index = write_shards(source, storage, storing, chunk_bytes, asked.workers, _Progress(name, console))
        size = sum(chunk["chunk_bytes"] for chunk in index["chunks"])
        sys.stdout.write(f"{place}: {len(source)} samples, {len(index['chunks'])} chunks, {size / 1e6:.1f} MB\n")


class _Progress:
    """A bar for each stage of a source."""

    def __init__(self, name: str, console: Console) -> None:
        self.name = name
        self.console = console

    def __call__(self, steps: Iterable[Any], stage: str, total: int) -> Iterable[Any]:
        from rich.progress import track

        return track(steps, f"{self.name}: {stage}", total, console=self.console, transient=True)


def parser() -> argparse.ArgumentParser:
    """The command's options, but for those of the configuration."""
    arguments = CommandParser(
        prog="python cli.py shard",
        description=__doc__,
        epilog="The rest as for fit: --config, --data..., --vars...",
    )
    arguments.add_argument(
        "--to", required=True, metavar="DIR", help="folder, or s3://bucket/prefix; a source is put in DIR/SPLIT/NAME"
    )
    arguments.add_argument("--split", choices=SPLITS, default="train", help="whose sources are written (%(default)s)")
    arguments.add_argument(
        "--media",
        choices=get_args(Form),
        default="compressed",
        help="files as they are, or the frames that data.num_frames picks, without loss (%(default)s)",
    )
    arguments.add_argument("--chunk-bytes", default="64MB", metavar="SIZE", help="most bytes of a file (%(default)s)")
    arguments.add_argument("--workers", type=count, default=0, help="processes that write; 0 writes in this one")
    arguments.add_argument("--endpoint", metavar="URL", help="S3-compatible server, if not AWS_ENDPOINT_URL's")
    return arguments
