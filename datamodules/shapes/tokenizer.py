"""A word tokenizer of the data set's own text: under 500 words, most of them made up, one token each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from datamodules.prompting.placeholders import PLACEHOLDER
from datamodules.shapes.figure import COLOURS, SHAPES
from datamodules.shapes.questions import ask, groups_of
from datamodules.shapes.scene import FRAMES, make_scene, scene_rng
from datamodules.shapes.whole_scene import WHOLE
from datamodules.shapes.word_lists import LISTS, MADE_UP, draw_list

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPECIAL_TOKENS = ("<unk>", "<s>", "</s>", "<pad>", "<image>", "<region>")
SCENES = 100
"""Scenes of each kind whose questions are read: many times what it takes to meet every word."""

REFERENCE_WORDS = (
    "frame : , the region outlined tinted in red green blue yellow magenta cyan orange purple white black brown grey"
)
"""What the ways to point at a region write."""


def train_tokenizer(folder: Path, further: Iterable[str] = ()) -> None:
    """Trains the tokenizer and saves it to `folder`, where transformers' `AutoTokenizer` finds it.

    Case is ignored and punctuation stands alone, so that a question as people type it has the same tokens. An index
    like `[2]` is three tokens, `[12]` four, and comes back as it was. It knows the words of all
    questions about all kinds of scenes, made-up words, and those of the texts in `further`.
    """
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=_trained([*_texts(), *further]),
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        add_bos_token=True,
        additional_special_tokens=["<image>", "<region>"],
        clean_up_tokenization_spaces=False,
    )
    tokenizer.save_pretrained(folder)


def _trained(texts: Sequence[str]) -> Tokenizer:
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Punctuation("isolated"),
            pre_tokenizers.Digits(individual_digits=True),
        ]
    )
    # WordPiece here only puts spaces between words; none belongs inside brackets or within a number
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.WordPiece(prefix="##", cleanup=False),
            decoders.Fuse(),
            decoders.Replace("[ ", "["),
            decoders.Replace(" ]", "]"),
            decoders.Replace(Regex(r"(?<=\d) (?=\d)"), ""),
        ]
    )
    tokenizer.train_from_iterator(texts, trainers.WordLevelTrainer(special_tokens=list(SPECIAL_TOKENS)))
    return tokenizer


def _texts() -> Iterator[str]:
    """Questions, answers, references and options, mentions as the model reads them: `[0]`."""
    yield " ".join(f"[{digit}]" for digit in range(10))
    yield " ".join((REFERENCE_WORDS, *COLOURS, *SHAPES, *MADE_UP))
    for kind in FRAMES:
        for index in range(SCENES):
            rng = scene_rng(0, "train", kind, index)
            scene = make_scene(rng, kind)
            asked = [ask(scene, kind, group, rng) for group in groups_of(kind)]
            makers = WHOLE["image" if kind == "image" else "video"].values()
            for question in (*asked, *filter(None, (maker(scene, rng) for maker in makers))):
                for text in (question.text, question.answer, *question.references, *question.options):
                    yield PLACEHOLDER.sub(r"[\1]", text)
    rng = np.random.default_rng(0)
    for maker in LISTS.values():
        yield maker(draw_list(rng), rng).question
