"""A small tokenizer of every kind that language models come with, trained here on a few sentences."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from datamodules.shapes.tokenizer import train_tokenizer
from helpers import character_tokenizer
from lightning_modules.bases.byte_tokenizer import byte_tokenizer
from lightning_modules.bases.llava import IMAGE
from lightning_modules.bases.loading import add_special_tokens

SPECIAL_TOKENS = ["<unk>", "<s>", "</s>"]
CHAT = (
    "{{ bos_token or '' }}{% for message in messages %}{{ '' if loop.first else '\n' }}{{ message.role }}\n"
    "{% for part in message.content %}{{ '<image>' if part.type == 'image' else part.text }}{% endfor %}"
    "{{ eos_token }}{% endfor %}{{ '\nassistant\n' if add_generation_prompt else '' }}"
)
"""A chat template of the usual form."""
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
TEXTS = [
    "A chat between a curious user and an artificial intelligence assistant. USER: What is it? ASSISTANT: It is a cat.",
    "The assistant gives helpful, detailed, and polite answers to the user's questions. Is [0] left of [1], or [2]?",
    "It is [0]. [0] and [1], ([2]), [[3]]! which is left of ([1])? [12]; [100]: dogs (two) don't.\nA cat.\nThen it is.",
] * 20
"""Their pairs such as `],` and `])` become tokens, which an index may not end in the middle of."""


def sentencepiece(normalizer: Any = None, scheme: str | None = None) -> Tokenizer:
    """BPE over a whole stretch with bytes for what it does not know, as Llama has it."""
    trained = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    trained.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")  # no token goes on behind a space
    trained.train_from_iterator(
        TEXTS, trainers.BpeTrainer(vocab_size=560, special_tokens=[*SPECIAL_TOKENS, *BYTES], show_progress=False)
    )
    plain = json.loads(trained.to_str()) | {"pre_tokenizer": None}
    plain["added_tokens"] = [token for token in plain["added_tokens"] if token["content"] not in BYTES]
    tokenizer = Tokenizer.from_str(json.dumps(plain))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if scheme is not None:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer


def byte_level(prefix: bool = False, words: bool = True, digits: bool = False) -> Tokenizer:
    """BPE over bytes, as GPT-2 has it; `words` keeps tokens within words, `digits` apart from each other."""
    tokenizer = Tokenizer(models.BPE())
    of_bytes = pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=words)
    apart = [pre_tokenizers.Digits(individual_digits=True)] if digits else []
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*apart, of_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


def of_transformers(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>", add_bos_token=True
    )


def words(texts: Sequence[str] = TEXTS) -> PreTrainedTokenizerFast:
    """The built-in data's own."""
    with TemporaryDirectory() as folder:
        train_tokenizer(Path(folder), texts)
        return AutoTokenizer.from_pretrained(folder)


_PREPEND = [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
_MAKERS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "bytes": byte_tokenizer,
    "characters": character_tokenizer,
    "sentencepiece-legacy": lambda: of_transformers(sentencepiece(normalizers.Sequence(_PREPEND))),
    "sentencepiece-always": lambda: of_transformers(sentencepiece(scheme="always")),
    "sentencepiece-first": lambda: of_transformers(sentencepiece(scheme="first")),
    "bpe": lambda: of_transformers(byte_level()),
    "bpe-digits": lambda: of_transformers(byte_level(digits=True)),
    "bpe-prefix": lambda: of_transformers(byte_level(prefix=True)),
    "words": words,
    # no model has these two: tokens go on over spaces, and a space before every digit is made up
    "bpe-unbounded": lambda: of_transformers(byte_level(words=False)),
    "bpe-prefix-digits": lambda: of_transformers(byte_level(prefix=True, digits=True)),
}
KINDS = [kind for kind in _MAKERS if kind not in ("bpe-unbounded", "bpe-prefix-digits")]
EVERY_KIND = list(_MAKERS)
LOSSLESS = [kind for kind in EVERY_KIND if kind not in ("characters", "words", "bpe-prefix-digits")]
"""Those from whose tokens any text comes back to the letter."""


@cache
def small_tokenizer(kind: str) -> PreTrainedTokenizerFast:
    tokenizer = _MAKERS[kind]()
    add_special_tokens(tokenizer, IMAGE)
    tokenizer.chat_template = CHAT
    return tokenizer
