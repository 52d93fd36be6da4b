"""Several potentials as one: their mean, and their disagreement as an uncertainty."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from gendesign.errors import UserError
from gendesign.potential.batching import in_batches
from gendesign.potential.calibration import best_factor
from gendesign.potential.potential import Potential
from gendesign.structure.graph import Batch
from gendesign.structure.types import Prediction

MAX_ATOMS = 1500  # atoms evaluated at once
TINY = 1e-24  # variance (eV^2) under the root, where its slope would be infinite


@dataclass(frozen=True)
class Committee:
    """Two or more `potentials` of the same energies; `factor` turns the spread of their answers into deviations."""

    potentials: tuple[Potential, ...]
    factor: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "potentials", tuple(self.potentials))
        if len(self.potentials) < 2:
            raise UserError(f"a committee of {len(self.potentials)} has no spread; give two or more potentials")
        if len({(p.device, p.dtype) for p in self.potentials}) > 1:
            raise UserError("the potentials of a committee differ in device or dtype; load all with the same")

    def predict(self, structures: Sequence[Atoms] | Batch, *, stress: bool = False) -> Prediction:
        """Means of energies, forces, per-atom energies and, on request, stress, with their deviations."""
        batch = self._batch(structures)
        found = [potential.evaluate(batch, stress=stress) for potential in self.potentials]
        energy, forces, atom = (
            torch.stack([getattr(one, key).double() for one in found]) for key in ("energy", "forces", "atom_energy")
        )
        return Prediction(
            energy.mean(0),
            forces.mean(0),
            atom.mean(0),
            torch.stack([one.stress for one in found]).mean(0) if stress else None,
            standard_deviation=self.factor * energy.std(0),
            force_deviation=self.factor * forces.std(0),
            atom_deviation=self.factor * atom.std(0),
        )

    def calibrated(self, structures: Sequence[Atoms], energies: Sequence[float]) -> "Committee":
        """With the factor under which held-out `energies` (eV) are likeliest."""
        found = [self.predict(batch) for batch in self._batches(structures)]
        error = torch.as_tensor(np.asarray(energies)).double() - torch.cat([one.energy for one in found]).cpu()
        spread = torch.cat([one.standard_deviation for one in found]).cpu() / self.factor
        return replace(self, factor=best_factor(error, spread))

    def deviations(self, structures: Sequence[Atoms] | Batch) -> tuple[Tensor, Tensor]:
        """Standard deviations of the energies (systems,) and of the atoms' energies (atoms,) in eV, float64.

        Both are differentiable with respect to the positions of a batch, for guidance.
        """
        batch = self._batch(structures)
        atom = torch.stack([potential.last_layer(batch).atom_energy for potential in self.potentials])
        energy = atom.new_zeros(len(atom), batch.n_systems).index_add(1, batch.system, atom)
        return self._spread(energy), self._spread(atom)

    def __call__(self, structures: Sequence[Atoms]) -> np.ndarray:
        """Standard deviation of every energy (systems,) in eV, for selections."""
        parts = [self.predict(batch).standard_deviation.cpu() for batch in self._batches(structures)]
        return torch.cat(parts).numpy() if parts else np.zeros(0)

    def _spread(self, values: Tensor) -> Tensor:
        return self.factor * values.var(0).clamp_min(TINY).sqrt()

    def _batch(self, structures: Sequence[Atoms] | Batch) -> Batch:
        if isinstance(structures, Batch):
            return structures
        for potential in self.potentials:
            potential.require_elements({symbol for atoms in structures for symbol in atoms.get_chemical_symbols()})
        return self.potentials[0].batch(structures)

    def _batches(self, structures: Sequence[Atoms]) -> Iterator[Batch]:
        return (self._batch(part) for part in in_batches(structures, MAX_ATOMS))
