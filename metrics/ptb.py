"""The Penn Treebank tokenizer of the COCO caption evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from metrics.java import run_java


def ptb_tokenise(captions: Sequence[str]) -> list[str]:
    """Lower-cased tokens joined by blanks, punctuation dropped, one string a caption.

    Runs the Stanford tokenizer of pycocoevalcap through its standard input: pycocoevalcap's own class writes
    a file into its package folder, which a read-only installation refuses.

    Raises:
        RuntimeError: Java failed.
    """
    from pycocoevalcap.tokenizer import ptbtokenizer

    # The tokenizer takes CR, VT, FF, U+2028 and their like for line ends: all later captions would shift.
    lines = [" ".join(caption.split()) for caption in captions]
    jar = Path(ptbtokenizer.__file__).with_name(ptbtokenizer.STANFORD_CORENLP_3_4_1_JAR)
    arguments = ["-Xmx512m", "-cp", str(jar), "edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase"]
    output = run_java("PTB tokenizer", arguments, "".join(f"{line}\n" for line in lines))
    tokenised = output.split("\n")[:-1]
    assert len(tokenised) == len(lines), f"{len(tokenised)} tokenised captions for {len(lines)}"
    dropped = frozenset(ptbtokenizer.PUNCTUATIONS)
    return [" ".join(word for word in line.rstrip().split(" ") if word not in dropped) for line in tokenised]
