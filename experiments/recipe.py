"""What decides how a training goes on: kept in its checkpoints, and compared when it is gone on with.

The samples of a step are compared by the data module itself, which knows the number of ranks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from datamodules.errors import DataError
from datamodules.installation import written
from experiments.tracking.data_fingerprint import describe_data
from experiments.tracking.run_record import flat_parameters

RECIPE = "recipe"  # of a checkpoint
LENGTH_AND_NUMBERS = frozenset(
    {"max_epochs", "max_steps", "limit_train_batches", "gradient_clip_val", "gradient_clip_algorithm", "precision"}
)
"""Options of the Trainer that change what is learnt; how often it validates, logs and where it runs does not."""
ELSEWHERE = {
    "model": (
        *("init_from", "max_length", "max_new_tokens", "evaluation", "checkpoint_activations", "compile_layers"),
        "generation",
        *("base.checkpoint", "base.vision_tower", "base.language_model", "base.tokenizer"),
    ),
    "data": (
        *("train", "val", "test", "predict", "batch_size", "micro_batch_size", "token_budget", "packing"),
        *("eval_batch_size", "num_workers", "video_backend"),
    ),
}
"""Options that change no gradient, or places that may have been moved; the model itself compares its weights."""


def recipe(config: Mapping[str, Any]) -> dict[str, str]:
    """Options that decide what is learnt by their names on the command line, and a fingerprint of each training source.

    Args:
        config: The configuration of a `fit`, paths as `Path`.
    """
    config = written(config)
    told = {"seed_everything": str(config["seed_everything"])}
    trainer = {name: value for name, value in config["trainer"].items() if name in LENGTH_AND_NUMBERS}
    told |= flat_parameters({"trainer": trainer})
    for part, left_out in ELSEWHERE.items():
        names = {name.replace(".init_args", ""): value for name, value in flat_parameters({part: config[part]}).items()}
        elsewhere = tuple(f"{part}.{name}" for name in left_out)
        told |= {name: value for name, value in names.items() if not _within(name, elsewhere)}
    sources: Mapping[str, Any] = config["data"]["init_args"]["train"] or {}
    for name, source in sources.items():
        told[f"data.train.{name}"] = describe_data({"train": {name: source}})["fingerprint"]
    return told


def _within(name: str, options: tuple[str, ...]) -> bool:
    return any(name == option or name.startswith(f"{option}.") for option in options)


def compare(ours: Mapping[str, str], theirs: Mapping[str, str], path: Any) -> None:
    """Refuses to go on otherwise than a training began: half of it would be another's.

    Raises:
        DataError: Options differ; the message names each with both values.
    """
    differing = [
        f"{name} {theirs.get(name, 'not there')} -> {ours.get(name, 'not there')}"
        for name in sorted({**theirs, **ours})
        if theirs.get(name) != ours.get(name)
    ]
    if differing:
        raise DataError(
            f"{path} cannot be gone on with, for options have changed since: {'; '.join(differing)}. Give it the old "
            f"ones, or begin a new run from its weights: --model.init_from {path} with another --run.name"
        )
