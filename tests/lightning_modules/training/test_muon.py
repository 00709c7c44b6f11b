"""Muon against a singular value decomposition, and its other half against torch's AdamW."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from datamodules.errors import DataError
from helpers import tiny_module
from lightning_modules import FullySharded
from lightning_modules.training.combinations import check_strategy
from lightning_modules.training.muon import Muon, hidden_matrices, orthogonalised

BETAS = (0.9, 0.98)


@pytest.mark.parametrize("shape", [(24, 64), (64, 24), (32, 32)])
def test_all_singular_values_come_near_1_and_the_directions_stay(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    values = (left.T @ orthogonalised(matrix) @ right.T).diagonal()
    assert values.min() > 0.4 and values.max() < 1.25
    off = left.T @ orthogonalised(matrix) @ right.T - values.diag()
    assert off.abs().max() < 1e-4


def test_no_gradient_is_no_step() -> None:
    assert torch.equal(orthogonalised(torch.zeros(3, 5)), torch.zeros(3, 5))


def test_one_step_of_a_matrix_by_hand() -> None:
    """The first momentum is 0.05 of the gradient: whatever its size, the step is 0.2 sqrt(5) of the rate."""
    torch.manual_seed(0)
    matrix = nn.Parameter(torch.randn(3, 5))
    start, matrix.grad = matrix.detach().clone(), torch.randn(3, 5)
    Muon([matrix], [], lr=0.1, betas=BETAS, weight_decay=0.5).step()
    step = 0.1 * 0.2 * 5**0.5 * orthogonalised(matrix.grad)
    torch.testing.assert_close(matrix.detach(), start * (1 - 0.1 * 0.5) - step, atol=1e-4, rtol=0)


def test_all_else_moves_as_by_adamw() -> None:
    torch.manual_seed(0)
    ours, theirs = (nn.Parameter(torch.ones(7)) for _ in range(2))
    muon = Muon([], [ours], lr=0.03, betas=BETAS, weight_decay=0.1)
    adamw = torch.optim.AdamW([theirs], lr=0.03, betas=BETAS, weight_decay=0.1)
    for _ in range(20):
        ours.grad = torch.randn(7)
        theirs.grad = ours.grad.clone()
        muon.step()
        adamw.step()
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)


def test_a_run_that_was_broken_off_goes_on_as_if_it_had_not() -> None:
    """Its state comes from a checkpoint without a difference."""
    torch.manual_seed(0)
    layer = nn.Linear(6, 4)
    gradients = [[torch.randn_like(weight) for weight in layer.parameters()] for _ in range(6)]

    def run(model: nn.Linear, optimizer: Muon, steps: list[list[torch.Tensor]]) -> None:
        for step in steps:
            for weight, gradient in zip(model.parameters(), step, strict=True):
                weight.grad = gradient.clone()
            optimizer.step()

    def muon(model: nn.Linear) -> Muon:
        return Muon([model.weight], [model.bias], lr=0.03, betas=BETAS, weight_decay=0.1)

    whole = copy.deepcopy(layer)
    run(whole, muon(whole), gradients)
    first = muon(layer)
    run(layer, first, gradients[:3])
    second = muon(layer)
    second.load_state_dict(first.state_dict())
    run(layer, second, gradients[3:])
    assert torch.equal(layer.weight, whole.weight) and torch.equal(layer.bias, whole.bias)


def test_words_marks_and_the_guide_head_are_adamws(tmp_path: Path) -> None:
    module = tiny_module(tmp_path, frozen=())
    names = {id(weight): name for name, weight in module.named_parameters()}
    found = {names[id(weight)] for weight in hidden_matrices(module.backbone.model)}
    assert all(name.endswith(".weight") and module.get_parameter(name).dim() == 2 for name in found)
    for part in ("vision_tower", "multi_modal_projector", "language_model"):
        assert any(part in name for name in found)
    assert not any("embed" in name or "lm_head" in name for name in found)
    assert all(name.startswith("backbone.model.") for name in found)


def test_sharded_matrices_are_refused() -> None:
    with pytest.raises(DataError, match="FullySharded shards the matrices that optimizer: muon needs whole"):
        check_strategy(FullySharded(), None, "muon")
