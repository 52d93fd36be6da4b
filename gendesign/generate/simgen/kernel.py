"""Similarity to reference environments: log-density of descriptors, and its gradient as a score."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from ase import Atoms
from torch import Tensor

from gendesign.generate.simgen.state import Swarm
from gendesign.potential import Potential
from gendesign.structure.graph import Batch, edges_within

SHORTEST = 0.75  # Angstrom: the radial basis sees no shorter length while atoms still overlap
CLIP = 3**0.5


def sharpness(sigma: float) -> float:
    """m(sigma) = 119 (1 - (sigma/10)^(1/4)) + 1: how narrow the kernel is (arXiv 2402.08708)."""
    return 119 * (1 - (sigma / 10) ** 0.25) + 1 if sigma <= 10 else 1.0


@dataclass(frozen=True)
class Environments:
    """Reference environments: features (references, channels), log-weight (references,), atomic numbers (references,).

    `scale` is the mean squared norm of the features, the unit of squared distance. A weight counts how many
    environments of the reference set one entry stands for, so the density keeps their frequencies.
    """

    features: Tensor
    log_weight: Tensor
    numbers: Tensor
    scale: float

    def shares(self, elements: Sequence[int]) -> Tensor:
        """Fraction of each of `elements` among the environments (elements,)."""
        counts = torch.stack([self.log_weight[self.numbers == z].exp().sum() for z in elements])
        return counts / counts.sum()


def environments(potential: Potential, skeletons: Sequence[Atoms], merge: float = 2e-3) -> Environments:
    """Describe every atom of hydrogen-free `skeletons`; entries nearer than `merge` times the mean squared norm are one."""
    with torch.no_grad():
        features = potential.descriptors(potential.batch(skeletons), shortest=SHORTEST)
    numbers = torch.cat([torch.as_tensor(a.numbers) for a in skeletons]).to(features.device)
    scale = float(features.square().sum(-1).mean())
    kept: list[int] = []
    counts: list[float] = []
    for k in range(len(features)):  # once per loaded reference set, a few thousand rows
        if kept:
            distance = (features[kept] - features[k]).square().sum(-1)
            distance[numbers[kept] != numbers[k]] = torch.inf
            near = int(distance.argmin())
            if distance[near] < merge * scale:
                counts[near] += 1
                continue
        kept.append(k)
        counts.append(1.0)
    return Environments(features[kept], torch.tensor(counts).log().to(features), numbers[kept], scale)


def energies(features: Tensor, numbers: Tensor, references: Environments, sigma: float) -> Tensor:
    """-log k (atoms,) of atoms with `features` (atoms, channels) against the references of their own element.

    log k_i = logsumexp_j(log w_j - m(sigma) |phi_i - phi_j|^2 / (2 L)); arXiv 2402.08708.
    """
    # |a - b|^2 by one matrix product: atoms x references differences would not fit for large batches
    squared = (features.square().sum(-1)[:, None] + references.features.square().sum(-1)[None]
               - 2 * features @ references.features.T).clamp_min(0)
    logits = references.log_weight - sharpness(sigma) * squared / (2 * references.scale)
    logits = logits.masked_fill(numbers[:, None] != references.numbers[None], -1e4)
    return -torch.logsumexp(logits, -1)


@dataclass(frozen=True)
class KernelScore:
    """Gradient of the summed log-similarity, clipped per atom, plus a short-range repulsion; `Score` of the sampler."""

    potential: Potential
    references: Environments

    def energies(self, swarm: Swarm, positions: Tensor, sigma: float) -> Tensor:
        """-log k (atoms,), differentiable in `positions` (atoms, 3)."""
        edges = edges_within(positions, swarm.pairs, self.potential.cutoff)
        batch = Batch(positions, swarm.numbers, swarm.system, swarm.n_systems)
        features = self.potential.descriptors(batch, edges=edges, shortest=SHORTEST)
        return energies(features, swarm.numbers, self.references, sigma)

    def particle_energies(self, swarm: Swarm, sigma: float) -> Tensor:
        """-sum log k of every particle (molecules, particles)."""
        with torch.no_grad():
            atom = self.energies(swarm, swarm.positions.to(self.potential.dtype), sigma)
        return swarm.per_particle(atom.double())

    def __call__(self, swarm: Swarm, sigma: float) -> Tensor:
        positions = swarm.positions.to(self.potential.dtype).requires_grad_(True)
        with torch.enable_grad():
            energy = self.energies(swarm, positions, sigma).sum()
            (gradient,) = torch.autograd.grad(energy, positions)
        return clipped(-gradient.to(swarm.positions.dtype)) + repulsion(swarm)


def clipped(score: Tensor, longest: float = CLIP) -> Tensor:
    """Vectors (atoms, 3) no longer than `longest`."""
    return score * (longest / score.norm(dim=-1, keepdim=True).clamp_min(longest))


def repulsion(swarm: Swarm) -> Tensor:
    """Force (atoms, 3) of the pair energy exp(-8 r)/2, divided by 3: parts atoms that lie on each other."""
    first, second = swarm.pairs
    apart = swarm.positions[first] - swarm.positions[second]
    r = apart.norm(dim=-1).clamp_min(1e-6)
    force = (4 * torch.exp(-8 * r) / r)[:, None] * apart / 3
    return torch.zeros_like(swarm.positions).index_add_(0, first, force)
