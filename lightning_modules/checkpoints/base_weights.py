"""Checkpoints without the frozen weights that a base's own files have: they name the base and the sums of its files.

Whoever reads one reads the base as well, and is told if it is another.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from datamodules.errors import DataError
from lightning_modules.bases.loading import BaseModel, load_base, tokenizer_from_files
from lightning_modules.bases.weight_files import places, sums
from lightning_modules.checkpoints.description import DESCRIPTION, lora_options
from lightning_modules.checkpoints.exported import MODEL
from lightning_modules.training.lora import BASE, adapt
from lightning_modules.training.quantisation import SCALES

ORIGIN = "base"
"""The key of the base in the description of a checkpoint that has left out weights of it."""
BACKBONE = f"backbone.{MODEL}"
"""How the names of the base's weights begin in a module."""


def origin_of(base: BaseModel, files: dict[str, str]) -> dict[str, Any]:
    """A base as a checkpoint names it: folders from the root, and the `sums` of its files."""
    options = {name: value for name, value in asdict(base).items() if name != "vision"}
    for name in ("checkpoint", "vision_tower", "language_model"):
        if options[name] and Path(options[name]).exists():
            options[name] = str(Path(options[name]).resolve())
    return {**json.loads(json.dumps(options)), "files": files}


def check_origin(theirs: Mapping[str, Any], files: Mapping[str, str], where: str) -> None:
    """Refuses a base that a checkpoint's weights have not learnt on.

    Args:
        theirs: What the checkpoint names.
        files: The `sums` of the base that is here.
        where: The checkpoint, for errors.

    Raises:
        DataError: Its files are others.
    """
    known: dict[str, str] = theirs["files"]
    if sorted(files.values()) == sorted(known.values()):
        return
    lacking = next((file for file, digest in known.items() if digest not in files.values()), next(iter(known)))
    strange = [f"{file} of sha256 {digest[:12]}" for file, digest in files.items() if digest not in known.values()]
    raise DataError(
        f"{where} holds what has learnt on another base, {lacking} of sha256 {known[lacking][:12]}: here is "
        f"{strange[0] if strange else 'not each of its files'}"
    )


def base_name(name: str) -> str:
    """The name of a base's weight that a weight is, or is a scale of, in a model with adapters or quantised layers."""
    plain = name.removeprefix(BACKBONE).replace(f"{BASE}.", ".")
    layer, _, kind = plain.rpartition(".")
    return f"{layer}.weight" if kind in SCALES else plain


def with_base(checkpoint: dict[str, Any], where: str) -> dict[str, Any]:
    """A checkpoint with the weights that it has left out, read from the base that it names.

    Raises:
        DataError: The base is not here, or another.
    """
    description = checkpoint[DESCRIPTION]
    if ORIGIN not in description:
        return checkpoint
    theirs = description[ORIGIN]
    ours = BaseModel(**{name: value for name, value in theirs.items() if name != "files"})
    try:
        base = load_base(ours, tokenizer_from_files(description["tokenizer"]))
        check_origin(theirs, sums(ours), where)  # of what is on this machine now
    except DataError as error:
        raise DataError(f"{where} has left out the weights of its base {' + '.join(places(ours))}: {error}") from error
    adapt(base.language_model, description["options"].get("quantise"), lora_options(description))
    weights = of_base(base.model.state_dict(prefix=BACKBONE), base.given)
    return {**checkpoint, "state_dict": {**weights, **checkpoint["state_dict"]}}


def of_base(weights: Mapping[str, torch.Tensor], given: Collection[str]) -> dict[str, torch.Tensor]:
    """Those of a module's weights that stand for one of `given`, names of the base's own."""
    return {name: weight for name, weight in weights.items() if name.startswith(BACKBONE) and base_name(name) in given}
