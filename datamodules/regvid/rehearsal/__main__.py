"""`python -m datamodules.regvid.rehearsal`: serves the stand-in models until it is stopped."""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from datamodules.regvid.rehearsal.faults import FAULTS, RandomFaults
from datamodules.regvid.rehearsal.scenes import Scenes
from datamodules.regvid.rehearsal.server import RehearsalServer
from datamodules.regvid.rehearsal.truthful import TruthfulModels
from datamodules.types import DataError


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves as the command line says."""
    asked = _parser().parse_args(arguments)
    models = TruthfulModels(Scenes(asked.shapes), asked.lies, asked.judge_errors, asked.unseen, asked.seed)
    faults = RandomFaults(dict.fromkeys(FAULTS, asked.faults / len(FAULTS)), asked.seed)
    with RehearsalServer(models, faults, asked.port) as server:
        sys.stdout.write(f"{server.base_url}: {', '.join(models.names)}\n")
        sys.stdout.flush()
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            sys.stdout.write(f"{len(server.exchanges)} requests\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m datamodules.regvid.rehearsal", description=__doc__)
    parser.add_argument("--port", type=int, default=8300, help="on the loopback; 0 for any free one (%(default)s)")
    parser.add_argument("--shapes", type=Path, default=Path("data/shapes"), help="the built-in data set (%(default)s)")
    parser.add_argument("--lies", type=float, default=0.0, help="share of false sentences (%(default)s)")
    parser.add_argument("--judge-errors", type=float, default=0.0, help="share of wrong verdicts (%(default)s)")
    parser.add_argument("--unseen", type=float, default=0.0, help="share of regions not seen (%(default)s)")
    parser.add_argument("--faults", type=float, default=0.0, help="share of requests that go wrong (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="decides which (%(default)s)")
    return parser


if __name__ == "__main__":
    try:
        main()
    except DataError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
