"""`python cli.py plan --config X --devices N --device-memory G`: what a run would take, before it is started.

The model is built without its weights, and a step of it is run on no device, so that a laptop plans for many GPUs.
Printed are the parameters, the memory of one device in GiB with the name of what does not fit, and the arithmetic of a
step. Memory is that of tensors (see `memory` and `measuring`); a driver, libraries and fragmentation take some more.
The exit code is 1 if something does not fit.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from experiments.config.parsers import CommandParser, amount, positive

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from lightning_modules.planning.plan import Plan

PEAK_FLOPS = {"h100": 989e12, "h200": 989e12, "a100": 312e12}
"""Dense bfloat16 products a second, as the vendor states them."""


def main(arguments: Sequence[str]) -> None:
    """Prints the plan; exit code 1 if something does not fit."""
    asked, rest = parser().parse_known_args(arguments)
    from rich.console import Console

    from experiments.config.run import configured_run
    from lightning_modules.planning.plan import EVALUATION, plan

    run = configured_run(rest)
    planned = plan(run, asked.devices, asked.text_tokens, asked.answer_tokens, asked.regions, asked.frame_size)
    console = Console(markup=False, highlight=False)
    moments = planned.memory
    console.print(_heading(planned), soft_wrap=True)
    console.print(_parameters(planned))
    console.print(_memory(moments, asked.device_memory))
    console.print(_work(planned))
    _print_bound(planned, asked.device_flops or PEAK_FLOPS[asked.device], console)
    planned_for = {moment: moments[moment] for moment in (planned.moment, EVALUATION)}
    if not _print_fit(planned_for, asked.device_memory, console):
        sys.exit(1)


def _heading(planned: Plan) -> str:
    step, layout = planned.train, planned.layout
    copies = "a copy on each" if layout.shards == 1 else f"{layout.devices // layout.shards} x {layout.shards} shards"
    passes = "one pass" if step.samples == planned.samples else f"passes of {step.samples}"
    return (
        f"devices: {layout.devices}, {copies}; samples of a device's step: {planned.samples}, in {passes}; frames of a "
        f"sample: {step.frames}; tokens of a sample: {planned.length}, text {step.text_tokens}, supervised "
        f"{step.answer_tokens}"
    )


def _table(title: str, *columns: str) -> Table:
    from rich.table import Table

    table = Table(title=title)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    return table


def _parameters(planned: Plan) -> Table:
    table = _table("parameters", "part", "all", "trainable")
    parts = planned.parts
    for part in parts:
        table.add_row(part.name, f"{part.parameters:,}", f"{part.trainable:,}", end_section=part is parts[-1])
    table.add_row("sum", f"{sum(part.parameters for part in parts):,}", f"{sum(part.trainable for part in parts):,}")
    return table


def _memory(moments: dict[str, dict[str, float]], capacity: float) -> Table:
    from lightning_modules.planning.memory import GIB

    table = _table("memory of a device, GiB", "", *moments)
    names = list(dict.fromkeys(name for rows in moments.values() for name in rows))
    for name in names:
        amounts = [f"{rows[name] / GIB:.2f}" if name in rows else "" for rows in moments.values()]
        table.add_row(name, *amounts, end_section=name == names[-1])
    table.add_row("sum", *(f"{sum(rows.values()) / GIB:.2f}" for rows in moments.values()))
    table.add_row("free", *(f"{capacity - sum(rows.values()) / GIB:.2f}" for rows in moments.values()))
    return table


def _work(planned: Plan) -> Table:
    from lightning_modules.planning.measuring import flops

    table = _table("arithmetic of a sample, TFLOP", "causal attention counted whole", "forward", "with backward")
    works = planned.works
    for work in works:
        table.add_row(
            work.part,
            f"{work.forward / 1e12:.3f}",
            f"{(work.forward + work.backward) / 1e12:.3f}",
            end_section=work is works[-1],
        )
    for attention, title in (("whole", "sum"), ("half", "sum, causal attention as half")):
        both = (flops(works, backward, attention) for backward in (False, True))  # type: ignore[arg-type]  # both are
        table.add_row(title, *(f"{amount / 1e12:.2f}" for amount in both))
    return table


def _print_bound(planned: Plan, peak: float, console: Console) -> None:
    from lightning_modules.planning.measuring import flops, recomputed

    works, devices, samples = planned.works, planned.layout.devices, planned.samples
    needed = flops(works)
    again = recomputed(works) if planned.layout.checkpointed else 0.0
    console.print(
        f"a step of {samples} samples: {samples * needed / 1e12:.1f} TFLOP a device with causal attention as half"
        + (f", and {samples * again / 1e12:.1f} for the layers that are run again" if again else ""),
        soft_wrap=True,
    )
    rate = peak / (needed + again)
    console.print(
        f"bound at {peak / 1e12:g} TFLOP/s: {rate:.2f} samples/s on a device, {devices * rate:.2f} on {devices}",
        soft_wrap=True,
    )


def _print_fit(moments: dict[str, dict[str, float]], capacity: float, console: Console) -> bool:
    """Names what does not fit; whether everything does."""
    from lightning_modules.planning.memory import GIB, misfits

    over = {moment: misfits(rows, capacity * GIB) for moment, rows in moments.items()}
    for moment, rows in over.items():
        for name, over_by in rows.items():
            share = f"{over_by / GIB:.1f} of {moments[moment][name] / GIB:.1f} GiB are over"
            console.print(f"does not fit: {name}, {moment}: {share}", soft_wrap=True)
    fits = not any(over.values())
    if fits:
        console.print(f"{', '.join(moments)}: fits into {capacity:g} GiB", soft_wrap=True)
    return fits


def parser() -> argparse.ArgumentParser:
    """The command's options, but for those of the configuration."""
    arguments = CommandParser(
        prog="python cli.py plan",
        description=__doc__,
        epilog="The rest as for fit: --config, --model..., --data..., --trainer..., --vars...",
    )
    arguments.add_argument("--devices", type=positive, default=1, help="GPUs of the run (%(default)s)")
    arguments.add_argument("--device-memory", type=amount, required=True, metavar="GIB", help="memory of one of them")
    arguments.add_argument(
        "--text-tokens", type=positive, default=200, help="of a sample, answer included (%(default)s)"
    )
    arguments.add_argument("--answer-tokens", type=positive, default=60, help="those of them to learn (%(default)s)")
    arguments.add_argument("--regions", type=positive, default=1, help="regions of a sample (%(default)s)")
    arguments.add_argument(
        "--frame-size",
        type=_size,
        default=(720, 1280),
        metavar="HEIGHTxWIDTH",
        help="of a frame in pixels (720x1280); it matters where a base has more tokens for larger frames",
    )
    arguments.add_argument("--device", choices=sorted(PEAK_FLOPS), default="h100", help="whose speed (%(default)s)")
    arguments.add_argument("--device-flops", type=amount, help="products of another device, FLOP a second")
    return arguments


def _size(text: str) -> tuple[int, int]:
    height, found, width = text.partition("x")
    if not found:
        raise argparse.ArgumentTypeError(f"{text} is not HEIGHTxWIDTH")
    return positive(height), positive(width)
