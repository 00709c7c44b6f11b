"""A vision-language model in this process, through transformers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Any, NamedTuple

from datamodules.errors import DataError
from datamodules.regvid.completions import completion
from datamodules.regvid.models import ChatModel, ChatRequest, Received


class Loaded(NamedTuple):
    """A processor and a model of transformers."""

    processor: Any
    model: Any


@dataclass(eq=False)
class LocalModel(ChatModel):
    """Any image-and-text model of transformers that has a chat template; one answer at a time.

    Args:
        model: Its folder, or its name on the hub.
        device: Where it runs, such as `cuda`; a GPU where there is one if left out.
        dtype: Of its weights.
        max_tokens: Most tokens of an answer.
        temperature: Of sampling; 0 takes the likeliest.
    """

    model: str
    device: str | None = None
    dtype: str = "auto"
    max_tokens: int = 2048
    temperature: float = 0.0

    def __post_init__(self) -> None:
        self.options = {"dtype": self.dtype}
        self._alone = Lock()

    async def send(self, request: ChatRequest) -> Received:
        """Generates in a thread, so that other models' answers are read meanwhile; see `ChatModel.send`."""
        return await asyncio.to_thread(self._generate, request)

    @cached_property
    def _loaded(self) -> Loaded:
        import torch
        from transformers import AutoModelForImageTextToText, AutoProcessor

        device = self.device or ("cuda" if torch.cuda.is_available() else "cpu")
        try:
            processor = AutoProcessor.from_pretrained(self.model)
            model = AutoModelForImageTextToText.from_pretrained(self.model, dtype=self.dtype)
        except (OSError, ValueError) as error:
            raise DataError(f"model {self.model}: {error}") from error
        return Loaded(processor, model.to(device).eval())

    def _generate(self, request: ChatRequest) -> Received:
        import torch

        with self._alone, torch.inference_mode():
            processor, model = self._loaded
            inputs = processor.apply_chat_template(
                _messages(request), add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
            ).to(model.device, dtype=model.dtype)
            sampling = {"temperature": request.temperature} if request.temperature else {}
            ids = model.generate(
                **inputs, max_new_tokens=request.max_tokens, do_sample=request.temperature > 0, **sampling
            )
        prompt = inputs["input_ids"].shape[1]
        said = ids[0, prompt:]
        text = processor.decode(said, skip_special_tokens=True)
        return completion(text, prompt, len(said), cut=len(said) >= request.max_tokens)


def _messages(request: ChatRequest) -> list[dict[str, Any]]:
    from PIL import Image

    images = map(Image.fromarray, request.images)
    content: list[dict[str, Any]] = [{"type": "image", "image": image} for image in images]
    content.append({"type": "text", "text": request.text})
    system = {"role": "system", "content": [{"type": "text", "text": request.system}]}
    return [*([system] if request.system else []), {"role": "user", "content": content}]
