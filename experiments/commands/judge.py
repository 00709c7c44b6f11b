"""`python cli.py judge --config X`: scores answers of a test by a judge model.

The configuration is that of the test, whose `judge` names the benchmark, the judge and the predictions. Nothing that
was answered is asked again: the same command goes on where an earlier one was stopped or killed. Exit code 3 says that
there are questions left which wait for an answer.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.config.parsers import CommandParser

if TYPE_CHECKING:
    from datamodules.region_datamodule import RegionDataModule
    from metrics.judging.judge import Plan, Result
    from metrics.judging.options import Options

WAITING = 3
INTERRUPTED = 130
_PARTS = ["data", "judge"]
RESULTS = "results.json"


def main(arguments: Sequence[str]) -> None:
    """Asks the judge and writes what it comes to; `DataError` for what cannot be read, reached, judged or written."""
    asked, rest = parser().parse_known_args(arguments)
    # not before: --help has to answer at once
    from functools import partial

    from experiments.call_bars import Bars
    from experiments.commands.score import save
    from experiments.terminal import console
    from metrics import predictions_file
    from metrics.judging.judge import Judge, write_captions, write_verdicts
    from metrics.table import score_table

    options, data = _configured(rest)
    predictions = predictions_file.read(options.predictions)
    if asked.export is not None:
        write_captions(asked.export, predictions)
        return
    judge = Judge(options, predictions, None if data is None else data.sources["test"])
    if asked.dry_run:
        _print_plan(judge.plan())
        return
    bars = Bars()
    try:
        result = judge.carry_out(partial(bars.watch, what="predictions"))
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: the same command goes on from here\n")
        sys.exit(INTERRUPTED)
    if result.waiting:
        _tell(result)
        sys.exit(WAITING)
    scores = judge.scores(result)
    write_verdicts(options.folder, result.judgements)
    save(scores, options.folder / RESULTS)
    console().print(score_table(options.protocol, scores))


def _configured(arguments: Sequence[str]) -> tuple[Options, RegionDataModule | None]:
    """The judge, and the data where it is shown pictures of them."""
    from jsonargparse import Namespace

    from datamodules.region_datamodule import RegionDataModule
    from experiments.config.interpolation import interpolated
    from experiments.config.parts import part_parser
    from metrics.judging.options import Options
    from metrics.judging.protocols import PROTOCOLS

    configuration = part_parser("judge", _PARTS)
    configuration.add_class_arguments(Options, "judge")
    configuration.add_subclass_arguments(RegionDataModule, "data", required=False)
    config = configuration.parse_args(list(arguments))
    # a judge that reads only needs no data, nor the values that name them
    shows = PROTOCOLS[config.judge.protocol].shown is not None and config.data is not None
    wanted = _PARTS if shows else ["judge"]
    config = interpolated(configuration, config, wanted)
    chosen = Namespace({name: config[name] for name in wanted})  # type: ignore[no-untyped-call]  # jsonargparse's
    made = configuration.instantiate_classes(chosen)
    return made.judge, made.get("data")


def _tell(result: Result) -> None:
    told = f"{result.waiting} questions wait: {result.reason}\nthe same command goes on from here"
    sys.stdout.write(f"{told}; nothing that was answered is asked again\n")


def _print_plan(plan: Plan) -> None:
    usage = plan.most
    tokens = f"about {usage.prompt_tokens:,} tokens in, at most {usage.completion_tokens:,} out"
    sys.stdout.write(f"{plan.calls:,} calls, {tokens}, cost {usage.money:.2f}; no call was made\n")


def parser() -> argparse.ArgumentParser:
    """The command's options, but for those of the configuration."""
    arguments = CommandParser(
        prog="python cli.py judge",
        description=__doc__,
        epilog="The rest is configuration: --config, --judge..., --data..., --vars...",
    )
    arguments.add_argument("--dry-run", action="store_true", help="print calls, tokens and cost; no call")
    arguments.add_argument(
        "--export",
        type=Path,
        metavar="JSON",
        help="write {annotation: caption} for the benchmark's own script; no call",
    )
    return arguments
