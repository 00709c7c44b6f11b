"""A class and what it is made with, as plain data: so checkpoints name what they hold, a user's own classes too."""

from __future__ import annotations

import copy
import inspect
import pkgutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from datamodules.errors import DataError
from datamodules.installation import local_name, written

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ClassSpec(Generic[T]):
    """What an object is made from; the object itself is not kept, so whoever has the same one shares nothing.

    Attributes:
        kind: Its class.
        options: Arguments of its constructor by name, as plain data.
    """

    kind: type[T]
    options: Mapping[str, Any]

    @classmethod
    def of(cls, made: T, leave_out: Collection[str] = ()) -> ClassSpec[T]:
        """Of an object that keeps every argument of its constructor in an attribute of that name.

        Args:
            made: The object.
            leave_out: Arguments that are not wanted.

        Raises:
            DataError: Its class cannot be imported by name, an argument is not kept, or is no plain data.
        """
        kind = type(made)
        path = class_path(kind)
        options = {}
        for name in _parameters(kind):
            if name in leave_out:
                continue
            if not hasattr(made, name):
                raise DataError(f"{path} has to keep the argument {name!r} of its constructor in an attribute")
            options[name] = _plain(getattr(made, name), f"{path}: {name}")
        return cls(kind, options)

    @property
    def path(self) -> str:
        """What the class is imported by."""
        return class_path(self.kind)

    def make(self) -> T:
        """A new object."""
        return self.kind(**copy.deepcopy(dict(self.options)))

    def plain(self) -> dict[str, Any]:
        """As configurations have it."""
        return {"class_path": self.path, "init_args": dict(self.options)}


def class_path(kind: type) -> str:
    """What a class is imported by: its top package if that exports it, so that a file may move, else its module.

    One of ours has the name that it has in a clone.

    Raises:
        DataError: It is defined where nobody can import it from.
    """
    defined = written(kind.__module__)
    for module in (defined.partition(".")[0], defined):
        path = f"{module}.{kind.__qualname__}"
        try:
            found = pkgutil.resolve_name(local_name(path))
        except (AttributeError, ImportError, ValueError):
            continue
        if found is kind:
            return path
    raise DataError(f"{kind.__module__}.{kind.__qualname__} cannot be imported: a class has to be defined in a module")


def class_at(path: str, parent: type[T], where: str) -> type[T]:
    """The class that is imported by a path, which runs the module that it is in.

    Raises:
        DataError: None is there, or it is no `parent`.
    """
    try:
        found = pkgutil.resolve_name(local_name(str(path)))
    except (AttributeError, ImportError, ValueError) as error:
        raise DataError(f"{where}: there is no class {path}: {error}") from None
    if not (isinstance(found, type) and issubclass(found, parent)):
        raise DataError(f"{where}: {path} is no {parent.__name__}")
    return found


def make_described(described: Any, parent: type[T], where: str) -> T:
    """What `ClassSpec.plain` describes.

    Args:
        described: As it has been read.
        parent: What the class has to be.
        where: It has been read, for errors.

    Raises:
        DataError: It does not describe such a class, or one that is not there or takes other options.
    """
    if not isinstance(described, Mapping) or set(described) != {"class_path", "init_args"}:
        raise DataError(f"{where}: a {parent.__name__} is class_path and init_args, not {described!r:.80}")
    return make(class_at(described["class_path"], parent, where), described["init_args"], where)


def make(kind: type[T], options: Mapping[str, Any], where: str) -> T:
    """An object of a class that may be another than when its options were written down; `DataError` if it is."""
    try:
        return kind(**options)
    except TypeError as error:
        raise DataError(f"{where}: {class_path(kind)} cannot be made: {error}") from error


def _parameters(kind: type) -> list[str]:
    """The arguments of its constructor; what it hands on as `**options` are its parents'."""
    names: dict[str, None] = {}
    for place in kind.__mro__:
        if "__init__" not in vars(place):
            continue
        parameters = list(inspect.signature(vars(place)["__init__"]).parameters.values())[1:]  # without self
        variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        names |= dict.fromkeys(parameter.name for parameter in parameters if parameter.kind not in variable)
        if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
            break
    return list(names)


def _plain(value: Any, what: str) -> Any:
    """What JSON and a checkpoint can hold; an object that knows how to be says so by `plain()`."""
    if value is None or type(value) in (bool, int, float, str):  # a number of numpy is a float, and no plain one
        return value
    if isinstance(value, list | tuple):
        return [_plain(item, what) for item in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _plain(item, what) for key, item in value.items()}
    if hasattr(value, "plain"):
        return _plain(value.plain(), what)
    raise DataError(
        f"{what} is {type(value).__name__}, but a checkpoint keeps text, numbers, lists, and mappings of names"
    )
