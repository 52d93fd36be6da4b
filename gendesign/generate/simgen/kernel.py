"""Similarity to reference environments: log-density of descriptors, and its gradient as a score."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from ase import Atoms
from torch import Tensor

from gendesign.generate.simgen.state import Swarm
from gendesign.potential import PotentialLike
from gendesign.potential.batching import in_batches
from gendesign.structure.graph import Batch, Edges, edges_within

ATOMS_PER_CALL = 4000  # reference atoms per model call
STATISTICS = 3000  # reference environments from which the kernel's scale is taken
NOTHING_ALIKE = 1e4  # -log k of an atom whose element no reference has
SHORTEST = 0.75  # Angstrom: shorter lengths count as this one in the radial basis, as long as atoms overlap
CLIP = 5.0  # longest score of an atom; at the published sqrt(3) atoms stop far from any reference


def sharpness(sigma: float, broad: float = 0.2) -> float:
    """m(sigma) = 120 / (1 + (sigma/broad)^2): how narrow the kernel is.

    Noise of sigma Angstrom spreads descriptors by an amount proportional to sigma, so the squared width of the kernel
    grows with sigma^2; it ends at the published value, 120 (arXiv 2402.08708, which goes from 53 to 120).
    """
    return 120 / (1 + (sigma / broad) ** 2)


class Describer(Protocol):
    """What describes atoms: a potential, or anything else with a reach (Angstrom) and descriptors."""

    @property
    def cutoff(self) -> float:
        """Neighbours within this distance count, Angstrom."""

    def descriptors(
        self, structures: Sequence[Atoms] | Batch, *, edges: Edges | None = None, shortest: float | None = None
    ) -> Tensor:
        """Features (atoms, n); see PotentialLike."""


@dataclass(frozen=True)
class Environments:
    """Reference environments: features (references, channels), log-weight (references,), atomic numbers (references,).

    Raw descriptors of one element differ along very few directions (one holds 80 % of their variance), so distances
    between them say little of bonds and angles. `mean` (elements, raw) and `whitening` (elements, raw, channels), in
    the order of `elements`, turn raw descriptors into features of comparable variance. `scale` is the unit of squared
    distance. A weight counts how many environments of the reference set an entry stands for. `ordinary` (elements, 2)
    gives -log k of a typical reference of each element, left out with its own molecule, as a straight line in
    m(sigma).
    """

    features: Tensor
    log_weight: Tensor
    numbers: Tensor
    scale: float
    elements: Tensor
    mean: Tensor
    whitening: Tensor
    ordinary: Tensor

    def whitened(self, raw: Tensor, numbers: Tensor) -> Tensor:
        """Features (atoms, channels) from raw descriptors (atoms, raw) of atoms with `numbers` (atoms,)."""
        out = raw.new_zeros(len(raw), self.whitening.shape[-1])
        for k in range(len(self.elements)):  # a gather would copy a matrix per atom
            rows = (numbers == self.elements[k]).nonzero()[:, 0]
            out = out.index_copy(0, rows, (raw[rows] - self.mean[k]) @ self.whitening[k])
        return out

    def surprise(self, energy: Tensor, numbers: Tensor, sigma: float) -> Tensor:
        """-log k (atoms,) relative to a typical reference of the same element, less the log of that element's share.

        Whitened densities of two elements have different volumes; only after this can one say which fits a site better.
        """
        line = self.ordinary[:, 0] + self.ordinary[:, 1] * sharpness(sigma)
        offset = line + self.shares(self.elements.tolist()).to(line).log()
        column = (numbers[:, None] == self.elements[None]).float().argmax(-1)
        return energy - offset.to(energy)[column]

    def shares(self, elements: Sequence[int]) -> Tensor:
        """Fraction of each of `elements` among the environments (elements,)."""
        counts = torch.stack([self.log_weight[self.numbers == z].exp().sum() for z in elements])
        return counts / counts.sum()


def environments(
    potential: Describer,
    skeletons: Sequence[Atoms],
    *,
    channels: int = 24,
    floor: float = 1e-3,
    reach: float = 2.0,
    merge: float = 0.02,
    weights: Sequence[float] | None = None,
    temperature: float = 1.0,
) -> Environments:
    """Describe every atom of hydrogen-free `skeletons` for the kernel; `weights` (skeletons,) say how much each counts.

    The `channels` leading principal components of each element are scaled to unit variance, those below `floor` of the
    first less so. The scale is set by the references themselves: at sigma = 0 an environment's nearest neighbour in
    another reference molecule has, in the median, the log-similarity -`reach`. Entries nearer to each other than
    `merge` of that distance are one.
    """
    with torch.no_grad():
        raw = torch.cat(
            [potential.descriptors(few, shortest=SHORTEST) for few in in_batches(skeletons, ATOMS_PER_CALL)]
        )
    numbers = torch.cat([torch.as_tensor(a.numbers) for a in skeletons]).to(raw.device)
    molecule = torch.repeat_interleave(torch.arange(len(skeletons)), torch.tensor([len(a) for a in skeletons])).to(
        raw.device
    )
    elements = numbers.unique()
    mean = torch.stack([raw[numbers == z].mean(0) for z in elements])
    whitening = torch.stack(
        [_whitening(raw[numbers == z] - m, channels, floor) for z, m in zip(elements, mean, strict=True)]
    )
    features = torch.zeros(len(raw), channels, dtype=raw.dtype, device=raw.device)
    for z, m, w in zip(elements, mean, whitening, strict=True):
        features[numbers == z] = (raw[numbers == z] - m) @ w
    # statistics need no more than some thousand rows, and a table of all pairs might not fit
    some = torch.arange(0, len(features), max(1, -(-len(features) // STATISTICS)), device=raw.device)
    foreign = (numbers[some, None] == numbers[None]) & (molecule[some, None] != molecule[None])
    squared = torch.cdist(features[some], features).square().masked_fill(~foreign, torch.inf)
    nearest = squared.min(1).values
    nearest = nearest[torch.isfinite(nearest)]
    typical = float(nearest.median()) if len(nearest) else float(features.square().sum(-1).mean())
    scale = temperature * sharpness(0.0) * max(typical, 1e-6) / (2 * reach)
    per_atom = torch.ones(len(skeletons)) if weights is None else torch.as_tensor(weights)
    per_atom = per_atom.double() / per_atom.double().mean()
    kept, counts = _merged(features, numbers, merge * typical, per_atom[molecule.cpu()].tolist())
    return Environments(
        features[kept],
        counts.log().to(features),
        numbers[kept],
        scale,
        elements,
        mean,
        whitening,
        _ordinary(squared / (2 * scale), numbers[some], elements),
    )


def _ordinary(exponent: Tensor, numbers: Tensor, elements: Tensor) -> Tensor:
    """Line in m (elements, 2) through the mean -log k of each element's references at the two ends of a run."""
    ends = sharpness(1.0), sharpness(0.0)
    means = []
    for m in ends:
        energy = -torch.logsumexp(-m * exponent, -1)
        energy = torch.where(torch.isfinite(energy), energy, torch.zeros_like(energy))
        means.append(torch.stack([energy[numbers == z].mean() for z in elements]).nan_to_num())
    rise = (means[1] - means[0]) / (ends[1] - ends[0])
    return torch.stack([means[0] - rise * ends[0], rise], -1)


