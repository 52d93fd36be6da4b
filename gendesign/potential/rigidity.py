"""Last-layer prediction rigidity: how firmly the training set holds a prediction.

The energy is linear in the last-layer features g (lastlayer.py), so that a training set with features F fixes it up to
the variance alpha^2 g^T (F^T F + s I)^-1 g of Bayesian linear regression (Bigi, Chong, Ceriotti and Grasselli, arXiv
2403.02251). With the features of one atom the inverse of that form is the local prediction
rigidity of its energy (Chong, Grasselli, Ben Mahmoud, Morrow, Deringer and Ceriotti, arXiv 2306.15638).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from typing import Any

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from gendesign.errors import UserError
from gendesign.potential.base import PotentialBase, copy_attributes
from gendesign.potential.batching import in_batches
from gendesign.potential.calibration import best_factor, likelihood_loss
from gendesign.potential.lastlayer import LastLayer
from gendesign.potential.potential import Potential
from gendesign.structure.graph import Batch
from gendesign.structure.types import Prediction

MAX_ATOMS = 1500  # atoms whose features are held at once
TINY = 1e-24  # variance (eV^2) under the root, where its slope would be infinite: an isolated atom is known exactly
REGULARISERS = 10.0 ** np.arange(-10, 2.01, 0.25)  # shares of the mean; below these float32 features hold noise
FEWEST = 10  # held-out structures from which two numbers can be had
QUANTILE = 0.95  # of the held-out deviations, above which a structure counts as unlike the training set


@dataclass(frozen=True)
class Rigidity(PotentialBase):
    """A potential with the covariance of its training set in the last layer, calibrated by held-out labels.

    `covariance` (n, n) float64 sums g g^T over the training structures; `regulariser` is s as a share of the mean
    of its diagonal; `factor` is alpha for energies and atoms, `force_factor` for forces; `thresholds` are quantiles of
    held-out deviations in eV ("energy" per atom, and largest "atom"); `about` counts what went in.
    """

    potential: Potential
    covariance: Tensor
    regulariser: float = 1e-6
    factor: float = 1.0
    force_factor: float = 1.0
    thresholds: dict[str, float] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        copy_attributes(self.potential, self)

    def evaluate(self, structures: Sequence[Atoms] | Batch, *, stress: bool = False) -> Prediction:
        """The potential's prediction alone; `predict` adds the deviations."""
        return self.potential.evaluate(structures, stress=stress)

    def descriptors(self, structures: Sequence[Atoms] | Batch, **options: Any) -> Tensor:
        """The potential's descriptors."""
        return self.potential.descriptors(structures, **options)

    @classmethod
    def fit(cls, potential: Potential, structures: Sequence[Atoms], *, force_weight: float = 0.0) -> "Rigidity":
        """From the training structures, streamed; `force_weight` > 0 adds that share of the forces' features.

        Forces are what most potentials are trained on, but cost n backward passes for every batch.
        """
        if not structures:
            raise UserError("no training structures were given; give those that the potential was fitted to")
        counts = {"structures": len(structures), "atoms": sum(map(len, structures))}
        parts: Iterator[Tensor] = (_outer(potential, batch, force_weight) for batch in _batches(potential, structures))
        covariance = reduce(torch.add, parts)
        return cls(potential, covariance, about={"training": {**counts, "force_weight": force_weight}})

    @cached_property
    def _spectrum(self) -> tuple[Tensor, Tensor]:
        """Eigenvalues (n,) and eigenvectors (n, n) of the covariance."""
        values, vectors = torch.linalg.eigh(self.covariance)
        return values.clamp_min(0), vectors

    @property
    def ridge(self) -> float:
        """The regulariser in the units of the covariance."""
        return self.regulariser * float(self.covariance.diagonal().mean())

    @cached_property
    def root(self) -> Tensor:
        """R (n, n) such that the variance of features g is |g R|^2, before the factor."""
        values, vectors = self._spectrum
        return vectors / (values + self.ridge).sqrt()

    def calibrated(self, structures: Sequence[Atoms], energies: Sequence[float]) -> "Rigidity":
        """With the alpha and the regulariser under which held-out `energies` (eV) are likeliest, and the thresholds."""
        if len(structures) < FEWEST:
            raise UserError(
                f"{len(structures)} held-out structures cannot calibrate an uncertainty; give {FEWEST} or more"
            )
        values, vectors = self._spectrum
        rows, predicted = [], []
        with torch.no_grad():
            for batch in _batches(self.potential, structures):
                layer = self.potential.last_layer(batch)
                rows.append(_summed(layer, batch) @ vectors)
                predicted.append(_per_system(layer.atom_energy, batch))
        error = _finite(energies) - torch.cat(predicted).cpu()
        projected, mean = torch.cat(rows).square(), self.covariance.diagonal().mean()
        choices = []
        for share in REGULARISERS.tolist():
            deviation = (projected / (values + share * mean)).sum(-1).sqrt().cpu()
            factor = best_factor(error, deviation)
            choices.append((likelihood_loss(error, factor * deviation), share, factor))
        loss, share, factor = min(choices)
        calibrated = replace(self, regulariser=share, factor=factor, force_factor=factor)
        about = {"structures": len(structures), "loss": loss, "quantile": QUANTILE}
        return replace(
            calibrated, thresholds=calibrated._quantiles(structures), about={**self.about, "calibration": about}
        )

    def with_forces(self, structures: Sequence[Atoms], forces: Sequence[np.ndarray]) -> "Rigidity":
        """With the factor of its own under which held-out `forces` (atoms, 3 for each, eV/Angstrom) are likeliest."""
        error, deviation, done = [], [], 0
        for part in in_batches(structures, MAX_ATOMS):
            error.append(
                _finite(np.concatenate(forces[done : done + len(part)]))
                - self.potential.evaluate(part).forces.double().cpu()
            )
            deviation.append(self.force_deviation(part).cpu() / self.force_factor)
            done += len(part)
        factor = best_factor(torch.cat(error), torch.cat(deviation))
        return replace(self, force_factor=factor, about={**self.about, "calibration_forces": {"structures": done}})

    def _quantiles(self, structures: Sequence[Atoms]) -> dict[str, float]:
        energy, atom = [], []
        with torch.no_grad():
            for batch in _batches(self.potential, structures):
                whole, each = self.deviations(batch)
                energy.append(whole / torch.bincount(batch.system, minlength=batch.n_systems))
                atom.append(largest(each, batch))
        return {k: float(torch.cat(v).quantile(QUANTILE)) for k, v in (("energy", energy), ("atom", atom))}

    def deviations(self, structures: Sequence[Atoms] | Batch) -> tuple[Tensor, Tensor]:
        """Standard deviations of the energies (systems,) and of the atoms' energies (atoms,) in eV, float64.

        Both are differentiable with respect to the positions of a batch, for guidance towards or away from the unknown.
        """
        batch = self.batch(structures)
        features = self.potential.last_layer(batch).features.double() @ self.root
        return self._deviation(_per_system(features, batch)), self._deviation(features)

    def _deviation(self, whitened: Tensor) -> Tensor:
        return self.factor * whitened.square().sum(-1).clamp_min(TINY).sqrt()

    def force_deviation(self, structures: Sequence[Atoms] | Batch) -> Tensor:
        """Standard deviation of every force component (atoms, 3) in eV/Angstrom, exact: n backward passes."""
        batch = self.batch(structures)
        slopes = _jacobian(self.potential, batch)[1]
        variance = torch.einsum("nk,nax->kax", self.root, slopes).square().sum(0)
        return self.force_factor * variance.sqrt()

    def local_rigidity(self, structures: Sequence[Atoms] | Batch) -> Tensor:
        """LPR of every atom's energy (atoms,): 1 / (g^T H^-1 g); infinite where the atom's features vanish."""
        batch = self.batch(structures)
        with torch.no_grad():
            features = self.potential.last_layer(batch).features.double()
            return 1 / (features @ self.root).square().sum(-1)

    def predict(self, structures: Sequence[Atoms] | Batch, *, forces: bool = False) -> Prediction:
        """The potential's prediction with its deviations; those of the forces, which cost most, with `forces`."""
        batch = self.batch(structures)
        with torch.no_grad():
            energy, atom = self.deviations(batch)
        return replace(
            self.potential.evaluate(batch),
            standard_deviation=energy,
            atom_deviation=atom,
            force_deviation=self.force_deviation(batch) if forces else None,
        )

    def __call__(self, structures: Sequence[Atoms]) -> np.ndarray:
        """Standard deviation of every energy (systems,) in eV, for selections."""
        with torch.no_grad():
            parts = [self.deviations(batch)[0].cpu() for batch in _batches(self.potential, structures)]
        return torch.cat(parts).numpy() if parts else np.zeros(0)


