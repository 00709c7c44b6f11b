"""Sentences as vectors by a model of sentence-transformers, through transformers alone: the mean of its last states."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from datamodules.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MOST_TOKENS = 256
"""Of a sentence, what is beyond is cut off: as many as all-MiniLM-L6-v2 reads in sentence-transformers."""
_BATCH = 64


def embed(sentences: Sequence[str], model: str) -> dict[str, torch.Tensor]:
    """Each sentence's vector, (d,) float32 of length 1, on the CPU: one machine and many make the same of it.

    Args:
        sentences: In any order; equal ones are embedded once.
        model: Hub id or folder of an encoder that is pooled by the mean over its tokens.

    Raises:
        DataError: There is no such model.
    """
    encoder = _load(model)
    different = sorted(set(sentences))
    vectors = [vector for batch in _batches(different) for vector in _pooled(encoder, batch)]
    return dict(zip(different, vectors, strict=True))


class _Encoder(NamedTuple):
    tokenizer: PreTrainedTokenizerBase
    model: Any


def _batches(sentences: Sequence[str]) -> Iterator[Sequence[str]]:
    for first in range(0, len(sentences), _BATCH):
        yield sentences[first : first + _BATCH]


@torch.no_grad()
def _pooled(encoder: _Encoder, sentences: Sequence[str]) -> torch.Tensor:
    """(n, d): the mean of the last states over the tokens that are no padding, of length 1."""
    tokens = encoder.tokenizer(
        list(sentences), padding=True, truncation=True, max_length=MOST_TOKENS, return_tensors="pt"
    )
    states = encoder.model(**tokens).last_hidden_state
    there = tokens["attention_mask"].unsqueeze(-1).to(states.dtype)
    mean = (states * there).sum(1) / there.sum(1).clamp(min=1)
    return torch.nn.functional.normalize(mean, dim=1)


# scoring sample by sample, as a comparison does, asks for it again and again
@lru_cache(maxsize=1)
def _load(name: str) -> _Encoder:
    from transformers import AutoModel, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
        model = AutoModel.from_pretrained(name, dtype=torch.float32)
    except Exception as error:  # a damaged file raises whatever its first bad byte leads to
        told = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise DataError(f"no model of sentence embeddings at {name!r}: {told}") from error
    return _Encoder(tokenizer, model.eval())
