"""Muon: momentum whose matrix updates are orthogonalised, for the inner weights; AdamW for everything else.

Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024), with the scale of Liu et al.,
arXiv:2502.16982, so that both halves share one learning rate. On two cores it costs a tenth of a step and saves steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # quintic Newton-Schulz iteration, tuned for few steps
STEPS = 5


def orthogonalise(matrix: torch.Tensor) -> torch.Tensor:
    """The nearest semi-orthogonal matrix, roughly: singular values (n, m) -> about one."""
    a, b, c = COEFFICIENTS
    x = matrix / (matrix.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    for _ in range(STEPS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """Groups with `muon=True` hold matrices and are orthogonalised; the others take AdamW steps.

    Args:
        groups: parameter groups, each with `params`, `muon` and `weight_decay`.
        lr: learning rate of both halves; a Muon update has the root-mean-square 0.2 an AdamW update has.
        momentum: of the Muon half (Nesterov).
        betas: of the AdamW half.
    """

    def __init__(self, groups: Iterable[dict], lr: float, momentum: float = 0.95, betas=(0.9, 0.98), eps: float = 1e-8):
        super().__init__(groups, {"lr": lr, "momentum": momentum, "betas": betas, "eps": eps, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One update of every parameter that has a gradient."""
        loss = closure() if closure is not None else None
        for group in self.param_groups:
            update = self._muon if group["muon"] else self._adam
            for weight in group["params"]:
                if weight.grad is not None:
                    weight.mul_(1 - group["lr"] * group["weight_decay"])
                    weight.add_(update(weight, group), alpha=-group["lr"])
        return loss

    def _muon(self, weight: torch.Tensor, group: dict) -> torch.Tensor:
        """Orthogonalised Nesterov momentum of one matrix."""
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        state["momentum"].lerp_(weight.grad, 1 - group["momentum"])
        update = orthogonalise(weight.grad.lerp(state["momentum"], group["momentum"]))
        return update * (0.2 * max(weight.shape) ** 0.5)

    def _adam(self, weight: torch.Tensor, group: dict) -> torch.Tensor:
        """Bias-corrected Adam direction of one parameter."""
        state = self.state[weight]
        if not state:
            state["step"] = torch.zeros(())
            state["first"], state["second"] = torch.zeros_like(weight), torch.zeros_like(weight)
        first, second = group["betas"]
        state["step"] += 1
        state["first"].lerp_(weight.grad, 1 - first)
        state["second"].lerp_(weight.grad.square(), 1 - second)
        n = state["step"].item()
        scale = (state["second"] / (1 - second**n)).sqrt_().add_(group["eps"])
        return state["first"] / (1 - first**n) / scale


def parameter_groups(model: torch.nn.Module, weight_decay: float) -> list[dict]:
    """Inner matrices for Muon; embeddings, heads, gains and biases for AdamW, those without dimension undecayed."""
    inner, tables, vectors = [], [], []
    for name, weight in model.named_parameters():
        if weight.ndim < 2:
            vectors.append(weight)
        elif name.startswith(("embed", "head")):
            tables.append(weight)
        else:
            inner.append(weight)
    return [
        {"params": inner, "muon": True, "weight_decay": weight_decay},
        {"params": tables, "muon": False, "weight_decay": weight_decay},
        {"params": vectors, "muon": False, "weight_decay": 0.0},
    ]
