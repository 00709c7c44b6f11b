"""`python cli.py benchmark NAME`: the number of a published benchmark, from a checkpoint and the benchmark's files."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datamodules.errors import DataError, nearest
from experiments.config.parsers import CommandParser
from experiments.named_benchmarks import NamedBenchmark, benchmarks, find_benchmark
from experiments.run_files import PREDICTIONS

MODELS = Path(__file__).parents[1] / "models"
SHOWN = {"text": "TextCoordinates", "drawn": "VisualMarker"}
"""How a base that has learnt no regions is told of them -> the region encoder that does."""
OF_THE_JUDGE = ("judge", "config", "vars", "data")
"""The options that `judge` reads."""


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    arguments = CommandParser(
        prog="python cli.py benchmark",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="The number of a published benchmark. Its name picks data, prompts, metric and protocol.",
        epilog=f"{listing()}\nFurther options are those of `test`, as --data.batch_size 4 or --vars.images DIR, and of "
        "`judge`, as\n--judge.model.model NAME --judge.model.base_url URL or --judge.budget.money 2.",
    )
    arguments.add_argument("name", nargs="?", metavar="NAME", help="one of those below, or a YAML file of your own")
    arguments.add_argument("--list", action="store_true", help="the benchmarks, and what each needs below its root")
    arguments.add_argument("--root", type=Path, metavar="DIR", help="where the benchmark's files lie")
    arguments.add_argument("--ckpt_path", type=Path, metavar="X", help="checkpoint of a trained model, or an export")
    arguments.add_argument(
        "--base-model-only",
        choices=SHOWN,
        nargs="?",
        const="text",
        help="a base as it was published, its regions as text or drawn on the picture",
    )
    arguments.add_argument(
        "--base", metavar="NAME", help="that base: a file of experiments/models by its name, a hub id or a folder"
    )
    arguments.add_argument("--run.root", dest="runs", type=Path, default=Path("runs"), help="folder of all runs")
    arguments.add_argument("--run.name", dest="run", metavar="NAME", help="of the run; else the model's")
    return arguments


def listing() -> str:
    """Every benchmark, and below it what it needs."""
    lines = ["benchmarks, and what each needs below --root:"]
    for benchmark in benchmarks().values():
        lines.append(f"  {benchmark.name:20}{benchmark.title}")
        lines += [f"  {'':20}  {place}: {what}" for place, what in benchmark.needs.items()]
        lines += [f"  {'':20}  a judge, which --judge.model names"] if benchmark.judged else []
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str]) -> None:
    """Checks what there is, tests, and has a judge score the answers where the benchmark has one."""
    options, further = parser().parse_known_args(arguments)
    if options.list:
        sys.stdout.write(listing())
        return
    check(options, further)
    benchmark = find_benchmark(options.name)
    if not any(option.startswith("--vars.") for option in further):
        check_files(benchmark, options.root)
    # not before: --help has to answer at once
    if benchmark.judged:
        from experiments.judged_benchmark import run_judged

        test, judge = split(further)
        command = command_line(benchmark, options, test)
        run_judged(command, judge_line(benchmark, options, judge), run_folder(benchmark, options), options.ckpt_path)
        return
    from experiments.lightning_cli import main as lightning

    lightning(command_line(benchmark, options, further))


def split(further: Sequence[str]) -> tuple[list[str], list[str]]:
    """What of the further options `test` is told, and what `judge`: some are of both."""
    groups: list[list[str]] = []
    for argument in further:
        if argument.startswith("--") or not groups:
            groups.append([])
        groups[-1].append(argument)
    of = [(re.split(r"[.=]", group[0].removeprefix("--"))[0], group) for group in groups]
    test = [argument for name, group in of if name != "judge" for argument in group]
    return test, [argument for name, group in of if name in OF_THE_JUDGE for argument in group]


def check(options: argparse.Namespace, further: Sequence[str]) -> None:
    """Refuses options that do not go together; `DataError`."""
    if options.name is None:
        raise DataError("benchmark: a NAME is needed; `benchmark --list` says which there are")
    if further and not further[0].startswith("-"):
        raise DataError(f"no option takes {further[0]!r}")
    if options.root is None:
        raise DataError(f"benchmark {options.name}: --root is needed, where its files lie")
    if (options.ckpt_path is None) == (options.base_model_only is None):
        raise DataError(f"benchmark {options.name}: --ckpt_path or --base-model-only is needed, one of the two")
    if (options.base is None) != (options.base_model_only is None):
        raise DataError(f"benchmark {options.name}: --base-model-only and --base go together")


def check_files(benchmark: NamedBenchmark, root: Path) -> None:
    """Refuses a root without what the benchmark reads, before a model is loaded.

    Raises:
        DataError: Something is not there; it names the first.
    """
    missing = [place for place in benchmark.needs if not (root / place).exists()]
    if missing:
        what = benchmark.needs[missing[0]]
        counts = f"{len(missing)} of {len(benchmark.needs)} that {benchmark.name} needs are not there"
        raise DataError(f"--root {root}: no {missing[0]} ({what}); {counts}")


def run_folder(benchmark: NamedBenchmark, options: argparse.Namespace) -> Path:
    """Where the run keeps its files: it is called by its model, in an experiment of the benchmark's."""
    folder: Path = options.runs / f"benchmark-{benchmark.name}" / (options.run or _model_name(options))
    return folder


