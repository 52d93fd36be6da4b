"""The denoising loss of a diffusion model, and its errors at fixed noise levels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gendesign.fields import check_bounds, setting
from gendesign.generate.diffusion.data import drawn_noise
from gendesign.generate.diffusion.model import Clouds, EnergyModel

LEVELS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)  # Angstrom, at which a held-out set is measured
SEEN = 3.0  # standard deviations of ln sigma within which a noise level counts as seen in training
KINDS = ("positions", "elements")
LEAST_VARIANCE = 0.05  # of the loss; below it errors count by their size, so that solved noise levels take no effort


@dataclass(frozen=True)
class NoiseLevels:
    """The noise levels of a training: ln sigma is normal, with sigma in Angstrom."""

    mean: float = setting(-0.6, "mean of ln sigma")
    spread: float = setting(1.5, "standard deviation of ln sigma", above=0)

    def __post_init__(self) -> None:
        check_bounds(self, "noise")

    def drawn(self, n: int, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        """sigma (n,): one in each of n equal parts of the distribution, in random order, so that batches are alike."""
        u = (torch.arange(n, dtype=torch.float64) + torch.rand(n, generator=generator, dtype=torch.float64)) / n
        u = u[torch.randperm(n, generator=generator)].clamp(1e-4, 1 - 1e-4)
        return (self.mean + self.spread * 2**0.5 * torch.erfinv(2 * u - 1)).exp().to(dtype)

    @property
    def seen(self) -> tuple[float, float]:
        """The lowest and the highest noise level that a training sees, in Angstrom."""
        ends = torch.tensor([self.mean - SEEN * self.spread, self.mean + SEEN * self.spread]).exp()
        return float(ends[0]), float(ends[1])


class Weights(nn.Module):
    """ln of the variance of the loss over sigma, learned for positions and elements (arXiv 2312.02696, section 2.3).

    A loss is divided by its variance, so that every noise level counts alike whatever its errors are, down to
    `LEAST_VARIANCE`: at little noise elements are all but known, and would take the effort that positions need.
    """

    def __init__(self, functions: int = 8) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.linspace(0.1, 1.5, functions))
        self.linear = nn.Linear(2 * functions, len(KINDS))
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, sigma: Tensor) -> Tensor:
        """(systems, kinds)."""
        phase = sigma.log()[:, None] * self.frequencies
        return self.linear(torch.cat([phase.sin(), phase.cos()], -1)).clamp_min(math.log(LEAST_VARIANCE))


class Noisy(NamedTuple):
    """Molecules with noise: `clouds` at the levels `sigma` (systems,), and the molecules without it."""

    clouds: Clouds
    sigma: Tensor
    clean: Clouds


def noisy(clean: Clouds, sigma: Tensor, generator: torch.Generator) -> Noisy:
    """Add noise of `sigma` (systems,) to positions, about the centre of each molecule, and to element vectors."""
    shift = drawn_noise(clean.positions, generator)
    counts = torch.bincount(clean.system, minlength=clean.n_systems)[:, None]
    mean = shift.new_zeros(clean.n_systems, 3).index_add(0, clean.system, shift) / counts
    width = sigma[clean.system][:, None]
    positions = clean.positions + width * (shift - mean[clean.system])
    vectors = clean.vectors + width * drawn_noise(clean.vectors, generator)
    return Noisy(clean._replace(positions=positions, vectors=vectors), sigma, clean)


def squared_errors(model: EnergyModel, batch: Noisy, training: bool = False) -> Tensor:
    """Mean squared errors (systems, kinds) of the denoised molecules, over those of the noise, sigma^2."""
    gradient = model.gradient(batch.clouds, batch.sigma, training)
    variance = batch.sigma.square()[batch.clean.system][:, None]
    out = []
    for key in ("positions", "vectors"):
        # y - sigma^2 grad E - x, in units of sigma
        error = getattr(batch.clouds, key) - variance * getattr(gradient, key) - getattr(batch.clean, key)
        per_atom = (error.square() / variance).mean(-1)
        total = per_atom.new_zeros(batch.clean.n_systems).index_add(0, batch.clean.system, per_atom)
        out.append(total / torch.bincount(batch.clean.system, minlength=batch.clean.n_systems))
    return torch.stack(out, -1)


def loss(model: EnergyModel, weights: Weights, batch: Noisy) -> Tensor:
    """The loss of a batch: errors in units of the best Gaussian's, divided by their learned variance over sigma."""
    s = model.statistics
    sigma = batch.sigma
    scale = torch.stack([(sigma.square() + spread**2) / spread**2 for spread in (s.spread, s.element_spread)], -1)
    variance = weights(sigma)
    return (squared_errors(model, batch, True) * scale * (-variance).exp() + variance).sum(-1).mean()


def level_errors(
    model: EnergyModel, clean: Clouds, seed: int = 0, levels: Sequence[float] = LEVELS
) -> dict[str, float]:
    """Denoising errors at fixed noise levels with fixed noise, 1 where nothing is removed: x@0.1, z@0.1, ..."""
    out: dict[str, float] = {}
    for sigma in levels:
        generator = torch.Generator().manual_seed(seed)
        batch = noisy(clean, torch.full((clean.n_systems,), sigma).to(clean.positions), generator)
        x, z = squared_errors(model, batch).mean(0).tolist()
        out |= {f"x@{sigma:g}": x, f"z@{sigma:g}": z}
    return out
