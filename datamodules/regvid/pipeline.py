"""The stages one after the other, for many videos at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeAlias

from datamodules.errors import DataError
from datamodules.regvid.accounts import STAGES, Account, Stage
from datamodules.regvid.check import Check
from datamodules.regvid.describe import Describe
from datamodules.regvid.instruct import Instruct
from datamodules.regvid.judge import Judge
from datamodules.regvid.mark import MarkedVideo
from datamodules.regvid.options import Options
from datamodules.regvid.patience import WaitingError
from datamodules.regvid.questions import LostPicturesError, Questions
from datamodules.regvid.transport import together
from datamodules.regvid.verify import Verify
from datamodules.regvid.videos import Videos
from datamodules.types import RegionSample


@dataclass(frozen=True, slots=True)
class Outcome:
    """How far a video got.

    Attributes:
        accounts: Of its regions, as the last finished stage left them.
        video: With its regions as they were marked; None if it did not get so far.
        waiting: The stage whose answers are not there yet; None if there is no such.
        reason: Why it waits.
        unreadable: What is wrong with the video itself, if anything.
        marked: It as chat models are shown it; None if it did not get so far.
    """

    accounts: tuple[Account, ...] = ()
    video: RegionSample | None = None
    waiting: Stage | None = None
    reason: str = ""
    unreadable: str = ""
    marked: MarkedVideo | None = None

    @property
    def done(self) -> bool:
        """Whether it went through all stages."""
        return self.waiting is None and not self.unreadable


Marking: TypeAlias = Callable[[RegionSample], MarkedVideo]
Finished: TypeAlias = Callable[[int, Outcome], None]


class Pipeline:
    """Mark, describe, verify, instruct: each stage needs what the one before it made of the same video, and no more.

    Nothing is kept between runs but the journal of the calls: a stage that was done before finds its answers there.

    Args:
        mark: Makes the pictures.
        questions: Puts the questions.
        options: What a configuration says of the stages.

    Attributes:
        videos: Most videos at the same time; their frames are in memory.
    """

    def __init__(self, mark: Marking, questions: Questions, options: Options) -> None:
        checks, wanted = options.checks, options.wanted
        judge = Judge(questions, options.judge_frames, checks.verdicts)
        self.mark = mark
        self.questions = questions
        self.describe = Describe(questions, wanted)
        self.verify = Verify(questions, judge, wanted, checks.coverage)
        self.instruct = Instruct(questions, wanted)
        self.check = Check(judge) if checks.instructions else None
        self.videos = options.concurrency

    async def run(self, videos: Videos, finished: Finished) -> None:
        """Puts all videos through the stages, and tells of each how far it got.

        When the run is ended early, calls under way are finished and the videos that are left wait.

        Args:
            videos: What to work on, in this order.
            finished: Called once for each, with its place.
        """
        places = iter(range(len(videos)))
        # neither decoders nor sources need to know that there are threads: one reads, while calls are under way
        with ThreadPoolExecutor(1, "mark") as reader:
            workers = range(min(self.videos, len(videos)))
            await together([self._work(videos, places, reader, finished) for _ in workers])

    async def _work(
        self, videos: Videos, places: Iterator[int], reader: ThreadPoolExecutor, finished: Finished
    ) -> None:
        try:
            for place in places:
                outcome = await self._outcome(videos, place, reader)
                finished(place, outcome)
                if outcome.done and outcome.marked is not None:
                    await asyncio.to_thread(outcome.marked.drop)
        except BaseException:
            self.questions.transport.brake.pull("an error")
            raise

    async def _outcome(self, videos: Videos, place: int, reader: ThreadPoolExecutor) -> Outcome:
        brake = self.questions.transport.brake
        if brake.pulled:
            return Outcome(waiting="describe", reason=brake.reason)
        try:
            video, marked = await asyncio.get_running_loop().run_in_executor(reader, self._marked, videos, place)
        except DataError as error:
            return Outcome(unreadable=str(error))
        return await self._staged(replace(video, regions=marked.regions), marked)

    def _marked(self, videos: Videos, place: int) -> tuple[RegionSample, MarkedVideo]:
        video = videos[place]
        return video, self.mark(video)

    async def _staged(self, video: RegionSample, marked: MarkedVideo) -> Outcome:
        accounts: tuple[Account, ...] = ()
        stage: Stage = STAGES[0]
        try:
            accounts = await self.describe(marked)
            stage = "verify"
            accounts = await self.verify(marked, accounts)
            stage = "instruct"
            made = await self.instruct(video.id, accounts)
            accounts = made if self.check is None else await self.check(marked, made)
        except WaitingError as waiting:
            return Outcome(accounts, video, stage, str(waiting), marked=marked)
        except LostPicturesError as lost:
            return Outcome(unreadable=str(lost))
        return Outcome(accounts, video, marked=marked)
