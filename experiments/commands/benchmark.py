"""`python cli.py benchmark NAME`: the number of a published benchmark, from a checkpoint and the benchmark's files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datamodules.errors import DataError, nearest
from experiments.config.parsers import CommandParser
from experiments.named_benchmarks import NamedBenchmark, benchmarks, find_benchmark

MODELS = Path(__file__).parents[1] / "models"
SHOWN = {"text": "TextCoordinates", "drawn": "VisualMarker"}
"""How a base that has learnt no regions is told of them -> the region encoder that does."""


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    arguments = CommandParser(
        prog="python cli.py benchmark",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="The number of a published benchmark. Its name picks data, prompts, metric and protocol.",
        epilog=f"{listing()}\nFurther options are those of `test`, as --data.batch_size 4 or --vars.images DIR.",
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
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str]) -> None:
    """Checks what there is, and tests."""
    options, further = parser().parse_known_args(arguments)
    if options.list:
        sys.stdout.write(listing())
        return
    check(options, further)
    benchmark = find_benchmark(options.name)
    if not any(option.startswith("--vars.") for option in further):
        check_files(benchmark, options.root)
    # not before: --help has to answer at once
    from experiments.lightning_cli import main as lightning

    lightning(command_line(benchmark, options, further))


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


def command_line(benchmark: NamedBenchmark, options: argparse.Namespace, further: Sequence[str]) -> list[str]:
    """The command line of `test` that scores the benchmark."""
    experiment = f"benchmark-{benchmark.name}"
    name = options.run or _model_name(options)
    model = (
        _trained(options.ckpt_path, options.runs / experiment / name)
        if options.ckpt_path
        else _base(options.base, SHOWN[options.base_model_only])
    )
    return [
        "test",
        f"--config={benchmark.path}",
        *model,
        f"--vars.root={options.root}",
        f"--run.root={options.runs}",
        f"--run.experiment={experiment}",
        f"--run.name={name}",
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
