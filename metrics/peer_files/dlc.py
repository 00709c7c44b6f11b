"""DLC-Bench: what the judge answered about each description, and the questions, `qa.json`.

The answers are the file that the benchmark's judge leaves, `{"<annotation>": {"response": ["Yes", "A. ...", ...], ...},
...}`, or only the lists, `{"<annotation>": ["Yes", ...]}`. A number among them, as the means `avg`, `avg_pos` and
`avg_neg` are, is no instance and passed over. A list begins with whether the object was recognised; then there is one
answer to each question, in the order of `qa.json`, which is `{"<annotation>": [{"question", "choices": [[text, score],
...], "type": "positive" or "negative"}, ...]}`.
"""

from __future__ import annotations

from pathlib import Path

from datamodules.reading import fields
from datamodules.reading.records import located
from metrics.dlc_bench import dlc_scores
from metrics.peer_files.rows import OURS, Names, check_same_ids, entries
from metrics.predictions import Score


def scores(path: Path, questions: Path, *, names: Names = OURS) -> dict[str, Score]:
    """The benchmark's numbers.

    Raises:
        DataError: A file cannot be read, a record is broken, or the files are not about the same descriptions or do
            not match in the number of questions.
    """
    qa = {name: value for _, name, value in entries(questions, {})}
    judged: dict[str, list[str]] = {}
    for origin, name, value in entries(path, names):
        if not isinstance(value, int | float):
            with located(origin):
                judged[name] = _answers(value)
    check_same_ids(path, judged, questions, qa)
    with located(f"{path}, {questions}"):
        return dlc_scores(qa, judged)


def _answers(value: object) -> list[str]:
    where = "answers"
    if isinstance(value, dict):
        where = "response"
        value = fields.member(value, where)
    return [fields.text(answer, f"{where}[{number}]") for number, answer in enumerate(fields.array(value, where))]