def largest(values: Tensor, batch: Batch) -> Tensor:
    """The largest of the atoms' `values` (atoms,) in each system (systems,)."""
    return values.new_zeros(batch.n_systems).scatter_reduce(0, batch.system, values, "amax")


def _batches(potential: Potential, structures: Sequence[Atoms]) -> Iterator[Batch]:
    return (potential.batch(part) for part in in_batches(structures, MAX_ATOMS))


def _outer(potential: Potential, batch: Batch, force_weight: float) -> Tensor:
    """Sum of g g^T (n, n) over the systems of a batch, and `force_weight` times that of the forces' features."""
    if not force_weight:
        with torch.no_grad():
            rows = _summed(potential.last_layer(batch), batch)
        return rows.T @ rows
    rows, slopes = _jacobian(potential, batch)
    slopes = slopes.flatten(1)
    return rows.T @ rows + force_weight * slopes @ slopes.T


def _finite(labels: Sequence[float] | np.ndarray) -> Tensor:
    """Labels in float64; UserError when one is not finite."""
    values = torch.as_tensor(np.asarray(labels), dtype=torch.float64)
    if not values.isfinite().all():
        raise UserError("a held-out label is not finite; leave its structure out of the calibration")
    return values


def _per_system(values: Tensor, batch: Batch) -> Tensor:
    return values.new_zeros(batch.n_systems, *values.shape[1:]).index_add(0, batch.system, values)


def _summed(layer: LastLayer, batch: Batch) -> Tensor:
    """Features of the systems' energies (systems, n), float64."""
    return _per_system(layer.features.double(), batch)


def _jacobian(potential: Potential, batch: Batch) -> tuple[Tensor, Tensor]:
    """Features of the energies (systems, n) and minus their slopes, those of the forces (n, atoms, 3), float64.

    One backward pass for each feature serves all systems at once, because no atom acts on another system.
    """
    with torch.enable_grad():
        moved = batch.at(batch.positions.detach().clone().requires_grad_(True))
        layer = potential.last_layer(moved)
        columns = [column for block in layer.blocks for column in block.unbind(-1)]
        slopes = [
            torch.autograd.grad(column.sum(), moved.positions, retain_graph=True, allow_unused=True)[0]
            for column in columns
        ]
    zero = torch.zeros_like(batch.positions)
    forces = torch.stack([zero if slope is None else -slope for slope in slopes]).double()
    return _summed(layer, batch).detach(), forces
