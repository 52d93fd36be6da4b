"""Reference methods that label structures, as ASE calculators."""

import math

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator, SCFError
from tblite.ase import TBLite
from tblite.exceptions import TBLiteRuntimeError, TBLiteValueError

FAILURES = (CalculationFailed, SCFError, TBLiteRuntimeError, TBLiteValueError)

# Ground-state multiplicity (2S + 1) of the isolated atoms.
ATOM_MULTIPLICITY = {"H": 2, "C": 3, "N": 4, "O": 3, "F": 2, "S": 3, "Cl": 2, "Br": 2, "I": 2, "P": 4, "Si": 3, "B": 2}


def lowest_multiplicity(atoms: Atoms) -> int:
    """1 for an even, 2 for an odd number of electrons of a neutral structure."""
    return 1 + int(atoms.numbers.sum()) % 2


def gfn2(multiplicity: int = 1) -> Calculator:
    """GFN2-xTB through tblite at an electronic temperature of 300 K (tblite's default).

    Open shells are treated with spin polarisation (without it atoms and radicals come out too low in spin);
    for a singlet it changes nothing and is left out.
    """
    polarisation = None if multiplicity == 1 else 1.0
    return TBLite(method="GFN2-xTB", multiplicity=multiplicity, spin_polarization=polarisation, verbosity=0)


def gfn2_label(atoms: Atoms, open_shell: bool = False) -> Atoms | None:
    """A copy of `atoms` with the teacher's energy (eV) and forces (eV/Angstrom) in info["energy"], arrays["forces"].

    With `open_shell` the lower of the two lowest multiplicities of the right parity is taken (unfinished molecules
    are often triplets or quartets). None when the teacher does not converge or its answer is not finite.
    """
    low = ATOM_MULTIPLICITY[atoms.get_chemical_symbols()[0]] if len(atoms) == 1 else lowest_multiplicity(atoms)
    best = None
    for multiplicity in (low, low + 2) if open_shell and len(atoms) > 1 else (low,):
        work = Atoms(atoms.numbers, atoms.positions)
        work.calc = gfn2(multiplicity)
        try:
            energy, forces = work.get_potential_energy(), work.get_forces()
        except FAILURES:
            continue
        if math.isfinite(energy) and np.isfinite(forces).all() and (best is None or energy < best[0]):
            best = energy, forces, multiplicity
    if best is None:
        return None
    out = Atoms(atoms.numbers, atoms.positions, info=dict(atoms.info))
    out.info.update(energy=float(best[0]), multiplicity=best[2])
    out.arrays["forces"] = np.asarray(best[1])
    return out
