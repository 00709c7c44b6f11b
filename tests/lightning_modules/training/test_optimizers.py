"""AdamW in one kernel: the same numbers, clipped gradients, and checkpoints of trainings that had it in many."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import nn

from lightning_modules.training.optimizers import make_optimizer

BETAS = (0.9, 0.95)


def weights(device: str = "cpu") -> list[nn.Parameter]:
    torch.manual_seed(0)
    return [nn.Parameter(torch.randn(shape, device=device)) for shape in ((5, 7), (3,), ())]


def adamw(learning: list[nn.Parameter]) -> torch.optim.Optimizer:
    return make_optimizer("adamw", learning, 0.01, BETAS, 0.1)


def as_before(learning: list[nn.Parameter]) -> torch.optim.Optimizer:
    """Torch's, kernel after kernel."""
    return torch.optim.AdamW(learning, lr=0.01, betas=BETAS, weight_decay=0.1)


def step(optimizer: torch.optim.Optimizer, number: int) -> list[torch.Tensor]:
    """One step on drawn gradients, and the weights after it."""
    torch.manual_seed(number)
    learning = [weight for group in optimizer.param_groups for weight in group["params"]]
    for weight in learning:
        weight.grad = torch.randn_like(weight)
    optimizer.step()
    return [weight.detach().clone() for weight in learning]


def test_one_kernel_moves_weights_as_many_do() -> None:
    one, many = adamw(weights()), as_before(weights())
    for number in range(20):
        moved, expected = step(one, number), step(many, number)
    torch.testing.assert_close(moved, expected, atol=1e-6, rtol=1e-6)
    assert one.param_groups[0]["fused"] is True


def test_a_device_without_the_kernel_has_torchs_default() -> None:
    assert adamw(weights("meta")).param_groups[0]["fused"] is None


@pytest.mark.parametrize("made", [as_before, adamw])
def test_a_training_goes_on_as_it_began(made: Any) -> None:
    """A checkpoint from before there was one kernel has its state, and goes on by many to the last bit."""
    whole, first = made(weights()), made(weights())
    for number in range(6):
        expected = step(whole, number)
    for number in range(3):
        moved = step(first, number)
    again = adamw([nn.Parameter(weight) for weight in moved])
    again.load_state_dict(copy.deepcopy(first.state_dict()))
    for number in range(3, 6):
        moved = step(again, number)
    assert all(torch.equal(one, other) for one, other in zip(moved, expected, strict=True))


def test_gradients_are_clipped_in_mixed_precision() -> None:
    """Lightning refuses that of an optimiser which says that its step divides by the scale, as one kernel does."""
    optimizer = adamw(weights())
    step(optimizer, 0)
    MixedPrecision("bf16-mixed", "cpu").clip_gradients(optimizer, 0.5)
    gradients = [weight.grad for weight in optimizer.param_groups[0]["params"]]
    assert torch.linalg.vector_norm(torch.cat([gradient.flatten() for gradient in gradients])) <= 0.5 + 1e-6


def test_scaled_gradients_are_divided_once() -> None:
    plain, scaled = adamw(weights()), adamw(weights())
    expected = step(plain, 0)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    torch.manual_seed(0)
    for weight in scaled.param_groups[0]["params"]:
        weight.grad = scaler.scale(torch.randn_like(weight))
    scaler.step(scaled)
    moved = [weight.detach() for weight in scaled.param_groups[0]["params"]]
    torch.testing.assert_close(moved, expected, atol=0, rtol=0)
