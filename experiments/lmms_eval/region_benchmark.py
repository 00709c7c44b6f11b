"""A named benchmark as a task of lmms-eval: requests for any of its models, and our numbers of what was said."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch.distributed
from lmms_eval.api.instance import Instance
from lmms_eval.api.reasoning import parse_reasoning_tags_config, strip_reasoning_tags
from lmms_eval.api.task import ConfigurableMessagesTask, ConfigurableTask
from lmms_eval.models import get_model
from loguru import logger

from datamodules.errors import DataError
from experiments.lmms_eval.documents import Document, Documents
from experiments.lmms_eval.showing import Shown, asked, show, way
from experiments.lmms_eval.tables import read_table
from lightning_modules.generation.answering import prediction
from metrics import Prediction, Score

PREFIX = "region_"
"""Of the tasks' names, before that of the benchmark."""
ROOTS = "REGION_BENCHMARKS"
"""The variable that names the folder with a folder for each benchmark, by its name."""
SHOWN = "REGION_SHOWN"
"""The variable that says how regions are shown to models of others: `drawn`, or `text`."""
SPLIT = "test"


class RegionBenchmark(ConfigurableMessagesTask):
    """A benchmark of `python cli.py benchmark --list`.

    Our model answers as `test` has it answer, and its answers come as whole predictions, with the likelihoods of
    options: what lmms-eval makes of a likelihood is text anyway. Any other model gets pictures and a question; of
    options that are chosen by likelihood it is asked for the letter. The numbers are `metrics.Evaluation`'s of all
    samples at once, so no document has one of its own.

    Args:
        config: Of the task's file. Its `metadata` may have `benchmark` (left out: the task's name without `region_`, or
            a YAML file of one's own), `root` (left out: the folder of that name in `$REGION_BENCHMARKS`), `shown` (left
            out: `$REGION_SHOWN`, or `drawn`) and `options`, those of `python cli.py test`, by name.

    Raises:
        DataError: The benchmark's files are not there, or a value is refused.
    """

    args: Namespace | None = None
    """The command's; lmms-eval sets it before it asks for requests, and not when it is called from Python."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        told = {"benchmark": config["task"].removeprefix(PREFIX), **(config.get("metadata") or {})}
        self.pointing = way(told.get("shown") or os.environ.get(SHOWN) or "drawn")
        module, data = read_table(told["benchmark"], _root(told), told.get("options"))
        self.documents = Documents(module, data)
        self.evaluation = module.evaluation
        # what follows has gathered the predictions of all ranks
        self.evaluation.sync_on_compute = False
        self.scores: dict[str, Score] = {}
        given = {name: value for name, value in config.items() if name != "class"}
        generation = {"max_new_tokens": module.max_new_tokens, "do_sample": False, "temperature": 0, "until": []}
        super().__init__(
            config={
                "test_split": SPLIT,
                "output_type": "generate_until",
                "generation_kwargs": generation,
                "metric_list": [],
                **given,
            }
        )

    # --- what is asked ----------------------------------------------------------------------------------------------

    def download(self, dataset_kwargs: object = None) -> None:
        """Nothing is: the files lie where the benchmark's root is."""
        self.dataset = self.dataset_no_image = {SPLIT: self.documents}

    def fewshot_context(
        self, doc: Document, num_fewshot: int, system_instruction: str | None = None, *_: object, **__: object
    ) -> str:
        """The question of models that take one text: before anything is answered, media are read for no other.

        Raises:
            DataError: There is to be something before the question.
        """
        if num_fewshot or system_instruction:
            given = f"--num_fewshot {num_fewshot}, --system_instruction {system_instruction!r}"
            raise DataError(f"{self.config.task}: {given}: nothing stands before a benchmark's question")
        kind = self._model()
        if kind is not None and (getattr(kind, "takes_regions", False) or not kind.is_simple):
            return str(doc["question"])
        return self.doc_to_text(doc)

    def doc_to_text(self, doc: Document) -> str:
        """The question with regions in words."""
        return self._shown(doc).question

    def doc_to_visual(self, doc: Document) -> list[Any]:
        """Its pictures, with regions drawn on them if that is how they are shown."""
        return self._shown(doc).pictures

    def doc_to_messages(self, doc: Document, **_: object) -> list[Any]:
        """Both, for models that take messages."""
        shown = self._shown(doc)
        messages: list[Any] = self._build_user_turn(shown.pictures, shown.question)
        return messages

    def doc_to_target(self, doc: Document) -> str:
        """The right answer, for logs."""
        return str(doc["answer"])

    def construct_requests(self, doc_id: int, ctx: str, **kwargs: Any) -> Instance:
        """One of the form that the model takes."""
        kind = self._model()
        form = ConfigurableTask if kind is None or kind.is_simple else ConfigurableMessagesTask
        return form.construct_requests(self, doc_id, ctx, **kwargs)

    def _shown(self, doc: Document) -> Shown:
        return show(asked(self.documents.sample(doc["number"])), self.documents.data, self.pointing)

    def _model(self) -> Any:
        return None if self.args is None else get_model(self.args.model, self.args.force_simple)

    # --- what it comes to -------------------------------------------------------------------------------------------

    def apply_filters(self) -> None:
        """Scores all answers of all ranks: each calls this, task after task, when the last answer is there."""
        super().apply_filters()
        said = [self._prediction(request) for request in self.instances]
        self.evaluation.reset()
        self.evaluation.update(_of_all_ranks(said))
        self.scores = self.evaluation.compute()
        for name, score in self.scores.items():
            logger.info(f"{self.config.task}: {name} {score.value:.4f}, n = {score.n}: {score.protocol}")

    def process_results(self, doc: Document, results: Sequence[str], full_docs: object = None) -> dict[str, None]:
        """The names of the numbers."""
        return dict.fromkeys(self.scores)

    def aggregation(self) -> dict[str, Callable[[Sequence[None]], float]]:
        """The numbers, whatever lmms-eval has gathered."""
        return {name: partial(_known, score.value) for name, score in self.scores.items()}

    def higher_is_better(self) -> dict[str, bool]:
        """Not said: a share of the answer yes is no better if it is higher."""
        return {}

    def _prediction(self, request: Instance) -> Prediction:
        (text,) = request.filtered_resps.values()
        sample = self.documents.sample(request.doc_id)
        if whole := whole_prediction(text):
            if whole.id != sample.id:
                raise sample.error(f"the answer is one to {whole.id!r}")
            return whole
        tags = parse_reasoning_tags_config(getattr(self.args, "reasoning_tags", None), self.config.reasoning_tags)
        text = text if tags is None else strip_reasoning_tags(text, tags)
        return prediction(asked(sample), str(request.args[0]), text)


def whole_prediction(text: str) -> Prediction | None:
    """What our model answers to a task of ours; None if the text is anything else."""
    return Prediction.from_json(text) if text.startswith('{"id": ') else None


def _known(value: float, _: Sequence[None]) -> float:
    return value


def _root(told: Mapping[str, Any]) -> Path:
    if "root" in told:
        return Path(told["root"])
    if ROOTS not in os.environ:
        raise DataError(f"{told['benchmark']}: {ROOTS} is not set, the folder with a folder for each benchmark's files")
    return Path(os.environ[ROOTS], told["benchmark"])


def _of_all_ranks(predictions: list[Prediction]) -> list[Prediction]:
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return predictions
    gathered: list[list[Prediction]] = [[]] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(gathered, predictions)
    return [one for part in gathered for one in part]
