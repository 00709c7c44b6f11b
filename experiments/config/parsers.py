"""Parsers of the command line: what they cannot use is one error, on one line, with the nearest name."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, NoReturn

from datamodules.errors import DataError, nearest
from datamodules.installation import typed

if TYPE_CHECKING:
    from lightning_modules import GenerationOptions

UNKNOWN = "unrecognized arguments: "


class CommandParser(argparse.ArgumentParser):
    """A command's own options; one is named in full, since what is shortened may be meant for the configuration.

    Its texts call the program as it is called in a clone.
    """

    def __init__(self, **options: Any) -> None:
        texts = {name: typed(text) for name, text in options.items() if isinstance(text, str)}
        super().__init__(**{**options, **texts}, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raises `DataError` in place of the usage."""
        if message.startswith(UNKNOWN):
            message = unknown_option(message.removeprefix(UNKNOWN), self)
        raise DataError(message)


def unknown_option(arguments: str, parser: argparse.ArgumentParser) -> str:
    """What to say of the first of `arguments`, which a parser does not know."""
    given = arguments.split(maxsplit=1)[0]
    if not given.startswith("--"):
        return f"no option takes {arguments!r}"
    name = given.partition("=")[0]
    # `--data.batch_size` is short for a part of `--data`, which alone the parser knows
    known = [option for option in parser._option_string_actions if option.startswith("--")]
    near = nearest(name, known)
    if not near and "." in name:
        head, _, rest = name.partition(".")
        near = nearest(head, {option.partition(".")[0] for option in known} - {head})
        near = f"{near}.{rest}" if near else ""
    return f"no option {name}{near}"


def positive(text: str) -> int:
    """A whole number of 1 and more."""
    return _whole(text, 1)


def count(text: str) -> int:
    """A whole number of 0 and more."""
    return _whole(text, 0)


def _whole(text: str, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
    if value < least:
        raise argparse.ArgumentTypeError(f"{text} is less than {least}")
    return value


def amount(text: str) -> float:
    """A number above 0."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def add_generation(arguments: argparse.ArgumentParser) -> None:
    """The options of `generation_of`."""
    arguments.add_argument(
        "--cache", choices=("dynamic", "static"), default="dynamic", help="of an answer's keys and values (%(default)s)"
    )
    arguments.add_argument(
        "--compile", action="store_true", help="compile the steps of an answer; needs --cache static"
    )


def generation_of(options: argparse.Namespace) -> GenerationOptions:
    """How answers are generated."""
    from lightning_modules import GenerationOptions

    return GenerationOptions(options.cache, options.compile)
