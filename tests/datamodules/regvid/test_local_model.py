"""A tiny vision-language model with random weights, through transformers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from chat_models import shown
from datamodules.errors import DataError
from datamodules.regvid.completions import ChatAnswer, answer_in, usage_in
from datamodules.regvid.local_model import LocalModel
from datamodules.regvid.models import ChatRequest, Received
from helpers import ARCHITECTURE, SIDE, character_tokenizer
from lightning_modules.bases.loading import build

TEMPLATE = (
    "{% for message in messages %}{{ message.role }}: {% for part in message.content %}"
    "{% if part.type == 'image' %}<image>{% else %}{{ part.text }}{% endif %}{% endfor %}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A LLaVA as its authors would save it, with a processor and a chat template."""
    from transformers import CLIPImageProcessor, LlavaProcessor

    path = tmp_path_factory.mktemp("tiny")
    tokenizer = character_tokenizer()
    torch.manual_seed(0)
    text = {**ARCHITECTURE["text_config"], "vocab_size": len(tokenizer)}
    llava = build({**ARCHITECTURE, "text_config": text}, dtype="float32")
    llava.config.image_token_index = llava.config.image_token_id = tokenizer.convert_tokens_to_ids("<image>")
    llava.generation_config.eos_token_id = None
    llava.save_pretrained(path)
    size = {"height": SIDE, "width": SIDE}
    LlavaProcessor(
        CLIPImageProcessor(size=size, crop_size=size),
        tokenizer,
        patch_size=ARCHITECTURE["vision_config"]["patch_size"],
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    ).save_pretrained(path)
    return str(path)


class Said(NamedTuple):
    """An answer, and its tokens as the model counts them."""

    answer: ChatAnswer
    prompt_tokens: int
    completion_tokens: int


def ask(model: LocalModel, *requests: ChatRequest) -> list[Said]:
    async def together() -> list[Received]:
        return await asyncio.gather(*map(model.send, requests))

    return [Said(answer_in(received), *(usage_in(received) or (0, 0))) for received in asyncio.run(together())]


def picture(level: int) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    return np.random.default_rng(level).integers(0, 256, (20, 24, 3), dtype=np.uint8)


def test_an_answer_has_the_tokens_that_were_asked_for(folder: str) -> None:
    model = LocalModel(folder, device="cpu")
    request = ChatRequest("Be brief.", "What?", shown(picture(0), picture(1)), max_tokens=5)
    plain = ChatRequest("Be brief.", "What?", max_tokens=5)
    first, again, without = ask(model, request, request, plain)
    assert first == again
    assert (first.completion_tokens, first.answer.cut) == (5, True)
    # 16 visual tokens an image in place of nothing
    assert first.prompt_tokens - without.prompt_tokens == 2 * 16
    assert first.answer.text != without.answer.text or first.prompt_tokens != without.prompt_tokens


def test_pictures_are_looked_at(folder: str) -> None:
    model = LocalModel(folder, device="cpu")
    said = [
        said.answer.text for said in ask(model, *(ChatRequest("", "What?", shown(picture(n)), 8) for n in range(6)))
    ]
    assert len(set(said)) > 1


def test_sampling_varies_with_the_temperature(folder: str) -> None:
    model = LocalModel(folder, device="cpu")
    request = ChatRequest("", "What?", max_tokens=8, temperature=5.0)
    assert len({said.answer.text for said in ask(model, *[request] * 6)}) > 1


def test_no_model_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="gone"):
        ask(LocalModel(str(tmp_path / "gone")), ChatRequest("", "What?"))