def _whitening(centred: Tensor, channels: int, floor: float) -> Tensor:
    """Projection (raw, channels) on the principal components of `centred` (atoms, raw), each to unit variance."""
    values, vectors = torch.linalg.eigh((centred.T @ centred / max(1, len(centred))).double())
    values, vectors = values.flip(0)[:channels].clamp_min(0), vectors.flip(1)[:, :channels]
    scaled = vectors / (values + floor * values[0] + 1e-9).sqrt()
    return torch.nn.functional.pad(scaled, (0, channels - scaled.shape[1])).to(centred)


def _merged(features: Tensor, numbers: Tensor, near: float, weights: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Indices (kept,): every entry is within the squared distance `near` of one; and the weight each stands for."""
    kept: list[int] = []
    counts: list[float] = []
    centres, kinds = torch.empty_like(features), torch.empty_like(numbers)
    for k in range(len(features)):  # once per loaded reference set; with centres in place, linear in what is kept
        n = len(kept)
        if n:
            distance = (centres[:n] - features[k]).square().sum(-1).masked_fill(kinds[:n] != numbers[k], torch.inf)
            closest = int(distance.argmin())
            if distance[closest] < near:
                counts[closest] += weights[k]
                continue
        centres[n], kinds[n] = features[k], numbers[k]
        kept.append(k)
        counts.append(weights[k])
    return torch.tensor(kept), torch.tensor(counts)


def energies(features: Tensor, numbers: Tensor, references: Environments, sigma: float) -> Tensor:
    """-log k (atoms,) of atoms with `features` (atoms, channels) against the references of their own element.

    log k_i = logsumexp_j(log w_j - m(sigma) |phi_i - phi_j|^2 / (2 L)); arXiv 2402.08708.
    """
    out = features.new_full((len(features),), NOTHING_ALIKE)
    for rows, logits, _ in _by_element(features, numbers, references, sigma):
        width = sharpness(sigma) / (2 * references.scale)
        out = out.index_copy(0, rows, width * features[rows].square().sum(-1) - torch.logsumexp(logits, -1))
    return out


def energy_gradient(features: Tensor, numbers: Tensor, references: Environments, sigma: float) -> Tensor:
    """Gradient of the summed `energies` with respect to the features (atoms, channels), in closed form.

    An atom is drawn from phi_i towards the mean of the references, weighted by their share in k_i.
    """
    out = torch.zeros_like(features)
    for rows, logits, centres in _by_element(features, numbers, references, sigma):
        pull = features[rows] - torch.softmax(logits, -1) @ centres
        out = out.index_copy(0, rows, pull * (sharpness(sigma) / references.scale))
    return out


def _by_element(features: Tensor, numbers: Tensor, references: Environments, sigma: float):
    """For each element present: its atoms, their logits (atoms, references) less a term that all references share, and
    the references' features."""
    for z in numbers.unique():
        rows, same_element = (numbers == z).nonzero()[:, 0], references.numbers == z
        if not bool(same_element.any()):
            continue
        centres = references.features[same_element]
        # |a - b|^2 by one matrix product: atoms x references differences would not fit for large batches
        width = sharpness(sigma) / (2 * references.scale)
        offset = references.log_weight[same_element] - width * centres.square().sum(-1)
        yield rows, torch.addmm(offset, features[rows], centres.T, alpha=2 * width), centres


@dataclass(frozen=True)
class KernelScore:
    """Gradient of the summed log-similarity, clipped per atom, plus a short-range repulsion; `Score` of the sampler."""

    potential: PotentialLike
    references: Environments
    importance: Mapping[int, float] = field(default_factory=dict)  # by atomic number, 1 for others

    def energies(self, swarm: Swarm, positions: Tensor, sigma: float) -> Tensor:
        """-log k (atoms,), differentiable in `positions` (atoms, 3)."""
        return energies(self.features(swarm, positions), swarm.numbers, self.references, sigma)

    def weights(self, swarm: Swarm) -> Tensor:
        """Importance of every atom (atoms,)."""
        table = torch.ones(120)
        for number, weight in self.importance.items():
            table[number] = weight
        return table.to(swarm.numbers.device)[swarm.numbers]

    def features(self, swarm: Swarm, positions: Tensor) -> Tensor:
        """Whitened descriptors (atoms, channels), differentiable in `positions` (atoms, 3)."""
        edges = edges_within(positions, swarm.pairs, self.potential.cutoff)
        batch = Batch(positions, swarm.numbers, swarm.system, swarm.n_systems)
        raw = self.potential.descriptors(batch, edges=edges, shortest=SHORTEST)
        return self.references.whitened(raw, swarm.numbers)

    def __call__(self, swarm: Swarm, sigma: float) -> Tensor:
        """The score (atoms, 3) at the noise level `sigma` in Angstrom."""
        positions = swarm.positions.detach().to(self.potential.dtype).requires_grad_(True)  # to() alone may not copy
        with torch.enable_grad():
            features = self.features(swarm, positions)
            by_feature = energy_gradient(features.detach(), swarm.numbers, self.references, sigma)
            if self.importance:
                by_feature = by_feature * self.weights(swarm).to(by_feature)[:, None]
            (gradient,) = torch.autograd.grad(features, positions, by_feature)
        return clipped(-gradient.to(swarm.positions.dtype)) + repulsion(swarm)


def clipped(score: Tensor, longest: float = CLIP) -> Tensor:
    """Vectors (atoms, 3) no longer than `longest`."""
    return score * (longest / score.norm(dim=-1, keepdim=True).clamp_min(longest))


def repulsion(swarm: Swarm, contact: float = 1.15, stiffness: float = 20.0) -> Tensor:
    """Force (atoms, 3) that separates atoms nearer than `contact` Angstrom, shorter than any bond of heavy atoms.

    The published pair energy, exp(-8 r)/6, is too weak to separate two atoms that fell onto each other. A harmonic wall
    of `stiffness` per Angstrom does, and is stable at the largest step of the schedule (0.064 at 50 noise levels).
    """
    first, second = swarm.pairs
    apart = swarm.positions[first] - swarm.positions[second]
    r = apart.norm(dim=-1).clamp_min(1e-6)
    force = (stiffness * (contact - r).clamp_min(0) / r)[:, None] * apart
    return torch.zeros_like(swarm.positions).index_add_(0, first, force)
