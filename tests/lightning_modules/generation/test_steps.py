"""Static caches and compiled steps: the answers are those of a cache that grows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from families import TINY
from test_region_modules import SAMPLES, module_of, tokenizer_folder

from datamodules.batching.batch import RegionBatch
from datamodules.errors import DataError
from experiments.commands.ask import parser
from experiments.config.parsers import generation_of
from helpers import make_batch, sample, trained
from lightning_modules import ask, load
from lightning_modules.generation import steps
from lightning_modules.generation.decoding import generate
from lightning_modules.generation.steps import GenerationOptions
from lightning_modules.region_module import RegionModule

DYNAMIC, STATIC = GenerationOptions(), GenerationOptions("static")
COMPILED = replace(STATIC, compile=True)
TOKENS = 10
FAMILIES = ("llava", "qwen3_vl", "internvl")  # in every run, the others in slow ones
KEEP_KEYS = [
    pytest.param(name, marks=() if name in FAMILIES else pytest.mark.slow) for name in TINY if name != "qwen3_5"
]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tokenizer_folder(tmp_path_factory.mktemp("tokenizer"))


@contextmanager
def saying(module: RegionModule, begin: str = " [1]") -> Iterator[list[torch.Tensor]]:
    """Every answer begins so, with what is shown behind it, and goes on as it likes; yields the logits of its steps."""
    ids = module.renderer.tokenizer.encode(begin, add_special_tokens=False)
    seen: list[torch.Tensor] = []

    def say(layer: torch.nn.Module, inputs: object, logits: torch.Tensor) -> torch.Tensor:
        logits = logits.clone()
        logits[..., module.renderer.tokenizer.all_special_ids] = -1e4
        if len(seen) < len(ids):
            logits[..., ids[len(seen)]] = 1e4
        seen.append(logits[:, -1].float())
        return logits

    handle = module.backbone.base.output_head.register_forward_hook(say)
    try:
        yield seen
    finally:
        handle.remove()


def said(module: RegionModule, batch: RegionBatch, options: GenerationOptions) -> tuple[list[str], torch.Tensor]:
    """The texts, and (steps, rows, vocabulary) what they were chosen from."""
    with saying(module) as seen:
        texts = generate(module.backbone, module.renderer, batch, TOKENS, options=options)
    return texts, torch.stack(seen)


def agree(module: RegionModule, samples: Any, options: GenerationOptions, tolerance: float = 1e-4) -> None:
    """Each row says the same, or chose otherwise where both were as likely within what the type can tell apart."""
    batch = make_batch(module, *samples)
    (texts, grown), (others, fixed) = said(module, batch, DYNAMIC), said(module, batch, options)
    assert all(text.startswith("[1]") for text in texts)
    for row in range(len(batch)):
        same = (grown[:, row].argmax(-1) == fixed[:, row].argmax(-1)).long().cumprod(0)
        length = min(int(same.sum()) + 1, TOKENS)  # of the step that differs first, all before it was the same
        torch.testing.assert_close(fixed[:length, row], grown[:length, row], atol=tolerance, rtol=tolerance)
        assert tolerance > 1e-3 or texts[row] == others[row]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", KEEP_KEYS)
def test_a_static_cache_says_what_one_that_grows_says(name: str, dtype: str, tokenizer: str) -> None:
    """Prompts of four lengths, padded on the left; behind an index the region is shown, at a place of its own.

    What learns is float32 beside bfloat16, as in a validation: keys and values differed in type, which the static cache
    of transformers does not take.
    """
    module = module_of(name, tokenizer, dtype)
    agree(module, SAMPLES, STATIC, 1e-4 if dtype == "float32" else 0.1)
    assert "forward" not in vars(module.backbone.base.language_model)


def test_a_window_shorter_than_the_prompt_slides(tokenizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers of both kinds in one cache; the window is full before the answer begins."""
    text = {**TINY["gemma3"].config["text_config"], "sliding_window": 16}
    monkeypatch.setitem(TINY, "gemma3", replace(TINY["gemma3"], config={**TINY["gemma3"].config, "text_config": text}))
    agree(module_of("gemma3", tokenizer), SAMPLES, STATIC)


