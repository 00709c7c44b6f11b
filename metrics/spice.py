"""SPICE, the Java program that pycocoevalcap brings along; the models it parses with are the user's to download."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.errors import DataError
from metrics.java import run_java

_MODELS = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")
_SOURCE = "https://nlp.stanford.edu/software/stanford-corenlp-full-2015-12-09.zip"

# its serializer looks into classes that Java has closed since version 16
_OPENED = ("lang", "math", "net", "text", "util", "util.concurrent")


def spice(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> NDArray[np.float64]:
    """SPICE's F-score of each caption, in [0, 1]; 0 for one that has none.

    Raises:
        DataError: Stanford's models are not where the program looks for them. Nothing is downloaded.
        RuntimeError: Java failed.
    """
    from pycocoevalcap.spice import spice as package

    program = Path(package.__file__).with_name(package.SPICE_JAR)
    _check_models(program.parent / "lib")
    pairs = zip(hypotheses, references, strict=True)
    samples = [
        {"image_id": number, "test": hypothesis, "refs": list(texts)}
        for number, (hypothesis, texts) in enumerate(pairs)
    ]
    values = [result["scores"]["All"]["f"] or 0.0 for result in _run(program, samples)]
    assert len(values) == len(samples), f"{len(values)} SPICE scores for {len(samples)} captions"
    return np.array(values, np.float64)


def _check_models(folder: Path) -> None:
    for name in _MODELS:
        if not (folder / name).is_file():
            raise DataError(f"SPICE needs {folder / name}, which is not there; it is in {_SOURCE}")


def _run(program: Path, samples: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    opened = [f"--add-opens=java.base/java.{package}=ALL-UNNAMED" for package in _OPENED]
    # files of our own: pycocoevalcap's class writes into its package folder and caches parses there for ever
    with TemporaryDirectory() as folder:
        captions, scores = Path(folder, "captions.json"), Path(folder, "scores.json")
        captions.write_text(json.dumps(samples), encoding="ascii")
        files = [str(captions), "-out", str(scores), "-subset", "-silent"]
        run_java("SPICE", ["-Xmx8G", *opened, "-jar", str(program), *files])
        results: list[dict[str, Any]] = json.loads(scores.read_text(encoding="utf-8"))
        return results
