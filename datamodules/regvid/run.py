"""One run of the pipeline: journal, budget and stages put together, and what they come to written."""

from __future__ import annotations

import asyncio
import json
import signal
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from datamodules.checkup import kind_of
from datamodules.errors import DataError
from datamodules.files import write_text
from datamodules.regvid.accounts import STAGES, Stage
from datamodules.regvid.brake import Brake
from datamodules.regvid.budget import Budget, Limits, seen_in
from datamodules.regvid.dry_run import Plan, plan, stand_ins
from datamodules.regvid.funnel import Funnel
from datamodules.regvid.journal import Journal
from datamodules.regvid.models import ROLES, ChatModel
from datamodules.regvid.options import Options
from datamodules.regvid.output import (
    FRAMES,
    FUNNEL,
    JOURNAL,
    REGIONS,
    SAMPLES,
    OrderedFile,
    sample_records,
    write_sheet,
)
from datamodules.regvid.pipeline import Finished, Marking, Outcome, Pipeline
from datamodules.regvid.prompts import Prompts
from datamodules.regvid.questions import STAGES_OF, Questions
from datamodules.regvid.transport import Transport
from datamodules.regvid.videos import Videos, spread

Watch = Callable[[Transport, int], AbstractContextManager[Callable[[], None]]]
"""Shows calls and spend of a run over so many videos; what it gives is called when one of them is finished."""


@dataclass(slots=True)
class Result:
    """What a run came to.

    Attributes:
        funnel: Counts of everything.
        stopped: Why it was ended early; empty if it was not.
        waits: Why videos wait, the last reason.
        unreadable: What is wrong with the first video that cannot be used.
        alive: Regions that every stage so far has let through.
        lost: Regions that one has not.
    """

    funnel: Funnel
    stopped: str = ""
    waits: str = ""
    unreadable: str = ""
    alive: int = 0
    lost: int = 0


class Run:
    """A configured pipeline.

    Args:
        options: What its configuration says.
        mark: Makes the pictures.
        stages: Whose calls may be made.

    Raises:
        DataError: A template cannot be used.
    """

    def __init__(self, options: Options, mark: Marking, stages: Collection[Stage]) -> None:
        self.options = options
        self.mark = mark
        self.stages = stages
        self.prompts = Prompts.read(options.templates, options.seed)

    def plan(self, videos: Videos) -> Plan:
        """What all stages would call and cost, from the beginning."""
        pretended = replace(self.options, models=stand_ins(self.options.models), budget=Limits())
        with tempfile.TemporaryDirectory() as folder, Journal(Path(folder) / JOURNAL) as journal:
            return plan(Run(pretended, self.mark, STAGES).pipeline(journal), videos)

    def pipeline(self, journal: Journal) -> Pipeline:
        """The stages, with their answers in a journal."""
        options = self.options
        budget = Budget(options.budget, journal.spent(), seen_in(journal.counted()))
        transport = Transport(journal, budget, options.patience, options.concurrency)
        questions = Questions(options.models, self.prompts, transport, self.stages)
        return Pipeline(self.mark, questions, options.wanted, options.judge_frames, options.checks, options.concurrency)

    def carry_out(self, videos: Videos, watch: Watch) -> Result:
        """Puts the videos through the stages and writes what they came to.

        Raises:
            DataError: A model cannot be reached as it is configured, no video can be used, nothing is left of any
                region, the disk is full, or another run is writing to the same folder. What was answered until then
                is in the journal, and the files are written if they can be.
        """
        for model in self.models():
            model.check()
        secrets = {secret for model in self.options.models.every() for secret in model.secrets}
        with Journal(self.options.to / JOURNAL, secrets) as journal:
            pipeline = self.pipeline(journal)
            result = Result(Funnel(len(videos), videos.without_noun))
            pictured = set(spread(len(videos), self.options.pictures))
            files = _Files(self.options.to, self.prompts, "instruct" in self.stages, pictured, result)
            brake = pipeline.questions.transport.brake
            try:
                with files, watch(pipeline.questions.transport, len(videos)) as step:
                    asyncio.run(self._run(pipeline, videos, files.after(step)))
                result.stopped = brake.reason
                write_text(self.options.to / FUNNEL, json.dumps(result.funnel.report(journal), indent=2) + "\n")
            except OSError as error:
                raise brake.error or DataError(f"{self.options.to}: cannot be written: {error}") from None
        if brake.error is not None:
            raise brake.error
        if result.funnel.unreadable.total() == len(videos):
            raise DataError(f"none of {len(videos)} videos can be used, the first: {result.unreadable}")
        if result.lost and not result.alive and result.lost == result.funnel.regions:
            ((stage, _, reason), _), *_ = result.funnel.dropped.most_common(1)
            raise DataError(f"nothing is left of {result.lost} regions, the most frequent reason: {stage}: {reason}")
        return result

    def models(self) -> list[ChatModel]:
        """Those that may be called, each once."""
        roles = [role for role in ROLES if any(stage in self.stages for stage in STAGES_OF[role])]
        return list({id(model): model for model in map(self.options.models.of, roles)}.values())

    async def _run(self, pipeline: Pipeline, videos: Videos, finished: Finished) -> None:
        try:
            with stopped_by_signals(pipeline.questions.transport.brake):
                await pipeline.run(videos, finished)
        finally:
            for model in self.models():
                await model.close()


