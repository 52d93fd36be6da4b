"""Adapters: a potential as a torch-sim model and as an ASE calculator."""

from collections.abc import Sequence
from typing import Any, cast

import gendesign.imports.torch_sim  # noqa: F401  quick and silent

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.data import atomic_numbers, chemical_symbols
from ase.stress import full_3x3_to_voigt_6_stress
from torch_sim import SimState
from torch_sim.models.interface import ModelInterface

from gendesign.potential.protocol import Capability, PotentialLike
from gendesign.structure.graph import Batch


class TorchSimModel(ModelInterface):
    """torch-sim's view: energies, forces and, with `stress`, stresses of a SimState."""

    def __init__(self, potential: PotentialLike, stress: bool) -> None:
        super().__init__()
        self.potential = potential
        self._known = torch.tensor([atomic_numbers[symbol] for symbol in potential.elements], device=potential.device)
        self._device, self._dtype = potential.device, potential.dtype
        self._compute_stress, self._compute_forces = stress, True

    def forward(self, state: SimState, **_: Any) -> dict[str, torch.Tensor]:
        """Energies, forces and, on request, stresses of a torch-sim state, as torch-sim requires them."""
        if not torch.isin(state.atomic_numbers, self._known).all():
            self.potential.require_elements({chemical_symbols[int(z)] for z in state.atomic_numbers.unique()})
        x, y, z = (bool(p) for p in torch.as_tensor(state.pbc).expand(3))
        pbc = (x, y, z)
        batch = Batch(
            state.positions.detach(),
            state.atomic_numbers,
            state.system_idx,
            state.n_systems,
            state.row_vector_cell if any(pbc) else None,
            pbc,
        )
        prediction = self.potential.evaluate(batch, stress=self._compute_stress)
        out = {"energy": prediction.energy.to(self._dtype), "forces": prediction.forces}
        if prediction.stress is not None:
            out["stress"] = prediction.stress
        return out


class AseCalculator(Calculator):
    """ASE's view of one structure at a time: stress and per-atom energies where the potential gives them."""

    def __init__(self, potential: PotentialLike) -> None:
        super().__init__()
        self.potential = potential
        more = {"stress": Capability.STRESS, "energies": Capability.ATOM_ENERGIES}
        supported = [name for name, capability in more.items() if capability in potential.supports]
        self.implemented_properties = ["energy", "free_energy", "forces", *supported]

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Fill `results`: eV, eV/Angstrom, eV/Angstrom^3 (Voigt order, positive under tension)."""
        super().calculate(atoms, properties, system_changes)
        copy = cast(Atoms, self.atoms)  # made by ASE from `atoms`
        stress = bool(np.all(copy.pbc)) and "stress" in self.implemented_properties
        prediction = self.potential.evaluate([copy], stress=stress)
        energy = float(prediction.energy[0])
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "forces": prediction.forces.double().cpu().numpy(),
        }
        if prediction.atom_energy is not None:
            self.results["energies"] = prediction.atom_energy.double().cpu().numpy()
        if prediction.stress is not None:
            self.results["stress"] = full_3x3_to_voigt_6_stress(prediction.stress[0].double().cpu().numpy())
