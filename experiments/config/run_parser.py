"""The parser of configurations: what it cannot use is one line that names the option, not a tree of types.

An option of a class may be refused by every type that it could have, and jsonargparse tells what each of them has to
say, indented below the option. The line is made of the deepest that was said: it is the most definite.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import yaml
from jsonargparse import Namespace, get_loader, set_loader
from lightning.pytorch.cli import LightningArgumentParser

from datamodules.errors import DataError, nearest
from experiments.config.nested_keys import merge_nested_keys
from experiments.config.parsers import UNKNOWN, unknown_option
from experiments.config.shipped import configuration, here, names

CONFIG = ("--config", "-c")
MODE = "yaml_here"
"""Of jsonargparse's reading: YAML that may have been written where our classes and files are called otherwise."""
_KEY = re.compile(r'Parser key "(.+?)":')
_CLASS = re.compile(r"Problem with given class_path '(.+?)':")
_FRAME = re.compile(r"(Does not validate|Subtypes: |Errors:|Given value type: |Expected a <class 'NoneType'>$)")
_TYPE = re.compile(r"Expected an? (?:<class '(?:\w+\.)*(\w+)'>|typing\.Literal\[(.+)\]|(\w[\w ]*)(?:: .*)?)")
_UNKNOWN = re.compile(rf"Option '(.+?)' is not accepted|{UNKNOWN}--([^\s=]+)")


def _load(text: str) -> Any:
    return here(get_loader("yaml")(text))


set_loader(MODE, _load, (yaml.YAMLError,))


class RunParser(LightningArgumentParser):
    """Lightning's, with errors of one line; options are named in full, what is ours as in a clone or in a wheel."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        merge_nested_keys()
        super().__init__(*arguments, **{"parser_mode": MODE, **options}, allow_abbrev=False)

    def parse_args(self, args: Sequence[str] | None = None, *arguments: Any, **options: Any) -> Namespace:  # type: ignore[override]  # jsonargparse's
        """Reads configuration files first, as what is wrong with one is said without its name later."""
        found = None if args is None else list(_found(args))
        for path in _config_files(found or ()):
            _check_file(path)
        parsed: Namespace = super().parse_args(found, *arguments, **options)
        return parsed

    def instantiate_classes(self, *arguments: Any, **options: Any) -> Namespace:
        """What a constructor refuses is one line as well."""
        try:
            made: Namespace = super().instantiate_classes(*arguments, **options)
            return made
        except ValueError as error:
            if _CLASS.search(str(error)) is None or isinstance(error, DataError):
                raise
            raise DataError(brief(str(error))) from error

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raises `DataError` in place of the usage; a parser of an attempt raises what jsonargparse expects."""
        if not self.exit_on_error:
            super().error(message, ex)
        if message.startswith(UNKNOWN):
            raise DataError(unknown_option(message.removeprefix(UNKNOWN), self)) from ex
        raise DataError(brief(message)) from ex


class _Said(NamedTuple):
    """One line of what was said of an option.

    Attributes:
        indent: Of the line.
        keys: The options that it stands below, the outermost first.
        class_path: The class that it stands below, if it does.
        text: Without its indentation.
    """

    indent: int
    keys: tuple[str, ...]
    class_path: str | None
    text: str


def brief(message: str) -> str:
    """One line for what jsonargparse says of an option."""
    said = list(_lines(message))
    reasons = [line for line in said if not line.text.startswith(("Given value: ", "Expected a path but"))]
    if not reasons:
        return " ".join(message.split())
    deepest = max(reasons, key=lambda line: (len(line.keys) + (line.class_path is not None), line.indent))
    option = ".".join(deepest.keys)
    if found := _UNKNOWN.search(deepest.text):
        name = found[1] or found[2]
        near = nearest(name, _options(deepest.class_path)) if deepest.class_path else ""
        of = deepest.class_path.rpartition(".")[2] if deepest.class_path else "the configuration"
        return f"{'.'.join((*deepest.keys, name))}: {of} has no such option{near}"
    beside = [line.text for line in reasons if (line.indent, line.keys) == (deepest.indent, deepest.keys)]
    expected = dict.fromkeys(text for text in beside if text.startswith("Expected a"))
    text = _expected(list(expected), said, deepest) if deepest.text in expected else _told(deepest.text, message)
    of = f"{deepest.class_path}: " if deepest.class_path and deepest.text not in expected else ""
    return f"{option}: {of}{text}" if option else f"{of}{text}"


