"""Several potentials as one: their mean, and their disagreement as an uncertainty."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from gendesign.errors import UserError
from gendesign.potential.base import PotentialBase, copy_attributes
from gendesign.potential.batching import in_batches
from gendesign.potential.calibration import best_factor
from gendesign.potential.potential import Potential
from gendesign.potential.protocol import Capability
from gendesign.structure.graph import Batch
from gendesign.structure.types import Prediction

MAX_ATOMS = 1500  # atoms evaluated at once
TINY = 1e-24  # variance (eV^2) under the root, where its slope would be infinite


@dataclass(frozen=True)
class Committee(PotentialBase):
    """Two or more `potentials` fitted to the same energies, used as one.

    `factor` scales the spread of their predictions to standard deviations. Energies are sample means and standard
    deviations over the members. Raises UserError for one potential, and for different devices or dtypes.
    """

    potentials: tuple[Potential, ...]
    factor: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "potentials", tuple(self.potentials))
        if len(self.potentials) < 2:
            raise UserError(f"a committee of {len(self.potentials)} has no spread; give two or more potentials")
        if len({(p.device, p.dtype) for p in self.potentials}) > 1:
            raise UserError("the potentials of a committee differ in device or dtype; load all with the same")
        copy_attributes(self.potentials[0], self)
        shared = set.intersection(*(set(p.elements) for p in self.potentials))
        attributes = {
            "name": "committee of " + ", ".join(p.name for p in self.potentials),
            "elements": tuple(symbol for symbol in self.potentials[0].elements if symbol in shared),
            "cutoff": max(p.cutoff for p in self.potentials),
            "supports": frozenset.intersection(*(p.supports for p in self.potentials)) - {Capability.DESCRIPTORS},
            "weights_hash": "+".join(p.weights_hash for p in self.potentials),
            "licence": "; ".join(dict.fromkeys(p.licence for p in self.potentials)),
            "citation": "; ".join(dict.fromkeys(p.citation for p in self.potentials)),
            "isolated_energies": self._mean([p.isolated_energies for p in self.potentials]),
            "chemical_potentials": self._mean([p.chemical_potentials for p in self.potentials]),
        }
        for name, value in attributes.items():
            object.__setattr__(self, name, value)

    def evaluate(self, structures: Sequence[Atoms] | Batch, *, stress: bool = False) -> Prediction:
        """`predict`, forces and stress in the dtype of the potentials, as relaxation and dynamics need them."""
        mean = self.predict(structures, stress=stress)
        tension = mean.stress if mean.stress is None else mean.stress.to(self.dtype)
        return replace(mean, forces=mean.forces.to(self.dtype), stress=tension)

    def predict(self, structures: Sequence[Atoms] | Batch, *, stress: bool = False) -> Prediction:
        """Means of energies, forces, per-atom energies and, on request, stress, with their deviations."""
        batch = self.batch(structures)
        members = [potential.evaluate(batch, stress=stress) for potential in self.potentials]
        energy, forces, atom = (_stack(members, key).double() for key in ("energy", "forces", "atom_energy"))
        return Prediction(
            energy.mean(0),
            forces.mean(0),
            atom.mean(0),
            _stack(members, "stress").mean(0) if stress else None,
            standard_deviation=self.factor * energy.std(0),
            force_deviation=self.factor * forces.std(0),
            atom_deviation=self.factor * atom.std(0),
        )

    def calibrated(self, structures: Sequence[Atoms], energies: Sequence[float]) -> "Committee":
        """With the factor under which held-out `energies` (eV) are likeliest."""
        parts = [self.predict(batch) for batch in self._batches(structures)]
        predicted, deviation = (
            torch.cat([getattr(p, k) for p in parts]).cpu() for k in ("energy", "standard_deviation")
        )
        error = torch.as_tensor(np.asarray(energies)).double() - predicted
        return replace(self, factor=best_factor(error, deviation / self.factor))

    def deviations(self, structures: Sequence[Atoms] | Batch) -> tuple[Tensor, Tensor]:
        """Standard deviations of the energies (systems,) and of the atoms' energies (atoms,) in eV, float64.

        Both are differentiable with respect to the positions of a batch, for guidance.
        """
        batch = self.batch(structures)
        atom = torch.stack([potential.last_layer(batch).atom_energy for potential in self.potentials])
        energy = atom.new_zeros(len(atom), batch.n_systems).index_add(1, batch.system, atom)
        return self._spread(energy), self._spread(atom)

    def __call__(self, structures: Sequence[Atoms]) -> np.ndarray:
        """Standard deviation of every energy (systems,) in eV, for selections."""
        parts = [_stack([self.predict(batch)], "standard_deviation")[0].cpu() for batch in self._batches(structures)]
        return torch.cat(parts).numpy() if parts else np.zeros(0)

    def _spread(self, values: Tensor) -> Tensor:
        return self.factor * values.var(0).clamp_min(TINY).sqrt()

    def _batches(self, structures: Sequence[Atoms]) -> Iterator[Batch]:
        return (self.batch(part) for part in in_batches(structures, MAX_ATOMS))

    @staticmethod
    def _mean(tables: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """The mean over `tables` of the elements that all of them hold."""
        shared = [symbol for symbol in tables[0] if all(symbol in table for table in tables)]
        return {symbol: sum(table[symbol] for table in tables) / len(tables) for symbol in shared}


def _stack(predictions: Sequence[Prediction], name: str) -> Tensor:
    """A field of all predictions, which must have it, along a new first axis."""
    return torch.stack([getattr(one, name) for one in predictions])
