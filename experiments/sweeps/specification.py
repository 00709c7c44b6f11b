"""A sweep file: what is varied, from which configuration, and the points that come of it."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from datamodules.errors import DataError

REQUIRED = ("base", "factors", "seeds", "metric")
OPTIONAL = ("options", "paper", "protocol")
RESERVED = ("seed_everything", "ckpt_path", "run.root", "run.experiment", "run.name", "run.tags", "run.join")
"""Options that a sweep gives to every point itself."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One value of a factor.

    Attributes:
        text: What it is called in names and tables.
        options: Command-line option -> value.
    """

    text: str
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Factor:
    """What is varied.

    Attributes:
        name: The last part of the option's name, or all of it where two factors would share that.
        settings: At least one; the first is the base setting.
    """

    name: str
    settings: tuple[Setting, ...]


@dataclass(frozen=True, slots=True)
class Paper:
    """Published numbers to stand beside ours.

    Attributes:
        metric: What they are called.
        rows: Setting as text -> number; the settings of several factors are joined by `, `.
    """

    metric: str
    rows: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Point:
    """One training and its test.

    Attributes:
        name: Of the run and of its folder, as `region_encoder=none,seed=0`; unique in its sweep.
        settings: Factor -> setting as text.
        seed: Of everything random.
        options: The command line but for what depends on the place: configurations, options, settings and seed.
    """

    name: str
    settings: Mapping[str, str]
    seed: int
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sweep:
    """What a sweep file says.

    Attributes:
        path: The file.
        text: All that stands in it.
        base: Configuration files, in order.
        options: Command-line option -> value, for all points.
        factors: What is varied; the grid is the product of their settings.
        seeds: Every setting is run with each.
        metric: The name in `results.json` of the number that counts.
        paper: Published numbers, if there are any.
        protocol_varies: Whether the factors are themselves part of what a number depends on, as box or mask is.
    """

    path: Path
    text: str
    base: tuple[str, ...]
    options: Mapping[str, Any]
    factors: tuple[Factor, ...]
    seeds: tuple[int, ...]
    metric: str
    paper: Paper | None
    protocol_varies: bool = False

    @property
    def name(self) -> str:
        """Of the sweep and of its experiment in MLflow."""
        return self.path.stem

    def points(self, further: Sequence[str] = ()) -> tuple[Point, ...]:
        """The whole grid, seed after seed for each combination of settings.

        Args:
            further: Command-line options for every point, after the file's own.

        Raises:
            DataError: An option that the sweep gives itself, or two points of one name.
        """
        self._check_options([*_arguments(self.options), *further])
        grid = itertools.product(*(factor.settings for factor in self.factors))
        points = tuple(self._point(settings, seed, further) for settings in grid for seed in self.seeds)
        name, times = Counter(point.name for point in points).most_common(1)[0]
        if times > 1:
            raise DataError(f"{self.path}: {times} points would be called {name}")
        return points

    def _point(self, settings: Sequence[Setting], seed: int, further: Sequence[str]) -> Point:
        texts = {factor.name: setting.text for factor, setting in zip(self.factors, settings, strict=True)}
        varied = [argument for setting in settings for argument in _arguments(setting.options)]
        parts = [*(f"{name}={text}" for name, text in texts.items()), f"seed={seed}"]
        return Point(
            name=re.sub(r"[^A-Za-z0-9_.=,-]", "-", ",".join(parts)),
            settings=texts,
            seed=seed,
            options=(
                *(f"--config={path}" for path in self.base),
                *_arguments(self.options),
                *further,
                *varied,
                f"--seed_everything={seed}",
            ),
        )

    def _check_options(self, arguments: Sequence[str]) -> None:
        """Settings come last on the command line and would override an option of all points without a word."""
        factors = {option for factor in self.factors for setting in factor.settings for option in setting.options}
        given = {argument.removeprefix("--").partition("=")[0] for argument in arguments if argument.startswith("--")}
        for option in sorted(given & factors):
            raise DataError(f"{self.path}: --{option} is a factor and cannot be an option of all points as well")
        for option in sorted((given | factors) & set(RESERVED)):
            raise DataError(f"{self.path}: --{option} is given by the sweep itself")


def read_sweep(path: Path) -> Sweep:
    """What the file says; options that LightningCLI would refuse are found by reading the points' command lines.

    Raises:
        DataError: The file cannot be read, or does not say what a sweep needs.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.safe_load(text)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise DataError(f"{path}: {' '.join(str(error).split())}") from error
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", path.stem):
        raise DataError(f"{path}: the file's name is that of the sweep: letters, digits, _, . and - only")
    check = _Checks(path)
    content = check.mapping("the file", content, empty=False)
    check.keys("the file", content, REQUIRED, OPTIONAL)
    return Sweep(
        path=path,
        text=text,
        base=check.texts("base", content["base"]),
        options=check.mapping("options", content.get("options", {})),
        factors=_factors(check, check.mapping("factors", content["factors"])),
        seeds=check.seeds(content["seeds"]),
        metric=check.text("metric", content["metric"]),
        paper=_paper(check, content["paper"]) if "paper" in content else None,
        protocol_varies=check.choice("protocol", content.get("protocol", "same"), ("same", "varies")) == "varies",
    )


