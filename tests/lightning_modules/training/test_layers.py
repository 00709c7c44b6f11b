"""Layers that run again in the backward pass, and compiled ones: options of the model, whatever the strategy."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

from experiments.benchmarks.models import TINY, make_batch, training_loss
from lightning_modules import BaseModel, LoraOptions, VideoRegionModule
from lightning_modules.bases.byte_tokenizer import BYTES
from lightning_modules.planning.step import Step

STEP = Step(2, frames=2, text_tokens=120, answer_tokens=20, regions=2)


def configured(**options: Any) -> VideoRegionModule:
    torch.manual_seed(0)
    module = VideoRegionModule(BaseModel(architecture=TINY, tokenizer=BYTES), prompt="plain", **options)
    module.configure_model()
    return module


def runs_of_a_layer(module: VideoRegionModule) -> list[int]:
    seen: list[int] = []
    module.backbone.base.decoder_layers[0].self_attn.register_forward_hook(lambda *_: seen.append(1))
    return seen


def gradients(module: VideoRegionModule) -> dict[str, torch.Tensor]:
    training_loss(module, make_batch(module, STEP)).backward()  # type: ignore[no-untyped-call]  # torch's
    return {name: weight.grad for name, weight in module.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("lora", [None, LoraOptions(rank=2, dropout=0.5)])
def test_checkpointed_layers_run_again_and_learn_the_same(lora: LoraOptions | None) -> None:
    """Only FSDP2 could do it; elsewhere the option was not there. What dropout hides, it hides again."""
    plain, again = (configured(lora=lora, checkpoint_activations=checkpoint) for checkpoint in (False, True))
    once, twice = map(runs_of_a_layer, (plain, again))
    found = []
    for module in (plain, again):
        torch.manual_seed(1)
        found.append(gradients(module))
    assert (len(once), len(twice)) == (1, 2)
    assert found[0].keys() == found[1].keys()
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What torch.compile was given, which runs as it is, and is noted when it runs."""
    ran: list[str] = []

    def compile_nothing(function: Callable[..., Any], **_: Any) -> Callable[..., Any]:
        def noted(*args: Any, **kwargs: Any) -> Any:
            ran.append(type(args[0]).__name__)
            return function(*args, **kwargs)

        return noted

    monkeypatch.setattr(torch, "compile", compile_nothing)
    return ran


def test_compiled_layers_are_those_of_tower_and_language_model_in_training_alone(eager: list[str]) -> None:
    """An answer grows by a token a call: compiled, it would be compiled again for every length."""
    module = configured(compile_layers=True, checkpoint_activations=True)
    module.train()
    training_loss(module, make_batch(module, STEP)).backward()  # type: ignore[no-untyped-call]  # torch's
    layers = [*module.backbone.base.tower_layers, *module.backbone.base.decoder_layers]
    assert sorted(set(eager)) == sorted({type(layer).__name__ for layer in layers})
    assert len(layers) <= len(eager) <= 2 * len(layers)
    eager.clear()
    module.eval()
    module.backbone(make_batch(module, STEP))
    assert not eager


def test_a_copy_of_a_compiled_model_has_weights_of_its_own(eager: list[str]) -> None:
    module = configured(compile_layers=True).train()
    twin = copy.deepcopy(module)
    torch.nn.init.zeros_(next(iter(twin.backbone.base.decoder_layers)).mlp.down_proj.weight)
    batch = make_batch(module, STEP)
    assert not torch.equal(training_loss(module, batch), training_loss(twin, batch))


def test_a_checkpoint_does_not_say_how_layers_ran() -> None:
    """How a model is trained is not what it is."""
    assert not {"checkpoint_activations", "compile_layers"} & set(configured(compile_layers=True).options)


@pytest.mark.slow
@pytest.mark.parametrize("again", [False, True])
def test_compiled_layers_learn_the_same(again: bool) -> None:
    """By torch's own compiler; layers of a kind share what is compiled."""
    torch._dynamo.reset()
    plain = configured()
    compiled = configured(compile_layers=True, checkpoint_activations=again)
    first, second = gradients(plain.train()), gradients(compiled.train())
    assert first.keys() == second.keys()
    for name, gradient in first.items():
        torch.testing.assert_close(second[name], gradient, rtol=1e-4, atol=1e-6, msg=name)
