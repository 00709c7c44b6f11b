"""`python -m experiments.rehearsal`: serves the stand-in models until it is stopped."""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Sequence

from experiments.rehearsal.server import RehearsalServer
from experiments.rehearsal.stand_ins import add_options, stand_ins
from experiments.terminal import run_script


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves as the command line says."""
    asked = _parser().parse_args(arguments)
    models, faults = stand_ins(asked)
    with RehearsalServer(models, faults, asked.port) as server:
        sys.stdout.write(f"{server.base_url}: {', '.join(models.names)}\n")
        sys.stdout.flush()
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            sys.stdout.write(f"{len(server.exchanges)} requests\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m experiments.rehearsal", description=__doc__)
    parser.add_argument("--port", type=int, default=8300, help="on the loopback; 0 for any free one (%(default)s)")
    add_options(parser, lies=0.0, faults=0.0)
    return parser


if __name__ == "__main__":
    run_script(main)
