"""Which mistakes in the core would no test notice? `python tests/mutation [FILE ...] [--by-hand] [--list]`.

Changes a copy of the tree, one mutation at a time, and runs the tests that should notice: those made by hand in
`tables.py` and the generic ones of `operators.py`. Prints what survives; the exit status says whether anything did.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from operators import mutations
from runner import FAILED, PASSED, ROOT, Tree
from tables import BY_HAND, EQUIVALENT, TESTS


@dataclass(frozen=True, slots=True)
class Job:
    """A mutated file and the tests to run."""

    name: str
    file: str
    source: bytes
    tests: tuple[str, ...]


def by_hand(files: list[str]) -> Iterator[Job]:
    """The mutations of `tables.BY_HAND`.

    Raises:
        SystemExit: The text of one does not stand exactly once in its file.
    """
    for item in BY_HAND:
        source = (ROOT / item.file).read_text()
        if source.count(item.old) != 1:
            sys.exit(f"{item.file}: {item.old!r} stands there {source.count(item.old)} times, not once: {item.mistake}")
        if item.file in files:
            changed = source.replace(item.old, item.new).encode()
            yield Job(f"{item.file}: {item.mistake}", item.file, changed, item.tests or TESTS[item.file])


def generic(files: list[str]) -> Iterator[Job]:
    """The generic mutations of the files but for those known to change nothing.

    Raises:
        SystemExit: One of those does not occur any more.
    """
    for file in (file for file in files if file in TESTS):
        found = mutations((ROOT / file).read_bytes())
        known = {becomes for lines in EQUIVALENT.get(file, {}).values() for becomes in lines}
        if gone := known - {mutation.becomes for mutation in found}:
            sys.exit(f"{file}: no such mutation any more: {sorted(gone)}")
        for mutation in found:
            if mutation.becomes not in known:
                yield Job(f"{file}:{mutation.line}: {mutation.becomes}", file, mutation.source, TESTS[file])


def main() -> None:
    """Runs all that is asked for."""
    parser = argparse.ArgumentParser(prog="tests/mutation", description=__doc__)
    parser.add_argument("files", nargs="*", help="of the core; all of it if left out")
    parser.add_argument("--by-hand", action="store_true", help="only the mutations made by hand")
    parser.add_argument("--list", action="store_true", help="only say what would be done")
    parser.add_argument("--part", default="0/1", help="i/n: only the i-th of n parts, counted from 0")
    asked = parser.parse_args()
    core = list(dict.fromkeys([*TESTS, *(item.file for item in BY_HAND)]))
    files = asked.files or core
    if unknown := set(files) - set(core):
        sys.exit(f"no file of the core: {', '.join(sorted(unknown))}")
    part, parts = map(int, asked.part.split("/"))
    jobs = [*by_hand(files), *(() if asked.by_hand else generic(files))][part::parts]
    if asked.list:
        print(*(job.name for job in jobs), sep="\n")
        return
    with tempfile.TemporaryDirectory() as folder:
        survived = run(Tree(Path(folder)), jobs)
    sys.exit(1 if survived else 0)


def run(tree: Tree, jobs: list[Job]) -> list[Job]:
    """Prints and returns what survives."""
    limits: dict[tuple[str, ...], float] = {}
    survived, counts = [], Counter[str]()
    for job in jobs:
        if job.tests not in limits:
            limits[job.tests] = 20 + 5 * passing(tree, job.tests)
        with tree.changed(job.file, job.source):
            status, _ = tree.test(job.tests, limits[job.tests])
        counts["survived" if status == PASSED else "killed" if status == FAILED else "broken"] += 1
        if status == PASSED:
            survived.append(job)
            print(f"survived  {job.name}", flush=True)
    print(", ".join(f"{number} {verdict}" for verdict, number in counts.items()))
    return survived


def passing(tree: Tree, tests: tuple[str, ...]) -> float:
    """Seconds that tests take without a mutation.

    Raises:
        SystemExit: They fail.
    """
    status, seconds = tree.test(tests, limit=600, mutated=False)
    if status != PASSED:
        sys.exit(f"not mutated, {' '.join(tests)} fail: {(tree.folder / 'tests.log').read_text()[-2000:]}")
    return seconds


if __name__ == "__main__":
    main()
