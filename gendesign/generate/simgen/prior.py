"""Priors: scores that hold a cloud of atoms together and give it a shape."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gendesign.generate.simgen.random import normal, uniform
from gendesign.generate.simgen.state import Swarm


def strength(sizes: Tensor) -> Tensor:
    """Pull per Angstrom for molecules of `sizes` atoms, as in the published code (1.99 at 5, 1.06 at 20 atoms)."""
    return 0.45 / (0.3 + 0.05 * 1.5664519 * sizes.double().sqrt()) ** 2


def fade(sigma: float) -> float:
    """The prior lets go as the noise vanishes, so that bonds and not the shape decide the last steps."""
    return float(torch.tanh(torch.tensor(20 * sigma * sigma)))


@dataclass(frozen=True)
class GaussianPrior:
    """-x Sigma^-1 with the determinant of Sigma normalised to 1; `covariance` (3, 3), None for the identity."""

    covariance: Tensor | None = None

    def _covariance(self, like: Tensor) -> Tensor:
        sigma = torch.eye(3) if self.covariance is None else torch.as_tensor(self.covariance)
        sigma = sigma.to(like)
        if torch.linalg.eigvalsh(sigma).min() <= 0:
            raise ValueError("the prior's covariance must be positive definite")
        return sigma / torch.linalg.det(sigma) ** (1 / 3)

    def sample(self, swarm: Swarm, scale: float = 0.5) -> Tensor:
        """Starting positions (atoms, 3); the particles of a molecule share theirs."""
        root = torch.linalg.cholesky(self._covariance(swarm.positions))
        return scale * normal(swarm.molecule_key[swarm.molecule] + swarm.slot * 7_368_787, 0, 3) @ root.T

    def __call__(self, swarm: Swarm, sigma: float) -> Tensor:
        pull = 0.7 * strength(swarm.sizes)[swarm.molecule] * fade(sigma)
        inverse = torch.linalg.inv(self._covariance(swarm.positions))
        return -pull[:, None] * (swarm.positions @ inverse)


@dataclass(frozen=True)
class PointCloudPrior:
    """-sum_p softmax_p(-beta |x - p|) (x - p): atoms keep near the points (points, 3); beta in 1/Angstrom."""

    points: Tensor
    beta: float = 5.0

    def sample(self, swarm: Swarm, scale: float = 0.5) -> Tensor:
        """Starting positions (atoms, 3): a random point each, blurred by `scale` Angstrom."""
        key = swarm.molecule_key[swarm.molecule] + swarm.slot * 7_368_787
        points = self.points.to(swarm.positions)
        chosen = (uniform(key, 1, 1)[:, 0] * len(points)).long()
        return points[chosen] + scale * normal(key, 0, 3)

    def __call__(self, swarm: Swarm, sigma: float) -> Tensor:
        apart = swarm.positions[:, None] - self.points.to(swarm.positions)[None]
        weight = torch.softmax(-self.beta * apart.norm(dim=-1), -1)
        pull = strength(swarm.sizes)[swarm.molecule] * fade(sigma)
        return -pull[:, None] * (weight[..., None] * apart).sum(1)
