"""A tokenizer without a vocabulary file: one token a byte, for small models trained from random weights on any text."""

from __future__ import annotations

from transformers import PreTrainedTokenizerFast

BYTES = "bytes"
"""The name that stands for it in a configuration."""


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """256 bytes, begin and end of sequence, and padding."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={symbol: number for number, symbol in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        add_bos_token=True,
        name_or_path=BYTES,
    )
