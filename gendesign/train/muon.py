"""Muon for MACE networks: weight matrices move along the orthogonal factor of their momentum, the rest by Adam.

All singular directions of a matrix get the same step, so directions with small gradients are learned as fast as
the leading ones (K. Jordan et al., 2024; for interatomic potentials: Nequix, arXiv 2508.16067).
"""

from collections.abc import Callable

import gendesign.imports.mace  # noqa: F401  quick and silent

import torch
from e3nn import o3
from torch import Tensor, distributed, nn

MOMENTUM = 0.95
# quintic Newton-Schulz coefficients that drive singular values towards 1 in five rounds (Jordan et al.)
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
RMS = 0.2  # of a step over the learning rate, as with Adam (arXiv 2502.16982)


def matrices(net: nn.Module) -> dict[str, Callable[[Tensor], list[Tensor]]]:
    """For each parameter of `net` that holds matrices, a function to its (batch, rows, columns) views."""
    views = {}
    for name, module in net.named_modules():
        if isinstance(module, o3.Linear | o3.FullyConnectedTensorProduct):
            shapes = [i.path_shape for i in module.instructions]
            if all(min(shape[0], shape[-1]) > 1 for shape in shapes):
                views[f"{name}.weight"] = lambda flat, shapes=shapes: [
                    part.view(shape[0], -1, shape[-1]).transpose(0, 1)
                    for part, shape in zip(flat.split([torch.Size(s).numel() for s in shapes]), shapes, strict=True)
                ]
        elif ".conv_tp_weights.layer" in name and hasattr(module, "weight"):
            views[f"{name}.weight"] = lambda weight: [weight[None]]
    return views


def orthogonal(matrix: Tensor, rounds: int = 5) -> Tensor:
    """Approximate orthogonal factor of `matrix` (..., rows, columns), with singular values from 0.7 to 1.2."""
    a, b, c = NEWTON_SCHULZ
    x = matrix.bfloat16() if matrix.is_cuda else matrix
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-12)
    for _ in range(rounds):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if tall else x).to(matrix)


class Muon(torch.optim.Optimizer):
    """Muon for the matrices of `net`, Adam for its other parameters, with one learning rate; not for frozen ones."""

    def __init__(self, net: nn.Module, lr: float) -> None:
        free = {name: p for name, p in net.named_parameters() if p.requires_grad}
        self.views = {name: view for name, view in matrices(net).items() if name in free}
        self.names = list(self.views)
        self.adam = torch.optim.Adam([p for name, p in free.items() if name not in self.views], lr=lr, amsgrad=True)
        super().__init__([free[name] for name in self.names], {"lr": lr})

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Reset the gradients of all parameters."""
        super().zero_grad(set_to_none)
        self.adam.zero_grad(set_to_none)

    def state_dict(self) -> dict:
        """State of both optimizers."""
        return {"muon": super().state_dict(), "adam": self.adam.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        """Restore the state of both optimizers."""
        super().load_state_dict(state["muon"])
        self.adam.load_state_dict(state["adam"])

    @torch.no_grad()
    def step(self, closure=None) -> None:
        """One step of Muon for matrices and of Adam for all other parameters.

        Under `torchrun` every process finds the steps of its share of the matrices, and all take their sum.
        """
        group = self.param_groups[0]
        self.adam.param_groups[0]["lr"] = group["lr"]
        self.adam.step()
        rank, count = (distributed.get_rank(), distributed.get_world_size()) if distributed.is_initialized() else (0, 1)
        steps = []
        for place, (name, p) in enumerate(zip(self.names, group["params"], strict=True)):
            if p.grad is None:
                continue
            momentum = self.state[p].setdefault("momentum", torch.zeros_like(p))
            momentum.lerp_(p.grad, 1 - MOMENTUM)
            step = torch.zeros_like(p)
            if place % count == rank:
                nesterov = p.grad.lerp(momentum, MOMENTUM)
                for target, direction in zip(self.views[name](step), self.views[name](nesterov), strict=True):
                    target.copy_(orthogonal(direction)).mul_(max(target.shape[-2:]) ** 0.5)
            steps.append((p, step))
        if count > 1:
            flat = torch.cat([step.flatten() for _, step in steps])
            distributed.all_reduce(flat)
            parts = flat.split([step.numel() for _, step in steps])
            steps = [(p, part.view_as(p)) for (p, _), part in zip(steps, parts, strict=True)]
        for p, step in steps:
            p.sub_(step, alpha=group["lr"] * RMS)
