"""`python cli.py regvid --config X`: annotated videos into region-level instructions, by chat models.

Nothing that was answered is asked again: the same command goes on where an earlier one was stopped or killed. Exit
code 3 says that there are videos left which wait for an answer.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from datamodules.errors import DataError
from datamodules.regvid.accounts import STAGES, Stage
from experiments.config.parsers import CommandParser

if TYPE_CHECKING:
    from jsonargparse import Namespace

    from datamodules.region_datamodule import RegionDataModule
    from datamodules.regvid.dry_run import Plan
    from datamodules.regvid.mark import Mark
    from datamodules.regvid.options import Options
    from datamodules.regvid.run import Result

WAITING = 3
INTERRUPTED = 130
_PARTS = ["data", "mark", "regvid"]


class Configured(NamedTuple):
    """What a configuration makes."""

    data: RegionDataModule
    mark: Mark
    options: Options


def main(arguments: Sequence[str]) -> None:
    """Runs the stages and writes what they come to; `DataError` for what cannot be read, reached or written."""
    asked, rest = parser().parse_known_args(arguments)
    if asked.report is not None:
        from datamodules.regvid.output import SAMPLES
        from experiments.visualize.instruction_report import report

        samples = asked.report if asked.report.name else _configured(rest).options.to / SAMPLES
        report(samples, asked.to or samples.parent / "report")
        return

    from datamodules.regvid.run import Run
    from datamodules.regvid.videos import gather
    from experiments.call_bars import Bars

    data, mark, options = _configured(rest)
    if not data.sources[options.split]:
        raise DataError(f"the configuration has no {options.split} source")
    run = Run(options, mark, asked.stages)
    bars = Bars()
    videos = gather(data.sources[options.split], options.to, options.most_videos, bars.look)
    if asked.dry_run:
        _print_plan(run.plan(videos), "no call was made")
        return
    try:
        if asked.probe is not None:
            _print_plan(run.probe(videos, asked.probe, bars.watch), "calls that were made are answers of the next run")
            return
        result = run.carry_out(videos, bars.watch)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: the same command goes on from here\n")
        sys.exit(INTERRUPTED)
    _tell(result, options.to)
    if result.stopped or (result.waits and asked.stages == STAGES):
        sys.exit(WAITING)


def _configured(arguments: Sequence[str]) -> Configured:
    made = instantiated(arguments, _PARTS)
    return Configured(made.data, made.mark, made.regvid)


def instantiated(arguments: Sequence[str], chosen: Sequence[str]) -> Namespace:
    """What a command line configures, of `data`, `mark` and `regvid`; all three are checked."""
    from jsonargparse import Namespace

    from datamodules.region_datamodule import RegionDataModule
    from datamodules.regvid.mark import Mark
    from datamodules.regvid.options import Options
    from experiments.config.interpolation import interpolated
    from experiments.config.parts import part_parser

    parser = part_parser("regvid", _PARTS)
    parser.add_class_arguments(Options, "regvid")
    parser.add_class_arguments(Mark, "mark")
    parser.add_subclass_arguments(RegionDataModule, "data", required=True)
    config = interpolated(parser, parser.parse_args(list(arguments)), _PARTS)
    parts = Namespace({name: config[name] for name in chosen})  # type: ignore[no-untyped-call]  # jsonargparse's
    return parser.instantiate_classes(parts)


def _tell(result: Result, folder: Path) -> None:
    """What was made, and what becomes of the rest."""
    funnel = result.funnel
    lines = [f"{folder}: {funnel.done} of {funnel.videos} videos done, {funnel.samples} samples"]
    if dropped := funnel.unreadable.total():
        lines.append(f"{dropped} videos cannot be used, the first: {result.unreadable}")
    if result.waits:
        lines.append(f"{funnel.waiting.total()} videos wait: {result.stopped or result.waits}")
        lines.append("the same command goes on from here; nothing that was answered is asked again")
    sys.stdout.write("\n".join(lines) + "\n")


def _print_plan(plan: Plan, calls: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"an estimate from {plan.looked_at} of {plan.videos} videos, from the beginning; {calls}")
    for column in ("role", "calls", "tokens in", "tokens out", "cost", "estimated by"):
        table.add_column(column, justify="left" if column in ("role", "estimated by") else "right")
    for role, (number, usage, basis) in [*plan.roles.items(), ("all", plan.total)]:
        tokens = f"{usage.prompt_tokens:,}", f"{usage.completion_tokens:,}"
        table.add_row(role, f"{number:,}", *tokens, f"{usage.money:.2f}", basis)
    console = Console(markup=False, highlight=False)
    console.print(table)
    console.print(
        "rewrite counts every region, only those with a sentence cut in part need it; answers are guessed, as long as "
        "they usually are, unless calls say more"
    )
    if plan.unreadable:
        console.print(f"{plan.unreadable} of the {plan.looked_at} videos cannot be used", soft_wrap=True)


def _stages(text: str) -> tuple[Stage, ...]:
    named = text.split(",")
    if unknown := [name for name in named if name not in STAGES]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(STAGES)}")
    return tuple(stage for stage in STAGES if stage in named)


def _calls(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of calls, 1 or more")
    return int(text)


def parser() -> argparse.ArgumentParser:
    """The command's options, but for those of the configuration."""
    arguments = CommandParser(
        prog="python cli.py regvid",
        description=__doc__,
        epilog="The rest is configuration: --config, --data..., --mark..., --regvid..., --vars...",
    )
    arguments.add_argument(
        "--stages",
        type=_stages,
        default=STAGES,
        metavar="NAMES",
        help=f"whose models may be called, of {','.join(STAGES)}; of the others, what was answered before is read",
    )
    estimates = arguments.add_mutually_exclusive_group()
    estimates.add_argument("--dry-run", action="store_true", help="print calls, tokens and cost of each role; no call")
    estimates.add_argument(
        "--probe", type=_calls, metavar="N", help="the same judged by N calls that are made for it, and kept"
    )
    arguments.add_argument(
        "--report",
        type=Path,
        nargs="?",
        const=Path(),
        metavar="FILE",
        help="count the samples of a file, or else of the configured run, and draw some of them; no call",
    )
    arguments.add_argument("--to", type=Path, metavar="DIR", help="folder of the report, else beside the samples")
    return arguments
