"""The one door: Lightning's fit, validate, test and predict, and the commands beside them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from datamodules import installation
from experiments import commands

LIGHTNING_COMMANDS = {
    "fit": "train a model",
    "validate": "score it on the validation data",
    "test": "score it on the test data: prints the table, saves results.json and predictions.jsonl",
    "predict": "answer the questions of any data",
}
# each is a module of `experiments.commands` with a main(arguments), found before anything heavy is imported
COMMANDS = {
    "ask": "ask about regions of one image or video",
    "demo": "a web page to mark regions on and ask about them",
    "serve": "answer over HTTP, by OpenAI's chat API",
    "doctor": "look at every record of a configured data set, without a model",
    "plan": "what a run takes on so many GPUs, measured without its weights",
    "export": "write a checkpoint as safetensors that transformers opens too",
    "shard": "write any configured source into shards, to stream from anywhere",
    "benchmark": "the number of a published benchmark, by its name",
    "score": "score saved predictions without a model",
    "judge": "score saved answers by a judge model",
    "compare": "compare settings over their seeds, with intervals",
    "regvid": "make region-level instructions from annotated videos, by chat models",
    "shapes": "write the built-in data set",
    "quickstart": "train, test and compare on the built-in data set",
    "sweep": "run a grid of settings and seeds, each point once, on any machines",
}


def main(args: Sequence[str] | None = None) -> None:
    """Runs one command; exits with 2 and one line when data or arguments cannot be used.

    Args:
        args: The command line without the program's name; that of the process if left out.
    """
    if installation.PREFIX and "" not in sys.path:
        sys.path.append("")  # a class of one's own may be in a file of the working directory, which nothing of ours is
    arguments = list(sys.argv[1:] if args is None else args)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.stdout.write(usage())
        return
    if arguments[0] == "--version":
        sys.stdout.write(f"region-understanding {installation.version()}\n")
        return
    try:
        run(arguments)
    except Exception as error:
        line = error_line(error)
        if debug or line is None:
            raise
        sys.stderr.write(f"error: {line}\n")
        sys.exit(2)


def usage() -> str:
    """The list of commands."""
    described = {**LIGHTNING_COMMANDS, **COMMANDS}
    width = max(map(len, described))
    lines = "\n".join(f"  {name:{width}}  {purpose}" for name, purpose in described.items())
    return installation.typed(
        "usage: python cli.py COMMAND [OPTIONS]\n       python cli.py --version\n\n"
        f"Region-level understanding of images and videos.\n\ncommands:\n{lines}\n\n"
        "python cli.py COMMAND --help lists a command's options; --debug shows the traceback of an error.\n"
    )


def run(arguments: list[str]) -> None:
    """Dispatches to the command's file."""
    command, rest = arguments[0], arguments[1:]
    if command in COMMANDS:
        importlib.import_module(f"{commands.__name__}.{command}").main(rest)
    elif command in LIGHTNING_COMMANDS and rest in (["-h"], ["--help"]):
        from experiments.config.options import page

        sys.stdout.write(page(command, LIGHTNING_COMMANDS[command]))
    elif command in LIGHTNING_COMMANDS:
        from experiments.lightning_cli import main as lightning

        lightning([command, "--help"] if rest == ["--help", "all"] else arguments)
    else:
        from datamodules.errors import nearest

        near = nearest(command, [*LIGHTNING_COMMANDS, *COMMANDS])
        sys.stderr.write(f"error: no command {command!r}{near}\n\n{usage()}")
        sys.exit(2)


def error_line(error: Exception) -> str | None:
    """The message of an error in data, arguments or files, on one line; None for any other error."""
    from datamodules.errors import DataError

    if isinstance(error, OSError):  # a full disk, a folder that cannot be made: what has no name is not a file's
        return None if error.filename is None else f"{error.filename}: {error.strerror}"
    found: BaseException | None = error
    while found is not None and not isinstance(found, DataError):
        found = found.__cause__ or found.__context__
    # what a constructor has refused the command line's parser says again, among much else
    if found is None or str(found) not in str(error):
        return None
    # a loader's worker hands over its traceback as the message; what was raised stands at its end
    return " ".join(str(found).split(f"{DataError.__name__}: ")[-1].split())


if __name__ == "__main__":
    main()
