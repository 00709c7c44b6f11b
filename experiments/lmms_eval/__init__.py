"""A plugin of lmms-eval: our models as one of its models, and named benchmarks without a judge as its tasks.

::

    experiments/named_benchmarks.py  a name -> configuration     tables.py     -> its data and its metrics
    Documents                        what lmms-eval asks about   documents.py  (no module of lmms-eval)
    models/region.py                 answers as `test` does      showing.py    what any other model is asked
    region_benchmark.py              the task: requests, and `metrics.Evaluation` on what was said
    tasks/                           a file a benchmark, which `--include_path` finds

What is asked, how options are chosen and what the answers come to are the configuration's, as for `python cli.py test`:
nothing of a benchmark is written a second time here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

TASKS = Path(__file__).parent / "tasks"
"""What `--include_path` of lmms-eval is given."""


def manifest() -> Any:
    """The entry point `lmms_eval.models`: what lmms-eval has to know to make our model for `--model region`."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest("region", simple_class_path=f"{__name__}.models.region.RegionModel")