def test_validation_and_questions_take_the_option(tokenizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache has all its places from the beginning, so that every step has one shape."""
    made: list[int] = []
    plain = steps.OneTypeCache.__init__

    def count(cache: steps.OneTypeCache, config: Any, places: int) -> None:
        made.append(places)
        plain(cache, config, places)

    monkeypatch.setattr(steps.OneTypeCache, "__init__", count)
    module = module_of("llava", tokenizer, generation=STATIC)
    batch = make_batch(module, SAMPLES[0])
    answered = module.answer(batch).predictions[0].prediction
    length = int(batch.prompt_lengths.max()) + module.max_new_tokens
    assert made == [-(-length // steps.LENGTHS) * steps.LENGTHS]
    assert answered == generate(module.backbone, module.renderer, batch, module.max_new_tokens)[0]
    assert "generation" not in module.options  # how it answers is not what it is


def test_what_runs_compiled_is_a_step_alone(tokenizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regions are told outside of it, by a hook whose Python would be compiled anew for every batch."""
    ran: list[tuple[str, int]] = []

    def noted(function: Any) -> Any:
        def run(module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
            ran.append((type(module).__name__, kwargs["inputs_embeds"].shape[1]))
            return function(module, *args, **kwargs)

        return run

    monkeypatch.setattr(torch, "compile", noted)
    steps._compiled_forward.cache_clear()
    module = module_of("llava", tokenizer)
    agree(module, SAMPLES, COMPILED)
    assert set(ran) == {("LlamaModel", 1)} and len(ran) == TOKENS - 1
    assert "forward" not in vars(module.backbone.base.language_model)
    steps._compiled_forward.cache_clear()


def test_a_checkpoint_is_asked_with_it(tmp_path: Path) -> None:
    """No checkpoint says how to generate: who loads it does."""
    path, one = trained(tmp_path), sample()
    told: list[list[str]] = []
    for options in (DYNAMIC, STATIC):
        module = load(path, options)
        assert module.generation == options
        told.append(
            [turn.answer for turn in ask(module, one.media, one.regions, ["what is <region>", "so"]).conversation]
        )
    assert told[0] == told[1]
    parsed = parser().parse_args(["--ckpt_path=x", "--image=y", "--question=z", "--cache=static", "--compile"])
    assert generation_of(parsed) == COMPILED
    with pytest.raises(DataError, match="needs generation"):
        load(tmp_path / "none.ckpt", GenerationOptions(compile=True))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("qwen3_5", {"generation": STATIC}, "generation.cache: static: qwen3_5 has layers of linear_attention"),
        ("llava", {"generation": GenerationOptions(compile=True)}, "generation.compile needs generation.cache: static"),
        ("llava", {"generation": COMPILED, "quantise": "int8", "frozen": ("language_model",)}, "layers of quantise"),
    ],
)
def test_what_cannot_be_is_refused(name: str, options: dict[str, Any], message: str, tokenizer: str) -> None:
    with pytest.raises(DataError, match=message):
        module_of(name, tokenizer, **options)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in TINY if name != "qwen3_5" and "," not in name])
def test_compiled_steps_say_the_same(name: str, tokenizer: str) -> None:
    """Through torch's own tracer: other numbers of samples and other lengths compile it again."""
    torch._dynamo.reset()
    steps._compiled_forward.cache_clear()
    traced = partial(torch.compile, backend="eager")
    graphs = torch._dynamo.utils.counters
    graphs.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "compile", traced)
        module = module_of(name, tokenizer)
        for samples in (SAMPLES, SAMPLES[:3], SAMPLES[2:]):
            agree(module, samples, COMPILED)
    steps._compiled_forward.cache_clear()
    assert not graphs["graph_break"] and graphs["stats"]["unique_graphs"] <= 4


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_compiled_code_says_the_same(dtype: str, tokenizer: str) -> None:
    """By torch's own compiler."""
    torch._dynamo.reset()
    steps._compiled_forward.cache_clear()
    agree(module_of("llava", tokenizer, dtype), SAMPLES, COMPILED, 1e-4 if dtype == "float32" else 0.1)
