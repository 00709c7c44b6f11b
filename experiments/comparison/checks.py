"""What may not stand in one table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from datamodules.errors import DataError
from experiments.comparison.runs import UNTRAINED, Run
from experiments.comparison.samples import Judged

_ASKED = ("task", "group", "references", "options", "label")


def check_alike(metric: str, runs: Sequence[Run], protocol_varies: bool = False) -> None:
    """Refuses numbers of different splits, checkpoints, protocols or counts.

    Args:
        metric: Each run has it.
        runs: At least one; all are held against the first.
        protocol_varies: Whether settings may differ in their protocol; the seeds of one may not.

    Raises:
        DataError: Two runs differ; it names both, and both values.
    """
    first = runs[0]
    # nobody has chosen a checkpoint of a base as it was published
    trained = next((run for run in runs if run.checkpoint != UNTRAINED), first)
    # of each setting, or of all
    held_against: dict[str | None, Run] = {}
    for run in runs:
        same = held_against.setdefault(run.setting if protocol_varies else None, run)
        pairs = {
            "split": (first.split, run.split),
            "checkpoint": ((run if run.checkpoint == UNTRAINED else trained).checkpoint, run.checkpoint),
            "protocol": (same.scores[metric].protocol, run.scores[metric].protocol),
            "n": (first.scores[metric].n, run.scores[metric].n),
        }
        for what, (one, other) in pairs.items():
            if one != other:
                holder = {"protocol": same, "checkpoint": trained}.get(what, first)
                raise _refusal(metric, holder, run, f"{what} {one!r} and {other!r}")


def check_same_samples(metric: str, judged: Sequence[Judged]) -> None:
    """Refuses numbers on different samples, or on samples that were asked something else.

    Args:
        metric: Named in the message.
        judged: All are held against the first, questions against the first with the same seed; but for those that
            kept no predictions, of which nothing is known.

    Raises:
        DataError: Two runs differ; it names both, and a sample with both values.
    """
    known = [item for item in judged if item.asked]
    same_seed: dict[int | None, Judged] = {}
    for other in known:
        first = known[0]
        if odd := first.asked.keys() ^ other.asked.keys():
            counts = f"{len(first.asked)} and {len(other.asked)} samples"
            holder = first if min(odd) in first.asked else other
            raise _refusal(metric, first.run, other.run, f"{counts}, {min(odd)!r} is only in {holder.run.name!r}")
        _check_same_questions(metric, same_seed.setdefault(other.run.seed, other), other)


def _check_same_questions(metric: str, first: Judged, other: Judged) -> None:
    for sample, asked in first.asked.items():
        for what, one, two in zip(_ASKED, asked, other.asked[sample], strict=True):
            if one != two:
                raise _refusal(metric, first.run, other.run, f"sample {sample!r}: {what} {one!r:.80} and {two!r:.80}")


def shared_clusters(metric: str, judged: Sequence[Judged]) -> Mapping[str, str]:
    """The clusters of the samples, which all runs that know them have to agree on; their names may differ.

    Args:
        metric: Named in the message.
        judged: Of the same samples, but for those that kept no predictions.

    Returns:
        Sample id -> the first sample of its cluster; empty where no run says.

    Raises:
        DataError: Two runs cluster the samples differently; it names both, and a sample with both clusters.
    """
    known = [item for item in judged if item.clusters]
    found = [_by_first(item.clusters) for item in known]
    for other, clusters in zip(known[1:], found[1:], strict=True):
        for sample, first in found[0].items():
            if clusters[sample] != first:
                one, two = (_described(item.clusters, sample) for item in (known[0], other))
                raise _refusal(metric, known[0].run, other.run, f"sample {sample!r}: cluster {one} and {two}")
    return found[0] if found else {}


def _by_first(clusters: Mapping[str, str]) -> dict[str, str]:
    first: dict[str, str] = {}
    return {sample: first.setdefault(clusters[sample], sample) for sample in sorted(clusters)}


def _described(clusters: Mapping[str, str], sample: str) -> str:
    return f"{clusters[sample]!r} of {Counter(clusters.values())[clusters[sample]]}"


def _refusal(metric: str, one: Run, other: Run, difference: str) -> DataError:
    return DataError(f"{metric} of {one.name!r} and {other.name!r} cannot be compared: {difference}")