def command_line(benchmark: NamedBenchmark, options: argparse.Namespace, further: Sequence[str]) -> list[str]:
    """The command line of `test` that answers the benchmark's questions."""
    folder = run_folder(benchmark, options)
    model = (
        _trained(options.ckpt_path, folder)
        if options.ckpt_path
        else _base(options.base, SHOWN[options.base_model_only])
    )
    return [
        "test",
        *(f"--config={path}" for path in benchmark.configurations),
        *model,
        f"--vars.root={options.root}",
        f"--run.root={options.runs}",
        f"--run.experiment={folder.parent.name}",
        f"--run.name={folder.name}",
        *further,
    ]


def judge_line(benchmark: NamedBenchmark, options: argparse.Namespace, further: Sequence[str]) -> list[str]:
    """The options of `judge` that has those answers scored."""
    return [
        *(f"--config={path}" for path in benchmark.configurations),
        f"--vars.root={options.root}",
        f"--judge.predictions={run_folder(benchmark, options) / PREDICTIONS}",
        *further,
    ]


def _trained(checkpoint: Path, folder: Path) -> list[str]:
    """The options of a checkpoint's model, which are kept in the run's folder."""
    import yaml

    from datamodules.files import write_text
    from lightning_modules.checkpoints.configuration import model_configuration

    if not checkpoint.exists():
        raise DataError(f"--ckpt_path {checkpoint}: there is no such file")
    configuration: dict[str, Any] = {"model": model_configuration(checkpoint, folder)}
    described = write_text(folder / "model.yaml", yaml.safe_dump(configuration))  # by every rank, as it is read by each
    return [f"--config={described}", f"--ckpt_path={checkpoint}"]


def _base(name: str, encoder: str) -> list[str]:
    """The options of a base that nobody has taught regions."""
    shipped = MODELS / f"{name}.yaml"
    known = [path.stem for path in MODELS.glob("*.yaml")]
    if shipped.is_file():
        base = f"--config={shipped}"
    elif "/" in name or Path(name).exists():
        base = f"--model.base.checkpoint={name}"
    else:
        raise DataError(f"--base {name}: no file of experiments/models, hub id or folder{nearest(name, known)}")
    return [base, f"--model.region_encoder={encoder}"]


def _model_name(options: argparse.Namespace) -> str:
    """What tells the run from those of other models: its training's experiment and name, the file, or the base."""
    if options.ckpt_path is None:
        return f"{Path(options.base).name}-{options.base_model_only}"
    path = options.ckpt_path.resolve()
    if path.parent.name == "checkpoints":
        return f"{path.parents[2].name}-{path.parents[1].name}"
    return str(path.stem)
