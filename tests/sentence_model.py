"""A tiny model of sentence embeddings with random weights, as a folder of transformers."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import BertConfig, BertModel

from helpers import character_tokenizer


def write_sentence_model(folder: Path) -> str:
    """What it is loaded by."""
    tokenizer = character_tokenizer()
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = BertModel(BertConfig(vocab_size=len(tokenizer), max_position_embeddings=256, **shape))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
