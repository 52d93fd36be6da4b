"""Fixed Cartesian components for torch-sim, which itself has constraints for whole atoms only."""

from itertools import product
from typing import ClassVar

import gendesign.imports.torch_sim  # noqa: F401  quick and silent

import numpy as np
import torch
from torch_sim.constraints import AtomConstraint, Constraint, FixAtoms


class FixComponents(AtomConstraint):
    """Holds some Cartesian components of its atoms: positions keep them, forces have none.

    There is a subclass for every choice of components, because torch-sim merges constraints of one class by their
    atoms alone.
    """

    axes: ClassVar[list[int]] = []

    def get_removed_dof(self, state) -> torch.Tensor:
        """Degrees of freedom removed from each system (systems,)."""
        return len(self.axes) * torch.bincount(state.system_idx[self.atom_idx], minlength=state.n_systems)

    def adjust_positions(self, state, new_positions: torch.Tensor) -> None:
        """Set the components back in `new_positions` (atoms, 3)."""
        for axis in self.axes:
            new_positions[self.atom_idx, axis] = state.positions[self.atom_idx, axis]

    def adjust_forces(self, state, forces: torch.Tensor) -> None:
        """Set the components of `forces` (atoms, 3) to zero."""
        for axis in self.axes:
            forces[self.atom_idx, axis] = 0.0


PARTIAL = {
    mask: type(f"Fix{''.join('xyz'[axis] for axis in range(3) if mask[axis])}", (FixComponents,),
               {"axes": [axis for axis in range(3) if mask[axis]]})
    for mask in product((False, True), repeat=3)
    if any(mask) and not all(mask)
}  # fmt: skip


def torchsim_constraints(fixed: np.ndarray, device: torch.device) -> list[Constraint]:
    """torch-sim's constraints that hold the components `fixed` (atoms, 3) of bool."""
    kinds = {(True, True, True): FixAtoms, **PARTIAL}
    atoms_of = {mask: np.flatnonzero((fixed == mask).all(axis=1)) for mask in kinds}
    return [kinds[mask](atom_idx=torch.tensor(atoms, device=device)) for mask, atoms in atoms_of.items() if len(atoms)]
