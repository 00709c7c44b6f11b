"""The stand-in models and their faults as a command line asks for them."""

from __future__ import annotations

import argparse
from pathlib import Path

from experiments.rehearsal.faults import FAULTS, RandomFaults
from experiments.rehearsal.scenes import Scenes
from experiments.rehearsal.truthful import TruthfulModels


def add_options(parser: argparse.ArgumentParser, lies: float, faults: float) -> None:
    """Adds what the models know, and how often they and their server err; `lies` and `faults` are defaults."""
    add = parser.add_argument
    add("--shapes", type=Path, default=Path("data/shapes"), help="the built-in data set (%(default)s)")
    add("--lies", type=float, default=lies, help="share of false sentences (%(default)s)")
    add("--judge-errors", type=float, default=0.0, help="share of wrong verdicts (%(default)s)")
    add("--unseen", type=float, default=0.0, help="share of regions not seen (%(default)s)")
    add("--faults", type=float, default=faults, help="share of calls that go wrong (%(default)s)")
    add("--seed", type=int, default=0, help="of all that is drawn (%(default)s)")


def stand_ins(asked: argparse.Namespace) -> tuple[TruthfulModels, RandomFaults]:
    """Models, and the faults of their server.

    Raises:
        DataError: An option makes no sense, or there is no such data set.
    """
    models = TruthfulModels(Scenes(asked.shapes), asked.lies, asked.judge_errors, asked.unseen, asked.seed)
    return models, RandomFaults(dict.fromkeys(FAULTS, asked.faults / len(FAULTS)), asked.seed)
