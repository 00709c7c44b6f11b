"""One run of the pipeline: journal, budget and stages put together, and what they come to written."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

from datamodules.checkup import kind_of
from datamodules.errors import DataError
from datamodules.files import write_text
from datamodules.formats.region_jsonl import dump_record
from datamodules.regvid.accounts import STAGES, Stage
from datamodules.regvid.budget import Budget, Limits, seen_in
from datamodules.regvid.dry_run import Plan, plan, some_of, stand_ins
from datamodules.regvid.funnel import Funnel
from datamodules.regvid.journal import Billed, Journal
from datamodules.regvid.kept import Kept
from datamodules.regvid.mark import MarkedVideo
from datamodules.regvid.models import ROLES, ChatModel, Role
from datamodules.regvid.options import Options
from datamodules.regvid.output import (
    FRAMES,
    FUNNEL,
    JOURNAL,
    KEPT,
    REGIONS,
    SAMPLES,
    OrderedFile,
    samples_of,
    write_sheet,
)
from datamodules.regvid.patience import Brake
from datamodules.regvid.pipeline import Finished, Outcome, Pipeline
from datamodules.regvid.prompts import Prompts
from datamodules.regvid.questions import STAGES_OF, Questions
from datamodules.regvid.transport import Transport
from datamodules.regvid.videos import Videos, spread

MOST_IN_MEMORY = 64
"""Videos whose frames are in memory at the same time; others are read from the disk when they are asked about."""

Marker = Callable[..., MarkedVideo]
"""Makes the pictures of a video, with what is `kept` of those that were made before; see `Mark`."""

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

    def __init__(self, options: Options, mark: Marker, stages: Collection[Stage]) -> None:
        self.options = options
        self.mark = mark
        self.stages = stages
        self.prompts = Prompts.read(options.templates, options.seed)

    def plan(self, videos: Videos, billed: Mapping[tuple[Role, str], Billed] = MappingProxyType({})) -> Plan:
        """What all stages would call and cost, from the beginning, judged by calls that were `billed` if there are."""
        pretended = replace(self.options, models=stand_ins(self.options.models), budget=Limits())
        with tempfile.TemporaryDirectory() as folder, Journal(Path(folder) / JOURNAL) as journal:
            return plan(Run(pretended, self.mark, STAGES).pipeline(journal), videos, billed)

    def probe(self, videos: Videos, calls: int, watch: Watch) -> Plan:
        """What all stages would call and cost, judged by so many calls that are made for it, one video after the other.

        They are real ones: within the budget, and filed where any later run finds their answers. No data are written.

        Raises:
            DataError: As for `carry_out`, or no call was counted.
        """
        some = some_of(videos)
        some = replace(some, places=random.Random(self.options.seed).sample(some.places, len(some)))
        with self._opened() as (journal, pipeline):
            transport, pipeline.videos = pipeline.questions.transport, 1
            transport.most_made = calls
            with watch(transport, len(some)) as step:
                asyncio.run(self._run(pipeline, some, lambda place, outcome: step()))
            if transport.brake.error is not None:
                raise transport.brake.error
            billed = journal.billed()
        if not billed:
            raise DataError(f"{transport.made} calls of the probe were counted by no server: {transport.brake.reason}")
        return self.plan(videos, billed)

    def pipeline(self, journal: Journal, kept: Kept | None = None) -> Pipeline:
        """The stages, with their answers in a journal, and with what was made of videos before."""
        options = self.options
        budget = Budget(options.budget, journal.spent(), seen_in(journal.counted()))
        transport = Transport(journal, budget, options.patience, options.concurrency)
        questions = Questions(options.models, self.prompts, transport, self.stages)
        return Pipeline(partial(self.mark, kept=kept), questions, options)

    def carry_out(self, videos: Videos, watch: Watch) -> Result:
        """Puts the videos through the stages and writes what they came to.

        Raises:
            DataError: A model cannot be reached as it is configured, no video can be used, nothing is left of any
                region, the disk is full, or another run is writing to the same folder. What was answered until then
                is in the journal, and the files are written if they can be.
        """
        to = self.options.to
        with self._opened() as (journal, pipeline):
            result = Result(Funnel(len(videos), videos.without_noun))
            pictured = set(spread(len(videos), self.options.pictures))
            brake = pipeline.questions.transport.brake
            try:
                with ExitStack() as opened, watch(pipeline.questions.transport, len(videos)) as step:
                    regions = opened.enter_context(OrderedFile(to / REGIONS))
                    # without the last stage there are none, and those of before stay
                    samples = opened.enter_context(OrderedFile(to / SAMPLES)) if "instruct" in self.stages else None
                    files = _Files(to, self.prompts, regions, samples, pictured, result)
                    asyncio.run(self._run(pipeline, videos, files.after(step)))
                result.stopped = brake.reason
                write_text(to / FUNNEL, json.dumps(result.funnel.report(journal), indent=2) + "\n")
            except OSError as error:
                raise brake.error or DataError(f"{to}: cannot be written: {error}") from None
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

    @contextmanager
    def _opened(self) -> Iterator[tuple[Journal, Pipeline]]:
        """The journal, and the stages on it."""
        for model in self.models():
            model.check()
        options = self.options
        secrets = {secret for model in options.models.every() for secret in model.secrets}
        most, at_once = round(options.keep_gib * 2**30), min(options.concurrency, MOST_IN_MEMORY)
        with Journal(options.to / JOURNAL, secrets) as journal, Kept(options.to / KEPT, most, at_once) as kept:
            yield journal, self.pipeline(journal, kept)

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
    """The files of a run, and its counts."""

    folder: Path
    prompts: Prompts
    regions: OrderedFile
    samples: OrderedFile | None
    pictured: Collection[int]
    result: Result

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
        if place in self.pictured and outcome.marked is not None:
            # named after what is on it: a run that goes on decodes nothing for a sheet that is there
            sheet = f"{FRAMES}/{outcome.marked.key}.jpg"
            if not (self.folder / sheet).exists():
                write_sheet(outcome.marked.marked, self.folder / sheet)
        told = [] if video is None else [account.record(video.id) | {"frames": sheet} for account in outcome.accounts]
        self.regions.put(place, told)
        if self.samples is not None:
            made = samples_of(video, outcome.accounts, self.prompts) if video is not None and outcome.done else ()
            self.samples.put(place, [dump_record(sample, self.folder) for sample in made])
