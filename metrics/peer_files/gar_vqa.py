"""GAR-Bench-VQA answers: the benchmark's records with `model_output`, as its own script leaves them.

`{"model_output": "B", "answer": "B", "type": "color", "question": "...", "choices": ["A. ...", ...], ...}`: in all but
names the records of VideoRefer-Bench-Q. The benchmark counts an output that is the right letter and nothing else.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from metrics.peer_files import videorefer_q
from metrics.peer_files.rows import OURS, Names
from metrics.predictions import Prediction

NAMES = {"pred": "model_output", "Answer": "answer", "options": "choices", "Question": "question"}


def read(path: Path, *, names: Names = OURS) -> list[Prediction]:
    """The answers as predictions in the order of the file, their `group` the type of question.

    Raises:
        DataError: The file cannot be read, a record is broken, or two records have one id.
    """
    found = videorefer_q.read(path, names={**NAMES, **names})
    return [replace(prediction, protocol="GAR-Bench-VQA answers of a file") for prediction in found]