def setting_text(value: Any) -> str:
    """A value of YAML as it stands on the command line, in names and in tables: `none`, `0.05`, `true`, `null`."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _arguments(options: Mapping[str, Any]) -> list[str]:
    return [f"--{option}={setting_text(value)}" for option, value in options.items()]


def _factors(check: _Checks, factors: Mapping[str, Any]) -> tuple[Factor, ...]:
    last = Counter(option.rpartition(".")[2] for option in factors)
    made = []
    for option, values in factors.items():
        short = option.rpartition(".")[2]
        made.append(Factor(short if last[short] == 1 else option, _settings(check, option, values)))
    return tuple(made)


def _settings(check: _Checks, option: str, values: Any) -> tuple[Setting, ...]:
    where = f"factor {option}"
    if isinstance(values, Mapping):
        named = check.mapping(where, values, empty=False)
        return tuple(Setting(name, check.mapping(f"{where}, {name}", options)) for name, options in named.items())
    return tuple(Setting(setting_text(value), {option: value}) for value in check.items(where, values))


def _paper(check: _Checks, content: Any) -> Paper:
    fields = check.mapping("paper", content, empty=False)
    check.keys("paper", fields, ("metric", "rows"), ())
    rows = check.mapping("the paper's rows", fields["rows"], empty=False)
    return Paper(
        check.text("the paper's metric", fields["metric"]),
        {setting: check.number(f"the paper's row {setting}", value) for setting, value in rows.items()},
    )


class _Checks:
    """What a value of the file has to be; each returns it, or raises `DataError`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def mapping(self, what: str, value: Any, empty: bool = True) -> dict[str, Any]:
        """Its keys become text, as `true` or `4`."""
        if not isinstance(value, Mapping) or not (value or empty):
            raise self._error(what, "a mapping", value)
        return {setting_text(key): item for key, item in value.items()}

    def items(self, what: str, value: Any) -> list[Any]:
        if not isinstance(value, list) or not value:
            raise self._error(what, "a list", value)
        return value

    def text(self, what: str, value: Any) -> str:
        if not isinstance(value, str) or not value:
            raise self._error(what, "a text", value)
        return value

    def choice(self, what: str, value: Any, known: Sequence[str]) -> str:
        if value not in known:
            raise self._error(what, " or ".join(known), value)
        return str(value)

    def number(self, what: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._error(what, "a number", value)
        return float(value)

    def seeds(self, value: Any) -> tuple[int, ...]:
        seeds = self.items("seeds", value)
        if not all(type(seed) is int for seed in seeds):
            raise self._error("seeds", "a list of whole numbers", value)
        return tuple(seeds)

    def texts(self, what: str, value: Any) -> tuple[str, ...]:
        return tuple(self.text(what, item) for item in self.items(what, value))

    def keys(self, what: str, value: Mapping[str, Any], required: Sequence[str], optional: Sequence[str]) -> None:
        missing = [key for key in required if key not in value]
        unknown = [key for key in value if key not in (*required, *optional)]
        if missing:
            raise DataError(f"{self.path}: {what} lacks {', '.join(missing)}")
        if unknown:
            known = ", ".join((*required, *optional))
            raise DataError(f"{self.path}: {what} has {', '.join(unknown)}; known are {known}")

    def _error(self, what: str, wanted: str, value: Any) -> DataError:
        return DataError(f"{self.path}: {what} has to be {wanted}, not {value!r:.80}")
