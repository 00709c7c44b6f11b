"""What holds for every sample whatever format it comes from."""

from __future__ import annotations

from datamodules.errors import DataError
from datamodules.prompting.choices import answered
from datamodules.prompting.placeholders import PLACEHOLDER, check_mentions
from datamodules.types import Frames, NoPicture, RegionSample


def check_sample(sample: RegionSample) -> None:
    """Refuses a sample that contradicts itself; only the media can tell whether its geometry lies on its frames.

    Raises:
        DataError: Text mentions a region that is not there, the label is no option or not the answer, a region is on
            no frame of the media, or what the task needs is missing.
    """
    _check_text(sample)
    _check_choice(sample)
    _check_frames(sample)


def check_taught(sample: RegionSample) -> None:
    """Refuses a sample that would teach silence: what is learnt of an empty answer is to say nothing.

    Evaluation may ask without knowing the answer; training may not.

    Raises:
        DataError: A turn has no answer.
    """
    for number, turn in enumerate(sample.conversation):
        if not turn.answer.strip():
            known = f", with {len(turn.references)} references" if turn.references else ""
            raise DataError(f"conversation[{number}].answer: nothing to learn from {turn.answer!r}{known}")


def _check_text(sample: RegionSample) -> None:
    regions = len(sample.regions)
    if not sample.conversation:
        raise DataError("conversation: expected one turn or more, got 0")
    for number, turn in enumerate(sample.conversation):
        if not turn.question.strip():
            raise DataError(f"conversation[{number}].question: expected text, got {turn.question!r}")
        check_mentions(turn.question, regions, f"conversation[{number}].question")
        check_mentions(turn.answer, regions, f"conversation[{number}].answer")
        for index, reference in enumerate(turn.references):
            check_mentions(reference, regions, f"references[{number}][{index}]")
    for index, option in enumerate(sample.options):
        check_mentions(option, regions, f"options[{index}]")


def _check_choice(sample: RegionSample) -> None:
    if sample.task == "choice" and not sample.options:
        raise DataError("task: 'choice' with 0 options")
    if sample.task == "refer" and not (sample.options and all(map(PLACEHOLDER.fullmatch, sample.options))):
        raise DataError("task: 'refer' needs options that are one region each, like '<region0>'")
    answered(sample)


def _check_frames(sample: RegionSample) -> None:
    media = sample.media
    if isinstance(media, NoPicture) and sample.regions:
        raise DataError(f"{len(sample.regions)} regions, but there is no picture")
    first, last = media.span or (0, len(media.paths) if isinstance(media, Frames) else None)
    if last is not None and last <= first and sample.regions:
        raise DataError(f"span: inverted or empty, [{first}, {last})")
    for number, region in enumerate(sample.regions):
        for frame in region.prompts:
            if frame < first or (last is not None and frame >= last):
                raise DataError(f"regions[{number}]: prompted on frame {frame}, outside the frames [{first}, {last})")
            if region.track.get(frame, ...) is None:
                raise DataError(f"regions[{number}].track: not visible on frame {frame}, where it is pointed at")
