"""What a point is run with, so that one that has run is not mixed with one of another configuration."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from datamodules.errors import DataError
from experiments.config.shipped import configuration
from experiments.sweeps.specification import Point


def fingerprints(points: Iterable[Point]) -> dict[str, dict[str, Any]]:
    """Point -> its options, and a digest of each configuration file that they name; comments do not count.

    Raises:
        DataError: A file cannot be read.
    """
    digest = cache(_digest)  # anew in each call: files change
    return {
        point.name: {
            "options": list(point.options),
            "files": {path: digest(path) for path in configurations(point.options)},
        }
        for point in points
    }


def difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What has changed, in a few words; empty if nothing has."""
    gone = [option for option in before["options"] if option not in now["options"]]
    new = [option for option in now["options"] if option not in before["options"]]
    if gone or new:
        return f"{' '.join(gone) or 'nothing'} where there is {' '.join(new) or 'nothing'} now"
    if before["options"] != now["options"]:
        return "its options in another order"
    changed = [path for path, digest in now["files"].items() if digest != before["files"].get(path)]
    return f"another {' and another '.join(changed)}" if changed else ""


def tracking_uri(options: Sequence[str]) -> str | None:
    """MLflow's address that a point is run with; None if neither its options nor its configuration files have one."""
    runs = (_content(path).get("run") or {} for path in configurations(options))
    given = [run["tracking_uri"] for run in runs if "tracking_uri" in run]
    given.extend(_values(options, "--run.tracking_uri"))
    return given[-1] if given else None


def configurations(options: Sequence[str]) -> tuple[str, ...]:
    """The files that `--config` names, in order."""
    return tuple(_values(options, "--config"))


def _values(options: Sequence[str], name: str) -> Iterator[str]:
    """Of `--name=value` and of `--name value`."""
    for option, following in zip(options, [*options[1:], ""], strict=True):
        if option == name:
            yield following
        elif option.startswith(f"{name}="):
            yield option.removeprefix(f"{name}=")


def _digest(path: str) -> str:
    content = json.dumps(_content(path), sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()


def _content(path: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(configuration(Path(path)).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise DataError(f"{path}: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: a configuration has to be a mapping, not {content!r:.80}")
    return content
