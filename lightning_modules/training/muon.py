"""Muon: matrices move by their orthogonalised momentum, all else as AdamW moves it.

It learns from fewer samples than AdamW what a small model takes long to find. torch's own computes in bfloat16, which
takes a thousand times as long on a processor without it, and knows matrices alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim.adamw import adamw

MOMENTUM = 0.95
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients that bring singular values near 1 in five rounds (Jordan et al., 2024)."""
ROUNDS = 5
LIKE_ADAMW = 0.2
"""Root mean square of AdamW's updates: with it both learn at one rate (arXiv 2502.16982, Eq. 4)."""


class Muon(torch.optim.Optimizer):
    """Muon over `matrices`, AdamW over `rest`.

    Args:
        matrices: Weights of two dimensions, whole on every rank.
        rest: Embeddings, heads, biases, norms.
        lr: Of both: an update of a matrix is as large as one of AdamW's.
        betas: AdamW's; Muon's momentum is 0.95, Nesterov's form.
        weight_decay: Of both, decoupled.
    """

    def __init__(
        self,
        matrices: Sequence[nn.Parameter],
        rest: Sequence[nn.Parameter],
        lr: float,
        betas: tuple[float, float],
        weight_decay: float,
    ) -> None:
        assert all(matrix.dim() == 2 for matrix in matrices)
        groups = [{"params": list(matrices), "orthogonal": True}, {"params": list(rest), "orthogonal": False}]
        defaults = {"lr": lr, "betas": betas, "weight_decay": weight_decay}
        super().__init__([group for group in groups if group["params"]], defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step, after `closure` has made the gradients, if there is one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            gradients = {weight: weight.grad for weight in group["params"] if weight.grad is not None}
            if not group["orthogonal"]:
                self._by_adamw(gradients, group)
                continue
            for weight, gradient in gradients.items():
                self._by_momentum(weight, gradient, group)
        return loss

    def _by_momentum(self, weight: torch.Tensor, gradient: torch.Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        momentum = state["momentum"].lerp_(gradient, 1 - MOMENTUM)
        update = orthogonalised(gradient.lerp(momentum, MOMENTUM))
        weight.mul_(1 - group["lr"] * group["weight_decay"])
        weight.add_(update, alpha=-group["lr"] * LIKE_ADAMW * max(weight.shape) ** 0.5)

    def _by_adamw(self, gradients: dict[torch.Tensor, torch.Tensor], group: dict[str, Any]) -> None:
        states = [self.state[weight] for weight in gradients]
        for weight, state in zip(gradients, states, strict=True):
            if not state:
                state.update(step=torch.tensor(0.0), first=torch.zeros_like(weight), second=torch.zeros_like(weight))
        adamw(
            list(gradients),
            list(gradients.values()),
            [state["first"] for state in states],
            [state["second"] for state in states],
            [],  # of AMSGrad, which is not asked for
            [state["step"] for state in states],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=1e-8,
            amsgrad=False,
            maximize=False,
        )


def orthogonalised(matrix: torch.Tensor) -> torch.Tensor:
    """The matrix with all its singular values near 1 (0.4 to 1.25); zero stays zero."""
    first, third, fifth = NEWTON_SCHULZ
    tall = matrix.shape[0] > matrix.shape[1]
    wide = matrix.T if tall else matrix
    if matrix.device.type != "cpu":
        wide = wide.bfloat16()
    wide = wide / (wide.square().sum().sqrt() + 1e-7)
    for _ in range(ROUNDS):
        square = wide @ wide.T
        wide = first * wide + (third * square + fifth * square @ square) @ wide
    return (wide.T if tall else wide).to(matrix.dtype)


def hidden_matrices(model: nn.Module) -> list[nn.Parameter]:
    """The learning weights of a model's linear layers, without those that make words of hidden states.

    Args:
        model: A transformers model, adapters included.
    """
    words = {id(weight) for name in ("get_input_embeddings", "get_output_embeddings") for weight in _of(model, name)}
    linear = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    weights = [weight for layer in linear for weight in layer.parameters(recurse=False) if weight.dim() == 2]
    return [weight for weight in weights if weight.requires_grad and id(weight) not in words]


def _of(model: nn.Module, name: str) -> list[nn.Parameter]:
    layer = getattr(model, name)()
    return [] if layer is None else list(layer.parameters())
