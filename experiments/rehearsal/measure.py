"""How well verification worked: what it removed and kept of what is false and true in the scenes.

::

    python -m experiments.rehearsal.measure runs/regvid/shapes --shapes data/shapes
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datamodules.errors import DataError
from datamodules.reading.jsonl_index import JsonlIndex
from datamodules.regvid.output import REGIONS
from experiments.rehearsal.claims import Topic, read, truths
from experiments.rehearsal.scenes import Scenes
from experiments.terminal import run_script


@dataclass(frozen=True, slots=True)
class Verification:
    """Sentences of verified regions, by whether they are true and whether they were kept.

    Attributes:
        false_removed: Falsehoods that were found.
        false_kept: Falsehoods that were not.
        true_removed: Truths that were lost.
        true_kept: Truths that are still there.
        regions: How many were verified.
        lost: Regions that were described, but have no verified description.
        strange: Sentences of verified descriptions that the describer never said, or that claim nothing known.
        missed: Falsehoods kept, by topic.
    """

    false_removed: int
    false_kept: int
    true_removed: int
    true_kept: int
    regions: int
    lost: int
    strange: int
    missed: Mapping[Topic, int]

    @property
    def precision(self) -> float:
        """Share of what was removed that is false; 1 if nothing was."""
        return _share(self.false_removed, self.false_removed + self.true_removed)

    @property
    def recall(self) -> float:
        """Share of what is false that was removed; 1 if nothing is."""
        return _share(self.false_removed, self.false_removed + self.false_kept)

    @property
    def false_before(self) -> float:
        """Share of false sentences in the descriptions."""
        return self._false(self.false_removed + self.false_kept, self.true_removed + self.true_kept)

    @property
    def false_after(self) -> float:
        """Share of false sentences in the verified descriptions."""
        return self._false(self.false_kept, self.true_kept)

    def _false(self, false: int, true: int) -> float:
        return false / (false + true) if false + true else 0.0

    def lines(self) -> str:
        """For people."""
        removed = self.false_removed + self.true_removed
        false = self.false_removed + self.false_kept
        return (
            f"{self.regions} regions verified, {self.lost} lost\n"
            f"precision {self.precision:.3f}: {self.false_removed} of {removed} removed sentences are false\n"
            f"recall    {self.recall:.3f}: {self.false_removed} of {false} false sentences were removed\n"
            f"false sentences: {self.false_before:.1%} before, {self.false_after:.1%} after\n"
        )


def measure(records: Iterable[Mapping[str, Any]], scenes: Scenes) -> Verification:
    """Compares descriptions before and after verification with the scenes.

    Args:
        records: Lines of the pipeline's account of regions.
        scenes: What the videos show.

    Raises:
        DataError: A video is none of the built-in data set, or a sentence is no stand-in's.
    """
    counts: Counter[tuple[bool, bool]] = Counter()
    missed: Counter[Topic] = Counter()
    tally: Counter[str] = Counter()
    for record in records:
        if record["description"] is None:
            continue
        if record["verified"] is None:
            tally["lost"] += 1
            continue
        tally["regions"] += 1
        left = [sentence for sentence, _ in read(record["verified"])]
        sight = scenes.find(record["video"])
        true = truths(sight.scene, sight.number(record["index"], record["noun"]))
        for sentence, claim in read(record["description"]):
            if claim is None:
                raise DataError(f"{record['video']} [{record['index']}]: no stand-in says {sentence!r}")
            is_true, is_kept = claim in true[claim.topic], sentence in left
            counts[is_true, is_kept] += 1
            missed[claim.topic] += is_kept and not is_true
            left = [other for other in left if other != sentence]
        tally["strange"] += len(left)
    kept = {topic: number for topic, number in missed.items() if number}
    cells = counts[False, False], counts[False, True], counts[True, False], counts[True, True]
    return Verification(*cells, tally["regions"], tally["lost"], tally["strange"], kept)


def measure_folder(folder: Path, scenes: Scenes) -> Verification:
    """The same of a folder that the pipeline wrote; `DataError` if there is no account of regions in it."""
    index = JsonlIndex.build(folder / REGIONS)
    return measure((index.read(row) for row in range(len(index))), scenes)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints precision and recall."""
    parser = argparse.ArgumentParser("python -m experiments.rehearsal.measure", description=__doc__)
    parser.add_argument("folder", type=Path, help="what the pipeline wrote, with stand-in models")
    parser.add_argument("--shapes", type=Path, default=Path("data/shapes"), help="the built-in data set (%(default)s)")
    asked = parser.parse_args(arguments)
    sys.stdout.write(measure_folder(asked.folder, Scenes(asked.shapes)).lines())


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


if __name__ == "__main__":
    run_script(main)
