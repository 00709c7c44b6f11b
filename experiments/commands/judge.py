"""`python cli.py judge --config X`: scores answers of a test by a judge model.

The configuration is that of the test, whose `judge` names the benchmark, the judge and the predictions. Nothing that
was answered is asked again: the same command goes on where an earlier one was stopped or killed. Exit code 3 says that
there are questions left which wait for an answer.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from datamodules.errors import DataError
from experiments.config.parsers import CommandParser
from experiments.run_files import RESULTS

if TYPE_CHECKING:
    from datamodules.region_datamodule import RegionDataModule
    from metrics.judging.judge import Judge, Plan, Result
    from metrics.judging.options import Options
    from metrics.predictions import Score

WAITING = 3
INTERRUPTED = 130
_PARTS = ["data", "judge"]


class Configured(NamedTuple):
    """A judge, and the data that were tested on.

    Attributes:
        options: Of the judge.
        data: None where it is shown nothing of them, unless they were asked for.
        described: The data's arguments; empty without data.
    """

    options: Options
    data: RegionDataModule | None
    described: Mapping[str, Any]


def main(arguments: Sequence[str]) -> None:
    """Asks the judge and writes what it comes to; `DataError` for what cannot be read, reached, judged or written."""
    asked, rest = parser().parse_known_args(arguments)
    # not before: --help has to answer at once
    from experiments.terminal import console
    from metrics import predictions_file
    from metrics.judging.judge import write_captions
    from metrics.table import score_table

    configuration = configured(rest)
    options = configuration.options
    if asked.export is not None:
        write_captions(asked.export, predictions_file.read(options.predictions))
        return
    judge = with_predictions(configuration)
    if asked.dry_run:
        _print_plan(judge.plan())
        return
    console().print(score_table(options.protocol, carry_out(judge)))


def configured(arguments: Sequence[str], data: bool = False) -> Configured:
    """The judge of a command line, and the data where it is shown pictures of them.

    Args:
        arguments: Options of the configuration.
        data: Whether the data are wanted in any case.

    Raises:
        DataError: Something of it cannot be used, or no judge is named.
    """
    from jsonargparse import Namespace, namespace_to_dict

    from datamodules.region_datamodule import RegionDataModule
    from experiments.config.interpolation import interpolated
    from experiments.config.parts import part_parser
    from metrics.judging.options import Options
    from metrics.judging.protocols import PROTOCOLS

    configuration = part_parser("judge", _PARTS)
    configuration.add_class_arguments(Options, "judge")
    configuration.add_subclass_arguments(RegionDataModule, "data", required=False)
    try:
        config = configuration.parse_args(list(arguments))
    except DataError as error:
        if re.search(r"arguments are required: .*\bjudge\.model\b", str(error)):
            raise DataError(
                "no judge is configured: --judge.model names one, as datamodules.regvid.OpenAIModel with "
                "--judge.model.model NAME and --judge.model.base_url URL"
            ) from error
        raise
    # a judge that reads only needs no data, nor the values that name them
    shows = (data or PROTOCOLS[config.judge.protocol].shown is not None) and config.data is not None
    wanted = _PARTS if shows else ["judge"]
    config = interpolated(configuration, config, wanted)
    chosen = Namespace({name: config[name] for name in wanted})  # type: ignore[no-untyped-call]  # jsonargparse's
    made = configuration.instantiate_classes(chosen)
    described = namespace_to_dict(config.data.init_args) if shows else {}
    return Configured(made.judge, made.get("data"), described)


def with_predictions(configuration: Configured) -> Judge:
    """The judge with the predictions that it is to score; errors are those of reading them, and of `Judge`."""
    from metrics import predictions_file
    from metrics.judging.judge import Judge

    options, data, _ = configuration
    sources = None if data is None else data.sources["test"]
    return Judge(options, predictions_file.read(options.predictions), sources)


def carry_out(judge: Judge) -> dict[str, Score]:
    """Asks what was not answered before, with bars, and writes verdicts and numbers into the judge's folder.

    Raises:
        DataError: As `Judge.carry_out` and `Judge.scores`.
        SystemExit: 130 if it was interrupted, 3 if questions wait for an answer.
    """
    from functools import partial

    from experiments.call_bars import Bars
    from experiments.commands.score import save
    from metrics.judging.judge import write_verdicts

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
    write_verdicts(judge.options.folder, result.judgements)
    save(scores, judge.options.folder / RESULTS)
    return scores


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
