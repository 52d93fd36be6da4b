"""A potential as other libraries want to see it: a torch-sim model, an ASE calculator."""

import numpy as np
import torch
from ase.calculators.calculator import Calculator, all_changes
from ase.data import chemical_symbols
from ase.stress import full_3x3_to_voigt_6_stress
from torch_sim.models.interface import ModelInterface

from gendesign.structure.graph import Batch


class TorchSimModel(ModelInterface):
    """torch-sim's view: energies, forces and, with `stress`, stresses of a SimState."""

    def __init__(self, potential, stress: bool) -> None:
        super().__init__()
        self.potential = potential
        self._device, self._dtype = potential.device, potential.dtype
        self._compute_stress, self._compute_forces = stress, True

    def forward(self, state, **_) -> dict[str, torch.Tensor]:
        known = self.potential.net.atomic_numbers
        if not torch.isin(state.atomic_numbers, known).all():
            self.potential.require_elements({chemical_symbols[int(z)] for z in state.atomic_numbers.unique()})
        pbc = tuple(bool(p) for p in torch.as_tensor(state.pbc).expand(3))
        batch = Batch(
            state.positions.detach(),
            state.atomic_numbers,
            state.system_idx,
            state.n_systems,
            state.row_vector_cell if any(pbc) else None,
            pbc,
        )
        found = self.potential.evaluate(batch, stress=self._compute_stress)
        out = {"energy": found.energy.to(self._dtype), "forces": found.forces}
        return {**out, "stress": found.stress} if self._compute_stress else out


class AseCalculator(Calculator):
    """ASE's view of one structure at a time."""

    implemented_properties = ("energy", "free_energy", "forces", "energies", "stress")

    def __init__(self, potential) -> None:
        super().__init__()
        self.potential = potential

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        periodic = bool(np.all(atoms.pbc))
        found = self.potential.evaluate([atoms], stress=periodic)
        energy = float(found.energy[0])
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "forces": found.forces.double().cpu().numpy(),
            "energies": found.atom_energy.double().cpu().numpy(),
        }
        if periodic:
            self.results["stress"] = full_3x3_to_voigt_6_stress(found.stress[0].double().cpu().numpy())