def _lines(message: str) -> Iterator[_Said]:
    """What was said, without the frame around it."""
    below: list[tuple[int, str | None, str | None]] = []  # indentation, option, class
    for line in message.splitlines():
        text = line.strip()
        indent = len(line) - len(line.lstrip())
        if text.startswith("- "):
            text, indent = text[2:], indent + 2
        below = [entry for entry in below if entry[0] < indent]
        if found := _KEY.match(text):
            below.append((indent, found[1], None))
            text = text[found.end() :].strip()
        elif found := _CLASS.match(text):
            below.append((indent, None, found[1]))
            text = ""
        if text and not _FRAME.match(text):
            classes = [name for _, _, name in below if name]
            # an option below its class's own options belongs to no class
            nearest_class = classes[-1] if below and below[-1][2] else None
            yield _Said(indent, tuple(key for _, key, _ in below if key), nearest_class, text)


def _expected(texts: Sequence[str], said: Sequence[_Said], where: _Said) -> str:
    """`expected int or bool, got many`."""
    wanted = [text.partition(". Got value: ")[0] for text in texts]
    kinds = [_TYPE.sub(lambda found: (found[1] or found[2] or found[3]).replace("'", ""), text) for text in wanted]
    got = next((text.partition(". Got value: ")[2] for text in texts if ". Got value: " in text), None)
    given = [line.text.removeprefix("Given value: ") for line in said if line.text.startswith("Given value: ")]
    if got is None and given and not given[-1].startswith(("NestedArg", "Namespace")):
        got = given[0] if len(where.keys) > 1 else given[-1]
    return f"expected {' or '.join(dict.fromkeys(kinds))}" + ("" if got is None else f", got {got}")


def _told(text: str, message: str) -> str:
    """The text; where a class is none of those that there may be, with the whole name of what to subclass."""
    found = re.search(r"Import path (\S+) does not correspond to a subclass of (\w+)$", text)
    if found is None:
        return text
    whole = re.search(rf"\b[\w.]+\.{found[2]}\b", message)
    return f"{found[1]} is no subclass of {whole[0] if whole else found[2]}"


def _options(class_path: str) -> list[str]:
    """The names of a class's options, those of its parts among them."""
    module, _, name = class_path.rpartition(".")
    parser = LightningArgumentParser(add_help=False)
    try:
        parser.add_class_arguments(getattr(importlib.import_module(module), name), fail_untyped=False)
    except (ImportError, AttributeError, ValueError, TypeError):
        return []  # a function, or what cannot be described: nothing is near
    return [action.dest for action in parser._actions]


def _found(arguments: Sequence[str]) -> Iterator[str]:
    """A command line with configurations that ship, and classes and files of ours, as they are called here."""
    before = ""
    for argument in arguments:
        option, equals, value = argument.partition("=") if argument.startswith("-") else ("", "", argument)
        of = option if equals else before
        known = str(configuration(Path(value))) if of in CONFIG and _is_file(value) else here(value)
        yield f"{option}{equals}{known}"
        before = argument


def _config_files(arguments: Sequence[str]) -> Iterator[Path]:
    for number, argument in enumerate(arguments):
        option, _, value = argument.partition("=")
        if option in CONFIG:
            value = value or (arguments[number + 1] if number + 1 < len(arguments) else "")
            if _is_file(value):
                yield Path(value)


def _is_file(value: str) -> bool:
    """Whether what `--config` is given is no address and not the text itself."""
    return bool(value) and "://" not in value and not value.lstrip().startswith("{")


def _check_file(path: Path) -> None:
    try:
        yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        beside = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
        near = nearest(path.name, beside) or nearest(str(path), names())
        raise DataError(f"--config {path}: {error.strerror}{near}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        told = " ".join(str(error).replace('in "<unicode string>", ', "").split())
        raise DataError(f"--config {path}: {told}") from error
