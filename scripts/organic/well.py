"""The harmonic well of a force field, for thermal displacements and Newton steps towards another method's minimum."""

import numpy as np
from ase import units
from rdkit.Chem import rdForceFieldHelpers

# eV/Angstrom^2; softer modes are torsions, for which straight displacements soon leave the well
SOFT = 300.0 * units.kcal / units.mol


class Well:
    """The harmonic well about a minimum of MMFF94, or of UFF for molecules without MMFF94 parameters (RDKit).

    The Hessian, by central differences of gradients, is a thousand times cheaper than that of the teacher. It is
    accurate enough for thermal displacements and to precondition steps towards the minimum of the teacher.
    """

    def __init__(self, full):
        make = (
            rdForceFieldHelpers.MMFFGetMoleculeForceField
            if rdForceFieldHelpers.MMFFHasAllMoleculeParams(full)
            else lambda mol, *_: rdForceFieldHelpers.UFFGetMoleculeForceField(mol)
        )
        field = make(full, rdForceFieldHelpers.MMFFGetMoleculeProperties(full))
        field.Minimize(maxIts=500)
        x0, step = np.array(field.Positions()).ravel(), 1e-3

        def gradient(x):
            field.Initialize()  # otherwise all gradients after the first are wrong (RDKit 2026.9)
            return np.array(field.CalcGrad(list(x)))

        hessian = np.array([(gradient(x0 + step * e) - gradient(x0 - step * e)) / (2 * step) for e in np.eye(len(x0))])
        self.minimum = x0.reshape(-1, 3)
        self.values, self.vectors = np.linalg.eigh((hessian + hessian.T) / 2 * units.kcal / units.mol)

    def samples(self, temperature: float, count: int, rng) -> np.ndarray:
        """Displacements (count, atoms, 3) in Angstrom of classical normal modes at `temperature` (K)."""
        soft = np.sqrt(units.kB * temperature / np.maximum(self.values, SOFT))
        soft[self.values < 1e-4] = 0.0  # translations and rotations
        return (rng.normal(size=(count, len(soft))) * soft @ self.vectors.T).reshape(count, -1, 3)

    def newton_step(self, forces: np.ndarray, longest: float = 0.1) -> np.ndarray:
        """Displacement (atoms, 3) towards the minimum of the method with `forces` (atoms, 3) in eV/Angstrom."""
        along = forces.ravel() @ self.vectors / np.maximum(self.values, SOFT)
        step = (self.vectors @ along).reshape(-1, 3)
        return step * min(1.0, longest / np.linalg.norm(step, axis=1).max())
