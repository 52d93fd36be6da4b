"""Priors: scores that hold a cloud of atoms together and give it a shape."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from gendesign.errors import UserError
from gendesign.fields import check_bounds, setting
from gendesign.generate.simgen.state import Swarm
from gendesign.randomness import Purpose
from gendesign.structure.counter_random import normal, uniform

# Strength of the Gaussian relative to `strength`. The published 0.7 leaves open chains; at 1.75 rings close about as
# often as in the references.
GAUSSIAN = 1.75
# Times the number of noise levels, 1/Angstrom: Heun's steps are stable below 2 / (largest step), which is 0.62 of them.
STIFFEST = 0.5


def strength(sizes: Tensor) -> Tensor:
    """Pull per Angstrom for molecules of `sizes` atoms, as in the published code (1.99 at 5, 1.06 at 20 atoms)."""
    return 0.45 / (0.3 + 0.05 * 1.5664519 * sizes.double().sqrt()) ** 2


def fade(sigma: float) -> float:
    """Share of its strength that a prior has left: it vanishes with the noise, so that bonds decide the last steps."""
    return float(torch.tanh(torch.tensor(20 * sigma * sigma)))


class Prior(Protocol):
    """A score that also says where atoms start."""

    def sample(self, swarm: Swarm, scale: float = 0.5) -> Tensor:
        """Starting positions (atoms, 3) in Angstrom; the particles of a molecule share theirs."""
        ...

    def __call__(self, swarm: Swarm, sigma: float) -> Tensor:
        """The score (atoms, 3) at the noise level `sigma` in Angstrom."""


@dataclass(frozen=True)
class GaussianPrior:
    """The score -x Sigma^-1, with the determinant of Sigma normalised to 1.

    `covariance` is None for the identity, (3, 3), or (molecules, 3, 3) for a shape of every molecule of a swarm. The
    pull is bounded for an integrator of `steps` noise levels.
    """

    covariance: Tensor | Sequence[Sequence[float]] | None = setting(
        None, "3 x 3 covariance of the cloud, of which only the shape matters; null for a round one"
    )
    steps: int = 50

    def __post_init__(self) -> None:
        if self.covariance is not None and torch.linalg.eigvalsh(torch.as_tensor(self.covariance)).min() <= 0:
            raise ValueError("the prior's covariance must be positive definite")

    def _of_molecules(self, swarm: Swarm) -> Tensor:
        """Normalised covariance of every molecule (molecules, 3, 3)."""
        shapes = torch.eye(3) if self.covariance is None else torch.as_tensor(self.covariance)
        shapes = shapes.to(swarm.positions).reshape(-1, 3, 3)
        shapes = shapes / torch.linalg.det(shapes)[:, None, None] ** (1 / 3)
        return shapes.expand(swarm.n_molecules, 3, 3)

    def sample(self, swarm: Swarm, scale: float = 0.5) -> Tensor:
        """Starting positions (atoms, 3) in Angstrom; the particles of a molecule share theirs."""
        root = torch.linalg.cholesky(self._of_molecules(swarm))[swarm.molecule]
        z = swarm.of_slots(normal(swarm.slot_keys, Purpose.START_POSITIONS, 3))
        return scale * torch.einsum("aij,aj->ai", root, z)

    def __call__(self, swarm: Swarm, sigma: float) -> Tensor:
        """The score (atoms, 3) at the noise level `sigma` in Angstrom."""
        pull = GAUSSIAN * strength(swarm.sizes) * fade(sigma)
        stiff, axes = torch.linalg.eigh(torch.linalg.inv(self._of_molecules(swarm)))
        # flat molecules would be pressed together faster than the integrator can follow
        stiff = (pull[:, None] * stiff).clamp_max(STIFFEST * self.steps)
        tensor = torch.einsum("mij,mj,mkj->mik", axes, stiff, axes)[swarm.molecule]
        return -torch.einsum("aij,aj->ai", tensor, swarm.positions)


@dataclass(frozen=True)
class EllipsoidPrior:
    """A Gaussian prior given by its extents along x, y and z."""

    axes: Sequence[float] = setting((2.0, 1.0, 0.5), "extents along x, y and z relative to each other", above=0)

    def __post_init__(self) -> None:
        if len(self.axes) != 3:
            raise UserError(
                f"generator.prior.axes={list(self.axes)}: give three numbers above 0, such as [2.0,1.0,0.5]"
            )
        check_bounds(self, "generator.prior")

    @cached_property
    def gaussian(self) -> GaussianPrior:
        """The same prior by its covariance."""
        return GaussianPrior(torch.diag(torch.tensor([float(a) ** 2 for a in self.axes])))

    def sample(self, swarm: Swarm, scale: float = 0.5) -> Tensor:
        """Starting positions (atoms, 3) in Angstrom; the particles of a molecule share theirs."""
        return self.gaussian.sample(swarm, scale)

    def __call__(self, swarm: Swarm, sigma: float) -> Tensor:
        """The score (atoms, 3) at the noise level `sigma` in Angstrom."""
        return self.gaussian(swarm, sigma)


@runtime_checkable
class Drawn(Protocol):
    """Priors of which every molecule draws one."""

    def drawn(self, molecule_key: Tensor, sizes: Tensor) -> Prior:
        """The prior of molecules with these random keys (molecules,) and sizes (molecules,) in atoms."""
        ...


@dataclass(frozen=True)
class GaussianMixture:
    """Gaussian priors with `covariances` (shapes, 3, 3), one of which a molecule draws; for `steps` noise levels."""

    covariances: Tensor
    steps: int = 50

    def drawn(self, molecule_key: Tensor, sizes: Tensor) -> GaussianPrior:
        """The prior of molecules with these random keys (molecules,), whatever their sizes."""
        u = uniform(molecule_key, Purpose.PRIOR_SHAPE, 1)[:, 0]
        covariances = self.covariances.to(molecule_key.device)
        return GaussianPrior(covariances[(u * len(covariances)).long()], self.steps)


def shapes_of(skeletons: Sequence[Atoms], blur: float = 0.03) -> Tensor:
    """Covariances (skeletons, 3, 3) of the atoms' positions in their principal axes.

    `blur` of the mean variance is added along every axis, so that flat and straight molecules have one, too.
    """
    out = []
    for skeleton in skeletons:
        values = np.linalg.eigvalsh(np.cov(skeleton.positions.T, bias=True))
        out.append(np.diag(values + max(blur * values.mean(), 1e-3)))
    return torch.tensor(np.stack(out))