@contextmanager
def stopped_by_signals(brake: Brake) -> Iterator[None]:
    """The first interrupt or termination ends the run cleanly, the next one at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in signals}

    def restore() -> None:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)

    def stop() -> None:
        brake.pull("interrupted")
        restore()

    for number in signals:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        restore()


@dataclass
class _Files:
    """The files of a run, and its counts; a context that puts them in place if all went well."""

    folder: Path
    prompts: Prompts
    with_samples: bool
    pictured: Collection[int]
    result: Result
    _open: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> _Files:
        self._regions = self._open.enter_context(OrderedFile(self.folder / REGIONS))
        self._samples: OrderedFile | None = None
        if self.with_samples:
            self._samples = self._open.enter_context(OrderedFile(self.folder / SAMPLES))
        return self

    def __exit__(self, *raised: object) -> None:
        self._open.__exit__(*raised)  # type: ignore[arg-type]  # handed on as it came

    def after(self, step: Callable[[], None]) -> Finished:
        """Takes what each video came to, then makes the step."""

        def finished(place: int, outcome: Outcome) -> None:
            self._count(outcome)
            self._write(place, outcome)
            step()

        return finished

    def _count(self, outcome: Outcome) -> None:
        funnel = self.result.funnel
        if outcome.unreadable:
            funnel.unreadable[kind_of(outcome.unreadable)] += 1
            self.result.unreadable = self.result.unreadable or outcome.unreadable
        if outcome.waiting is not None:
            funnel.waiting[outcome.waiting] += 1
            self.result.waits = outcome.reason
        funnel.regions += len(outcome.video.regions) if outcome.video is not None else 0
        for account in outcome.accounts:
            funnel.add(account, outcome.done)
            self.result.alive += account.alive
            self.result.lost += not account.alive

    def _write(self, place: int, outcome: Outcome) -> None:
        video = outcome.video
        sheet = None
        if place in self.pictured and outcome.frames is not None:
            sheet = f"{FRAMES}/{place:06}.jpg"
            write_sheet(outcome.frames, self.folder / sheet)
        regions = (
            [] if video is None else [account.record(video.id) | {"frames": sheet} for account in outcome.accounts]
        )
        self._regions.put(place, regions)
        if self._samples is not None:
            made = video is not None and outcome.done
            records = sample_records(video, outcome.accounts, self.prompts, self.folder) if made and video else []
            self._samples.put(place, records)
