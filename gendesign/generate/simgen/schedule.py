"""Noise levels, from the largest to zero."""

import torch
from torch import Tensor


def simgen_sigmas(steps: int, *, largest: float = 1.0, middle: float = 0.05, smallest: float = 1e-3) -> Tensor:
    """sigma (steps + 1,): linear from `largest` to `middle` in half the steps, logarithmic to `smallest`, then 0.

    The schedule of SiMGen (arXiv 2402.08708): the first half finds the molecule's shape, the second its bonds.
    """
    if steps < 2:
        raise ValueError(f"steps={steps}: the schedule needs at least 2")
    half = steps // 2
    first = torch.linspace(largest, middle, half + 1, dtype=torch.float64)[:-1]
    second = torch.logspace(
        *torch.log10(torch.tensor([middle, smallest], dtype=torch.float64)), steps - half, dtype=torch.float64
    )
    return torch.cat([first, second, torch.zeros(1, dtype=torch.float64)])
