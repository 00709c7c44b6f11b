"""Puts a benchmark's questions to a judge model: every answer is on the record, none is asked for twice.

Calls, journal, budget and patience are those of `datamodules.regvid`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from datamodules.errors import DataError
from datamodules.files import write_text
from datamodules.regvid.accounts import STAGES
from datamodules.regvid.budget import Budget, seen_in
from datamodules.regvid.journal import Journal
from datamodules.regvid.models import ChatRequest, Models, Pictures, Usage
from datamodules.regvid.output import JOURNAL
from datamodules.regvid.parsing import said
from datamodules.regvid.patience import WaitingError
from datamodules.regvid.prompts import Prompts
from datamodules.regvid.questions import Questions, Reading, UnusableError
from datamodules.regvid.run import stopped_by_signals
from datamodules.regvid.transport import Transport, together
from datamodules.source import RegionSource
from metrics.judging.options import Options
from metrics.judging.pictures import Samples
from metrics.judging.protocol import Asked, Judgement, Verdict
from metrics.judging.protocols import PROTOCOLS
from metrics.judging.wording import Wording
from metrics.predictions import Prediction, Score

VERDICTS = "judged.json"

Watch = Callable[[Transport, int], AbstractContextManager[Callable[[], None]]]
"""Shows calls and spend of a run over so many predictions; what it gives is called when one of them is judged."""


class Plan(NamedTuple):
    """Calls of a whole run, and what they would use if every answer were as long as it may be: an estimate."""

    calls: int
    most: Usage


@dataclass(slots=True)
class Result:
    """What a run came to.

    Attributes:
        judgements: Of the predictions whose questions are all answered, sorted by id.
        waiting: Questions without an answer yet.
        reason: Why they wait, the last reason.
        unreadable: What is wrong with each answer that cannot be read, after all attempts.
    """

    judgements: list[Judgement] = field(default_factory=list)
    waiting: int = 0
    reason: str = ""
    unreadable: list[str] = field(default_factory=list)


class Judge:
    """A judge and the predictions that it is to judge.

    Args:
        options: What the configuration says.
        predictions: At least one, with different ids.
        sources: Those that were tested on, for a judge that is shown pictures.

    Raises:
        DataError: A prediction lacks what its questions need or is of none of the samples, two have one key, or the
            wording cannot be used.
    """

    def __init__(
        self,
        options: Options,
        predictions: Sequence[Prediction],
        sources: Mapping[str, RegionSource] | None = None,
    ) -> None:
        self.options = options
        self.protocol = PROTOCOLS[options.protocol]
        self.predictions = sorted(predictions, key=lambda prediction: prediction.id)
        captions(self.predictions)
        self.wording = Wording.read(self.protocol.wording, self.protocol.texts, options.templates)
        self.asked = [self.protocol.ask(prediction, self.wording) for prediction in self.predictions]
        self._samples: Samples | None = None
        if self.protocol.shown is not None:
            if not sources:
                raise DataError(f"judge.protocol {options.protocol} shows pictures: set data.test in the configuration")
            self._samples = Samples(sources)
            self._samples.check([prediction.id for prediction in self.predictions])

    @property
    def rule(self) -> str:
        """What the protocol of each number begins with."""
        model, protocol = self.options.model, self.protocol
        return (
            f"{protocol.title}, {self.options.protocol}: judge {model.model} {protocol.sees}, "
            f"temperature {model.temperature or 0.0:g}, wording {self.wording.fingerprint}"
        )

    def plan(self) -> Plan:
        """What a run from the beginning would call and use at most."""
        requests = [request for place in range(len(self.predictions)) for _, request in self._requests(place)]
        prompt = sum(map(self.options.model.estimated_tokens, requests))
        return Plan(len(requests), self.options.model.usage(prompt, self.options.model.max_tokens * len(requests)))

    def carry_out(self, watch: Watch) -> Result:
        """Asks what was not answered before.

        Raises:
            DataError: The model cannot be reached as it is configured, a picture cannot be read, the disk is full, or
                another run is writing to the same folder. What was answered until then is in the journal.
        """
        options = self.options
        options.model.check()
        result = Result()
        with Journal(options.folder / JOURNAL, set(options.model.secrets)) as journal:
            budget = Budget(options.budget, journal.spent(), seen_in(journal.counted()))
            transport = Transport(journal, budget, options.patience, options.concurrency, options="judge")
            with watch(transport, len(self.predictions)) as step:
                asyncio.run(self._run(transport, result, step))
        if transport.brake.error is not None:
            raise transport.brake.error
        result.judgements.sort(key=lambda judgement: judgement.prediction.id)
        return result

    def scores(self, result: Result) -> dict[str, Score]:
        """The benchmark's numbers.

        Raises:
            DataError: An answer could not be read.
        """
        assert not result.waiting, "numbers stand on all answers"
        if result.unreadable:
            asked = sum(map(len, self.asked))
            raise DataError(
                f"judge {self.options.model.model}: {len(result.unreadable)} of {asked} answers cannot be read, the "
                f"first: {min(result.unreadable)}; {self.options.folder / JOURNAL} has them, and "
                f"judge.patience.attempts is {self.options.patience.attempts}"
            )
        return self.protocol.score(result.judgements, self.rule)

    async def _run(self, transport: Transport, result: Result, step: Callable[[], None]) -> None:
        questions = Questions(Models(judge=self.options.model), Prompts.read(), transport, STAGES)
        places = iter(range(len(self.predictions)))
        try:
            with stopped_by_signals(transport.brake), ThreadPoolExecutor(1, "pictures") as reader:
                workers = range(min(self.options.concurrency, len(self.predictions)))
                await together([self._work(questions, places, reader, result, step) for _ in workers])
        finally:
            await self.options.model.close()

    async def _work(
        self,
        questions: Questions,
        places: Iterator[int],
        reader: ThreadPoolExecutor,
        result: Result,
        step: Callable[[], None],
    ) -> None:
        try:
            for place in places:
                requests = await asyncio.get_running_loop().run_in_executor(reader, self._requests, place)
                await self._judge(questions, place, requests, result)
                step()
        except BaseException:
            questions.transport.brake.pull("an error")
            raise

    async def _judge(
        self, questions: Questions, place: int, requests: Sequence[tuple[Asked, ChatRequest]], result: Result
    ) -> None:
        """All questions about one prediction, one after the other."""
        prediction = self.predictions[place]
        verdicts: list[Verdict] = []
        for number, (asked, request) in enumerate(requests):

            def read(answer: str, asked: Asked = asked) -> Reading[Verdict]:
                return Reading(asked.read(said(answer).strip()))

            try:
                verdicts.append((await questions.ask("judge", prediction.id, request, read)).value)
            except WaitingError as waiting:
                result.waiting += 1
                result.reason = str(waiting)
            except UnusableError as error:
                result.unreadable.append(f"sample {prediction.id!r}, question {number}: {error.detail}")
        if len(verdicts) == len(requests):
            result.judgements.append(Judgement(prediction, tuple(verdicts)))

    def _requests(self, place: int) -> list[tuple[Asked, ChatRequest]]:
        """The questions about a prediction, with the pictures that they need."""
        images = Pictures()
        if self.protocol.shown is not None and self._samples is not None:
            images = Pictures.of(self.protocol.shown(self._samples[self.predictions[place].id]))
            most = self.options.model.most_images
            if most is not None and len(images) > most:
                raise self.predictions[place].error(
                    f"judge.protocol {self.options.protocol} shows {len(images)} pictures, judge.model.most_images is "
                    f"{most}"
                )
        return [(asked, ChatRequest(self.wording.system, asked.text, images)) for asked in self.asked[place]]


def captions(predictions: Sequence[Prediction]) -> dict[str, str]:
    """What was said, by the number of the annotation where there is one, as DLC-Bench's own script reads it.

    Raises:
        DataError: Two predictions have one key.
    """
    found: dict[str, str] = {}
    for prediction in predictions:
        key = _key(prediction)
        if key in found:
            raise prediction.error(f"another prediction is of {key!r} as well")
        found[key] = prediction.prediction
    return found


def write_captions(path: Path, predictions: Sequence[Prediction]) -> None:
    """Writes `captions` as JSON."""
    write_text(path, json.dumps(captions(predictions), indent=2) + "\n")


def write_verdicts(folder: Path, judgements: Sequence[Judgement]) -> None:
    """What was said and the verdicts, as DLC-Bench's own judge leaves them, which `score` reads."""
    judged = {_key(prediction): {"pred": prediction.prediction, "response": said} for prediction, said in judgements}
    write_text(folder / VERDICTS, json.dumps(judged, indent=2) + "\n")


def _key(prediction: Prediction) -> str:
    return str(prediction.meta.get("annotation_id", prediction.id))
