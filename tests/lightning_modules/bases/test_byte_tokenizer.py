"""One token a byte: any text comes back, and nothing typed is ever a special token."""

from __future__ import annotations

import pytest

from datamodules.batching.visual_processor import Run
from helpers import renderer, sample
from lightning_modules.bases.loading import BaseModel, load_tokenizer

TOKENIZER = load_tokenizer(BaseModel(architecture={"text_config": {}}, tokenizer="bytes"))


@pytest.mark.parametrize("text", ["red blood cell", "Größe 10 µm", "<s> </s> <pad>", "白い輪 🙂", "a  b\tc\n"])
def test_any_text_comes_back(text: str) -> None:
    ids = TOKENIZER.encode(text, add_special_tokens=False, split_special_tokens=True)
    assert len(ids) == len(text.encode())
    assert TOKENIZER.decode(ids, skip_special_tokens=False) == text


def test_a_conversation_is_counted_in_bytes() -> None:
    rendered = renderer(TOKENIZER).render(sample(question="is <region>", answer="né"), [Run("<image>", 3)])
    assert len(rendered.ids) == 1 + 3 + len("is ") + 1 + len(" né".encode()) + 1
    assert (
        TOKENIZER.decode([token for token, loss in zip(rendered.ids, rendered.loss, strict=True) if loss]) == " né</s>"
    )
