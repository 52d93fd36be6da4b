"""The harmonic well of a force field, for thermal displacements and Newton steps towards another method's minimum."""

import numpy as np
from ase import Atoms, units
from rdkit.Chem import rdForceFieldHelpers
from scipy.optimize import minimize

from gendesign.train.teachers.semiempirical import gfn2

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

    def relaxed(self, atoms: Atoms, fmax: float, calls: int) -> Atoms | None:
        """The minimum of GFN2-xTB from `atoms`, with the teacher's errors; None if `calls` are not enough.

        L-BFGS in coordinates in which the force field is round takes a fifth of the calls of L-BFGS in Angstrom.
        fmax: largest force on an atom, eV/Angstrom.
        """
        stretch = np.sqrt(np.maximum(self.values, SOFT))
        work = atoms.copy()
        work.calc = gfn2()
        done: list[np.ndarray] = []

        def energy(q: np.ndarray) -> tuple[float, np.ndarray]:
            work.positions = atoms.positions + (self.vectors @ (q / stretch)).reshape(-1, 3)
            forces = work.get_forces()
            if np.linalg.norm(forces, axis=1).max() < fmax:
                done.append(work.positions.copy())
                raise StopIteration
            return work.get_potential_energy(), -(forces.ravel() @ self.vectors) / stretch

        options = {"maxcor": 30, "maxfun": calls, "ftol": 0.0, "gtol": 0.0}
        try:
            minimize(energy, np.zeros(len(stretch)), jac=True, method="L-BFGS-B", options=options)
        except StopIteration:
            return Atoms(atoms.numbers, done[0])
        return None
